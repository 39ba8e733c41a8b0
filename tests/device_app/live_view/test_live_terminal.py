"""The live view in a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import numpy as np
import pytest
import soundfile as sf

from device_app.__main__ import main
from device_app.demo.stream import bundled_clips

DOGS = bundled_clips("enrol")["dog_bark"]
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("live")
    assert main(["enrol", "dog", "--from", str(DOGS[0].parent), "--profile", str(folder / "profile")]) == 0
    quiet = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 1e-4
    sf.write(folder / "day.flac", np.concatenate([quiet, sf.read(DOGS[0], dtype="float32")[0]] * 10), 16000)
    source = ["--source", str(folder / "day.flac")]
    return [sys.executable, "-m", "device_app", "listen", "--live", *source, "--profile", str(folder / "profile")]


def test_it_draws_until_q_is_pressed_and_leaves_the_terminal_as_it_was(command: list[str]) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen([*command, "--realtime"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True)
    seen = ""

    def watch(until: Callable[[], bool], what: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + 90.0
        while not until():
            assert time.monotonic() < deadline, f"no {what}: {seen[-2000:]}"
            if select.select([ours], [], [], 0.1)[0]:
                seen += _ESCAPES.sub("", os.read(ours, 65536).decode(errors="replace"))

    watch(lambda: "score" in seen, "event")
    assert "listening on" in seen
    assert "what is it hearing?" in seen
    assert "% of the windows looked at" in seen
    os.write(ours, b"w")
    watch(lambda: "are not kept" in seen, "answer")  # they are of a recording, and no history was named
    os.write(ours, b"q")
    watch(lambda: process.poll() is not None, "end")
    assert process.returncode == 0
    assert termios.tcgetattr(theirs) == before
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    os.close(ours)
    os.close(theirs)


def test_without_a_terminal_it_prints_plain_lines(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    rows = result.stdout.splitlines()
    assert rows[0].startswith("start ")
    assert "dog" in rows[0]
    assert {row.split()[0] for row in rows} == {"start", "end"}
