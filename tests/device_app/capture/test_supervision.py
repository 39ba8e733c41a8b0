import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_app.capture import Block, Capture, FileSource, MicrophoneSource, Patience
from device_app.device_list import list_devices
from device_app.errors import AudioError, DeviceError
from tests.device_app.capture.harness import PATIENCE_S, Double, Reader, patience

ROOT = Path(__file__).resolve().parents[3]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


@pytest.fixture
def hour(tmp_path: Path) -> Path:
    """A recording that is longer than any test."""
    path = tmp_path / "hour.wav"
    soundfile.write(path, np.arange(8000 * 600, dtype=np.int16), 8000)
    return path


def test_a_file_whose_process_is_killed_goes_on_where_it_was(hour: Path) -> None:
    with Capture(FileSource(hour), retry=True, buffer_s=1.0) as capture:
        listener = Reader(capture)
        listener.more_blocks(1)
        assert capture.process_id
        os.kill(capture.process_id, signal.SIGKILL)
        listener.until(lambda r: r.told.count(("running", None)) == 2)
        listener.more_blocks(20)
    samples = np.concatenate([block.waveform for block in listener.blocks])
    np.testing.assert_array_equal(samples, np.arange(samples.size, dtype=np.int16).astype(np.float32) / 32768)
    assert listener.told[:4] == [("running", None), ("lost", "crashed"), ("retrying", "crashed"), ("running", None)]
    assert "signal 9" in listener.notices[1].sentence
    assert (listener.notices[2].attempt, listener.notices[2].delay_s) == (1, 0.5)


def test_without_retry_a_killed_process_is_an_error_after_what_it_delivered(hour: Path) -> None:
    with Capture(FileSource(hour, realtime=True)) as capture:
        listener = Reader(capture)
        listener.more_blocks(3)
        assert capture.process_id
        os.kill(capture.process_id, signal.SIGKILL)
        with pytest.raises(AudioError, match=r"hour\.wav was lost: its process ended \(signal 9\); check the file"):
            listener.until(lambda _: False)


def test_a_stopped_process_counts_as_hung_and_is_replaced(double: Double) -> None:
    with Capture(MicrophoneSource(), retry=True) as capture:
        listener = Reader(capture)
        listener.more_blocks(3)
        stopped = capture.process_id
        assert stopped
        os.kill(stopped, signal.SIGSTOP)
        since = time.monotonic()
        listener.until(lambda r: ("lost", "hung") in r.told)
        noticed_s = time.monotonic() - since
        listener.until(lambda r: r.told.count(("running", None)) == 2)
        listener.more_blocks(3)
        wait_until_gone(stopped)
        assert capture.process_id != stopped
    assert 1.0 < noticed_s < 30.0  # 2 s where the machine has time for it
    after = next(b for b in listener.blocks if b.n_lost > 8000)
    assert 1.0 < after.n_lost / after.sample_rate < 60.0
    ends = {
        block.end_sample + following.n_lost
        for block, following in zip(listener.blocks, listener.blocks[1:], strict=False)
    }
    assert ends == {block.start_sample for block in listener.blocks[1:]}


def test_a_process_that_never_delivers_is_reported_then_replaced_then_given_up_without_retry(double: Double) -> None:
    double.set(hang=True)
    patience = Patience(slow_start_s=0.5, start_s=4.0)
    with Capture(MicrophoneSource(), retry=True, patience=patience) as capture:
        listener = Reader(capture)
        listener.until(lambda r: ("retrying", "hung") in r.told)
    assert listener.told == [("lost", "hung"), ("retrying", "hung")]
    with Capture(MicrophoneSource(), patience=patience) as capture, pytest.raises(DeviceError, match="within 4 s"):
        Reader(capture).until(lambda _: False)


def test_a_slow_process_loses_nothing(hour: Path) -> None:
    with Capture(FileSource(hour), buffer_s=1.0) as capture:
        listener = Reader(capture)
        listener.more_blocks(1)
        assert capture.process_id
        for _ in range(3):
            os.kill(capture.process_id, signal.SIGSTOP)
            listener.for_seconds(0.5)
            os.kill(capture.process_id, signal.SIGCONT)
            listener.more_blocks(20)
    starts = [block.start_sample for block in listener.blocks]
    assert starts == list(range(0, 800 * len(starts), 800))


def test_the_process_dies_with_its_parent_even_while_it_is_stopped(hour: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from device_app.capture import Capture, FileSource\n"
        "with Capture(FileSource(Path(sys.argv[1]), realtime=True)) as capture:\n"
        "    print(capture.process_id, flush=True)\n"
        "    time.sleep(600)\n"
    )
    for stop_first in (False, True):
        parent = subprocess.Popen(
            [sys.executable, "-c", program, str(hour)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            assert parent.stdout
            child = int(parent.stdout.readline())
            assert alive(child)
            if stop_first:
                os.kill(child, signal.SIGSTOP)
        finally:
            parent.kill()
            parent.communicate()
        wait_until_gone(child)


def test_a_process_that_fails_says_why(hour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soundfile.py").write_text("raise RuntimeError('no luck today')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AudioError, match=r"its process ended \(status 1: RuntimeError: no luck today\)"):
        Capture(FileSource(hour)).__enter__()


def test_closing_ends_the_process(hour: Path) -> None:
    with Capture(FileSource(hour)) as capture:
        child = capture.process_id
        assert child
        assert alive(child)
    assert not alive(child)
    assert capture.process_id is None


def test_a_missing_portaudio_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The real sounddevice, in a process where the system's library cannot be found.
    (tmp_path / "sitecustomize.py").write_text("import ctypes.util\nctypes.util.find_library = lambda name: None\n")
    monkeypatch.syspath_prepend(tmp_path)
    sentence = "sudo apt install libportaudio2"
    with pytest.raises(DeviceError, match=sentence), Capture(MicrophoneSource()):
        pass
    with Capture(MicrophoneSource(), retry=True) as capture, pytest.raises(DeviceError, match=sentence):
        capture.read(PATIENCE_S)  # no number of attempts would bring it
    with pytest.raises(DeviceError, match=sentence):
        list_devices()


def test_what_is_no_protocol_counts_as_a_crash(hour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(1, b'hello, this is no frame at all')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AudioError, match="sent what is not audio"), Capture(FileSource(hour)) as capture:
        capture.read(PATIENCE_S)


def test_a_block_is_what_the_demo_and_a_microphone_share(double: Double, hour: Path) -> None:
    for source in (MicrophoneSource(), FileSource(hour)):
        with Capture(source, patience=patience()) as capture:
            listener = Reader(capture)
            listener.more_blocks(2)
        first = listener.blocks[0]
        assert isinstance(first, Block)
        assert (first.waveform.dtype, first.waveform.ndim, first.start_sample) == (np.float32, 1, 0)
        assert listener.told[0] == ("running", None)
