"""The unit that makes systemd run `earmark listen`: started at boot, watched, restarted, and kept within bounds."""

import os
import pwd
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_app.errors import EarmarkError

NAME = "earmark.service"

_UNIT = """\
# Written by `earmark service install`; put changes into a drop-in: systemctl {edit_scope}edit earmark
[Unit]
Description=Earmark, which hears the sounds that it was taught
After={after}
# Try again for ever: a microphone or a disk may take its time.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command} listen --wait
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
# Only the main process is asked to end; it ends the others.
KillMode=mixed
# The listening itself feeds the watchdog, several times a second.
WatchdogSec=30
TimeoutStartSec=120
TimeoutStopSec=20
EnvironmentFile=-%E/earmark/environment
{account}# What listening does not need is not there. Commands that it runs (--exec) live within the same bounds.
NoNewPrivileges=yes
UMask=0077
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
{bounds}
[Install]
WantedBy={wanted_by}
"""
_ACCOUNT = """\
User={user}
SupplementaryGroups=audio
# A sound server of the account's own session, if there is one.
Environment=XDG_RUNTIME_DIR=/run/user/{uid}
"""
_SYSTEM_BOUNDS = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
PrivateTmp=yes
# Of the devices only sound cards.
DevicePolicy=closed
DeviceAllow=char-alsa rw
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=all
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose service it is."""

    user: str | None
    """The account that the system's service runs as; None for a service of the caller's own session."""

    @property
    def systemctl(self) -> list[str]:
        """The command that manages it."""
        return ["systemctl"] if self.user else ["systemctl", "--user"]

    @property
    def path(self) -> Path:
        """Of the unit."""
        if self.user:
            return Path("/etc/systemd/system") / NAME
        config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return Path(config).expanduser() / "systemd" / "user" / NAME


def render(scope: Scope, writable: Sequence[Path]) -> str:
    """The unit's text.

    Args:
        scope: Whose service.
        writable: Folders that listening writes to.

    Raises:
        EarmarkError: If there is no such account.
    """
    account = _ACCOUNT.format(user=scope.user, uid=_uid(scope.user)) if scope.user else ""
    folders = " ".join(f"-{_quoted(folder)}" for folder in writable)  # -: it may not be there yet
    return _UNIT.format(
        edit_scope="" if scope.user else "--user ",
        after="sound.target network.target" if scope.user else "pipewire.service pulseaudio.service",
        command=_program(),
        account=account,
        bounds=_SYSTEM_BOUNDS.format(writable=folders) if scope.user else "",
        wanted_by="multi-user.target" if scope.user else "default.target",
    )


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as err:
        raise EarmarkError(f"there is no account '{user}' on this machine: name another with --as") from err


def _program() -> str:
    """The installed command, or this Python with the package."""
    script = Path(sys.executable).parent / "earmark"
    found = str(script) if script.exists() else shutil.which("earmark")
    return _quoted(Path(found)) if found else f"{_quoted(Path(sys.executable))} -m device_app"


def _quoted(path: Path) -> str:
    """A path as it stands in a unit, systemd.syntax(7)."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text else text
