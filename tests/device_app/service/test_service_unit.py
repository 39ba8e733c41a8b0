import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from device_app.errors import EarmarkError
from device_app.service.command import choose_scope, make_folders, writable_folders
from device_app.service.notify import ServiceManager
from device_app.service.unit import Scope, render

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def earmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "device_app", "service", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def verify(path: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *options, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@needs_systemd
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "user").mkdir()
    system, user = tmp_path / "system" / "earmark.service", tmp_path / "user" / "earmark.service"
    system.write_text(earmark("print", "--system", "--as", "daemon").stdout)
    user.write_text(earmark("print", "--user").stdout)
    result = verify(system, "verify")
    assert (result.returncode, result.stderr) == (0, "")
    result = verify(user, "verify", "--user", XDG_RUNTIME_DIR=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
def test_the_systems_unit_is_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "earmark.service"
    unit.write_text(render(Scope("daemon"), [Path("/var/lib/earmark")]))
    result = verify(unit, "security", "--offline=yes", "--threshold=20", "--no-pager")  # 2.0 of 10
    if "Unknown option" in result.stderr or "unrecognized option" in result.stderr:
        pytest.skip("this systemd cannot judge a unit that is not loaded")
    assert result.returncode == 0, result.stdout


def test_the_unit_may_write_where_listening_writes_and_nowhere_else(home: Path) -> None:
    config = home / ".config" / "earmark" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[clips]\nfolder = '/srv/my clips'\n[listen]\nhistory = '/var/log/earmark/h.sqlite3'\n")
    folders = writable_folders(Scope(None))
    data = home / ".local" / "share" / "earmark"
    assert folders == sorted([data, Path("/srv/my clips"), Path("/var/log/earmark")])
    unit = render(Scope("daemon"), [Path("/srv/my clips"), Path("/a%b")])
    assert 'ReadWritePaths=-"/srv/my clips" -/a%%b\n' in unit
    assert "ProtectSystem=strict" in unit


@pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to another account: needs root")
def test_installing_makes_the_folders_that_the_unit_could_not_make_for_itself(tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "srv" / "clips"
    there.mkdir()
    make_folders("daemon", [there, new])
    owner = pwd.getpwnam("daemon").pw_uid
    assert [path.stat().st_uid for path in (there, new.parent, new)] == [0, owner, owner]
    (tmp_path / "file").write_text("")
    with pytest.raises(EarmarkError, match=r"folder .*file/clips \(Not a directory\): make it for daemon"):
        make_folders("daemon", [tmp_path / "file" / "clips"])


def test_the_system_service_looks_for_everything_in_the_home_of_its_account(home: Path) -> None:
    result = earmark("print", "--system", "--as", "games")
    (where,) = re.findall(r"ReadWritePaths=-(.*)/\.local/share/earmark\n", result.stdout)
    assert where == os.path.expanduser("~games")  # noqa: PTH111
    assert "User=games\n" in result.stdout


def test_the_scope_follows_who_asks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_scope(system=None, user=None) == Scope(None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(EarmarkError, match=r"name the account .* --as pi"):
        choose_scope(system=None, user=None)
    monkeypatch.setenv("SUDO_USER", "pi")
    assert choose_scope(system=None, user=None) == Scope("pi")
    assert choose_scope(system=False, user=None) == Scope(None)
    assert Scope(None).path == home / ".config" / "systemd" / "user" / "earmark.service"


def test_an_unknown_account_is_a_sentence() -> None:
    result = earmark("print", "--system", "--as", "no-such-account")
    assert result.returncode == 1
    assert result.stderr == "error: there is no account 'no-such-account' on this machine: name another with --as\n"


def test_installing_without_systemd_is_a_sentence_and_writes_nothing(home: Path) -> None:
    result = earmark("install", "--user", PATH="/nonexistent")
    assert result.returncode == 1
    assert "there is no systemd on this machine" in result.stderr
    assert not (home / ".config").exists()


def test_what_systemctl_refuses_is_a_sentence(home: Path, tmp_path: Path) -> None:
    refusing = tmp_path / "bin" / "systemctl"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    refusing.chmod(0o755)
    result = earmark("status", "--user", PATH=f"{refusing.parent}:/bin:/usr/bin")
    assert result.returncode == 1
    assert result.stderr == "error: systemctl show failed (Failed to connect to bus): mend that and try again\n"


def test_messages_arrive_at_a_socket_by_path_and_by_abstract_name(tmp_path: Path) -> None:
    for address, told in ((str(tmp_path / "n"), str(tmp_path / "n")), ("\0earmark-test", "@earmark-test")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            systemd.settimeout(5)
            environment = {"NOTIFY_SOCKET": told, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}
            service = ServiceManager(environment)
            assert environment == {}  # what it starts must not speak in its name
            service.ready("listening")
            service.alive()
            service.alive()  # too early for another
            service.stopping()
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1\nSTATUS=listening", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_nothing_is_said_and_nothing_fails() -> None:
    service = ServiceManager({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    service.ready("listening")
    service.reloading()
    service.alive()
    assert service._interval_s == 0.0  # another process's watchdog
