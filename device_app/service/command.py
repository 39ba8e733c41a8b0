"""``earmark service``: install, show and ask after the unit."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from device_app.config_sources import load_config
from device_app.errors import EarmarkError
from device_app.files import write_aside
from device_app.history.history import History, default_history_path
from device_app.outputs.outbox import Outbox, default_outbox_path
from device_app.service.unit import NAME, Scope, render

_SHOWN = {
    "LoadState": "unit",
    "ActiveState": "state",
    "SubState": "detail",
    "StatusText": "says",
    "MainPID": "process",
    "NRestarts": "restarts",
    "ActiveEnterTimestamp": "since",
    "MemoryCurrent": "memory",
}


def choose_scope(*, system: bool | None, user: str | None) -> Scope:
    """Whose service is meant: without a choice the system's for root, and one's own otherwise.

    Args:
        system: Whether it is the system's; None for no choice.
        user: Account of the system's service; None for the one that called sudo.

    Raises:
        EarmarkError: If the system's service has no account.
    """
    if not (os.geteuid() == 0 if system is None else system):
        return Scope(None)
    user = user or os.environ.get("SUDO_USER")
    if not user:
        raise EarmarkError("name the account that the system's service shall run as, for example --as pi")
    return Scope(user)


def print_unit(scope: Scope) -> int:
    """The unit to stdout. Returns the exit status."""
    print(render(scope, writable_folders(scope)), end="")
    return 0


def install(scope: Scope) -> int:
    """Write the unit, and have systemd start it now and at every boot. Returns the exit status.

    Raises:
        EarmarkError: If there is no systemd here, or it or the disk refuses.
    """
    folders = writable_folders(scope)
    text = render(scope, folders)
    if shutil.which("systemctl") is None:
        raise EarmarkError("there is no systemd on this machine: `earmark service print` shows what it would be given")
    if scope.user:
        make_folders(scope.user, folders)
    write_aside(scope.path, text.encode())
    scope.path.chmod(0o644)
    _systemctl(scope, "daemon-reload")
    _systemctl(scope, "enable", NAME)
    _systemctl(scope, "restart", NAME)
    journal = "journalctl -u earmark" if scope.user else "journalctl --user -u earmark"
    print(f"wrote {scope.path}, started now and at every boot; its log: {journal}", file=sys.stderr)
    if not scope.user:
        print("To have it run while you are not logged in: loginctl enable-linger", file=sys.stderr)
    return 0


def make_folders(user: str, folders: Sequence[Path]) -> None:
    """Make those that are missing, for the account: within the unit's bounds the service itself could not.

    Raises:
        EarmarkError: If one cannot be made.
    """
    account = pwd.getpwnam(user)
    for folder in folders:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        try:
            for each in reversed(missing):
                each.mkdir(mode=0o700)
                os.chown(each, account.pw_uid, account.pw_gid)
        except OSError as err:
            raise EarmarkError(f"cannot make the folder {folder} ({err.strerror or err}): make it for {user}") from err


def status(scope: Scope, *, as_json: bool) -> int:
    """What systemd knows of the service, and what waits or was heard last. Returns 0 if it runs, otherwise 1.

    Raises:
        EarmarkError: If there is no systemd here.
    """
    shown = _systemctl(scope, "show", NAME, "--property", ",".join(_SHOWN))
    known = dict(line.partition("=")[::2] for line in shown.splitlines())
    found: dict[str, str | int] = {label: known.get(name, "") for name, label in _SHOWN.items()}
    if known.get("MemoryCurrent", "").isdecimal():
        found["memory"] = f"{int(known['MemoryCurrent']) / 1e6:.0f} MB"
    _as_account(scope)
    config = load_config({})
    queue = config.webhook.queue or default_outbox_path()
    history = config.listen.history or default_history_path()
    if queue.exists():
        found["waits for the webhook"] = Outbox(queue, config.webhook.most_waiting).n_waiting()
    if history.exists():
        last = History(history).lines(last=1)
        found["heard last"] = f"{last[0]['sound']} at {last[0]['time']}" if last else "nothing"
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for label, value in found.items():
            if value != "":
                print(f"{label + ':':<23}{value}")
    return 0 if known.get("ActiveState") == "active" else 1


def writable_folders(scope: Scope) -> list[Path]:
    """Folders that listening writes to, as the settings stand now."""
    _as_account(scope)
    config = load_config({})
    data = platformdirs.user_data_path("earmark")
    files = [config.listen.history, config.webhook.queue]
    folders = [data, config.listen.profile, config.clips.folder, *(file.parent for file in files if file)]
    return sorted({folder.absolute() for folder in folders if folder is not None})


def _as_account(scope: Scope) -> None:
    """Look up settings and data where the account of the service has them."""
    if scope.user:
        try:
            os.environ["HOME"] = pwd.getpwnam(scope.user).pw_dir
        except KeyError as err:
            raise EarmarkError(f"there is no account '{scope.user}' on this machine: name another with --as") from err


def _systemctl(scope: Scope, *arguments: str) -> str:
    try:
        result = subprocess.run([*scope.systemctl, *arguments], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise EarmarkError(f"systemctl cannot be asked ({err}): is systemd running on this machine?") from err
    if result.returncode:
        words = " ".join(result.stderr.split()) or f"status {result.returncode}"
        raise EarmarkError(f"systemctl {arguments[0]} failed ({words}): mend that and try again")
    return result.stdout
