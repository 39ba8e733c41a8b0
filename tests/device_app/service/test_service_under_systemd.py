"""The service under a real `systemd --user`, in a mount namespace of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app.demo.stream import bundled_clips

_SYSTEMD = next((path for path in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if Path(path).exists()), None)
DOGS = bundled_clips("enrol")["dog_bark"]

_SCRIPT = """
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
SYSTEMD_LOG_TARGET=console {systemd} --user >"$HOME/systemd.log" 2>&1 </dev/null &
manager=$!
trap 'systemctl --user stop earmark; kill $manager' EXIT
for _ in $(seq 50); do systemctl --user list-units >/dev/null 2>&1 && break; sleep 0.1; done
pid() {{ systemctl --user show earmark -p MainPID --value; }}
wait_for_another_than() {{ for _ in $(seq 300); do [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ] && \\
  [ "$(systemctl --user is-active earmark)" = active ] && return; sleep 0.1; done; }}
{earmark} service install --user
{earmark} service status --user --json
first=$(pid)
systemctl --user reload earmark
{earmark} service status --user --json
kill -STOP "$first"
wait_for_another_than "$first"
{earmark} service status --user --json
second=$(pid)
kill -KILL "$second"
wait_for_another_than "$second"
{earmark} service status --user --json
systemctl --user stop earmark
{earmark} service status --user --json || true
"""


@pytest.mark.slow
@pytest.mark.skipif(_SYSTEMD is None, reason="systemd is not installed")
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root, for a namespace")
def test_systemd_starts_it_reloads_it_and_restarts_it_when_it_hangs_or_dies(tmp_path: Path) -> None:
    earmark = f"{sys.executable} -m device_app"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EARMARK_")},
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }
    (tmp_path / "run").mkdir(mode=0o700)
    quiet = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 1e-4
    sf.write(tmp_path / "day.flac", np.concatenate([quiet, sf.read(DOGS[0], dtype="float32")[0]] * 20), 16000)
    config = tmp_path / "config"
    (config / "earmark").mkdir(parents=True)
    (config / "earmark" / "config.toml").write_text(
        f"[listen]\nsource = '{tmp_path}/day.flac'\nrealtime = true\nhistory = '{tmp_path}/history.sqlite3'\n"
    )
    drop_in = config / "systemd" / "user" / "earmark.service.d" / "test.conf"
    drop_in.parent.mkdir(parents=True)
    kept = " ".join(f'"{name}={environment[name]}"' for name in ("PYTHONPATH", "XDG_DATA_HOME") if name in environment)
    drop_in.write_text(
        f"[Service]\nWatchdogSec=2\nRestartSec=0.2\nEnvironment={kept}\nStandardError=append:{tmp_path}/service.log\n"
    )
    enrol = [sys.executable, "-m", "device_app", "enrol", "dog", "--from", str(DOGS[0].parent)]
    subprocess.run(enrol, env=environment, check=True, capture_output=True, timeout=120)
    script = _SCRIPT.format(systemd=_SYSTEMD, earmark=earmark)
    result = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    started, reloaded, after_hang, after_kill, stopped = map(json.loads, result.stdout.splitlines())
    log = (tmp_path / "service.log").read_text()
    assert started["state"] == "active"
    assert started["says"].startswith("listening for dog on ")
    assert reloaded["process"] == started["process"]
    assert "settings read again" in log
    assert (after_hang["state"], after_hang["restarts"]) == ("active", "1")
    assert (after_kill["state"], after_kill["restarts"]) == ("active", "2")
    assert stopped["state"] == "inactive"
    assert "heard" in log.splitlines()[-1]  # it ended by itself, in order
    assert "Traceback" not in log
