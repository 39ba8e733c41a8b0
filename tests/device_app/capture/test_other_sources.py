"""Folders, standard input and streams from the network come through the same interface as a microphone."""

import http.server
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_app.capture import Block, Capture, FileSource, NetworkSource, StdinSource
from device_app.capture.sources import without_secrets
from device_app.commands.sources import source_of
from device_app.config import ListenConfig
from device_app.enrolment.profile import Profile
from device_app.errors import AudioError, DeviceError, EarmarkError
from device_app.model.embedder import load_embedder
from tests.device_app.capture.harness import Reader
from tests.device_app.taught_profile import DOGS, recordings

RNG = np.random.default_rng(5)


def noise(n_samples: int, n_channels: int = 1) -> np.ndarray:
    return RNG.integers(-30000, 30000, (n_samples, n_channels), dtype=np.int16)


def to_the_end(capture: Capture) -> list[Block]:
    listener = Reader(capture)
    listener.until(lambda r: any(notice.state == "ended" for notice in r.notices))
    return listener.blocks


# Folders


def test_the_files_of_a_folder_come_in_the_order_of_their_names_on_one_clock(tmp_path: Path) -> None:
    first, second, third = noise(8000), noise(6000), noise(16000)
    soundfile.write(tmp_path / "a.wav", first, 8000)
    soundfile.write(tmp_path / "b.flac", second, 8000)
    (tmp_path / "c").mkdir()
    soundfile.write(tmp_path / "c" / "c.wav", third, 16000)
    with Capture(FileSource(tmp_path)) as capture:
        blocks = to_the_end(capture)
    low = np.concatenate([block.waveform for block in blocks if block.sample_rate == 8000])
    np.testing.assert_array_equal(low, np.concatenate([first, second])[:, 0].astype(np.float32) / 32768)
    high = [block for block in blocks if block.sample_rate == 16000]
    np.testing.assert_array_equal(np.concatenate([block.waveform for block in high])[:], third[:, 0] / 32768)
    assert high[0].start_sample == round(14000 / 8000 * 16000)
    assert sum(block.n_lost for block in blocks) == 0


def test_a_file_of_a_folder_that_cannot_be_read_is_reported_and_passed_over(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(8000), 8000)
    (tmp_path / "b.wav").write_text("no audio")
    soundfile.write(tmp_path / "c.wav", noise(8000), 8000)
    with Capture(FileSource(tmp_path)) as capture:
        listener = Reader(capture)
        listener.until(lambda r: ("ended", None) in r.told)
    assert listener.told == [("running", None), ("lost", "unreadable"), ("running", None), ("ended", None)]
    assert "b.wav" in listener.notices[1].sentence
    assert sum(block.waveform.size for block in listener.blocks) == 16000


def test_a_folder_whose_process_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    parts = [noise(8000 * 20) for _ in range(3)]
    for name, part in zip("abc", parts, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", part, 8000)
    with Capture(FileSource(tmp_path), retry=True, buffer_s=1.0) as capture:
        listener = Reader(capture)
        listener.more_blocks(250)  # the second file
        assert capture.process_id
        os.kill(capture.process_id, 9)
        listener.until(lambda r: ("ended", None) in r.told)
    samples = np.concatenate([block.waveform for block in listener.blocks])
    np.testing.assert_array_equal(samples, np.concatenate(parts)[:, 0] / np.float32(32768))


# Standard input


def piped(data: bytes, **options: object) -> list[Block]:
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Capture(StdinSource(fd=read_end, **options)) as capture:
            return to_the_end(capture)
    finally:
        os.close(read_end)
        writer.join()


@pytest.mark.parametrize("channel", [None, 0, 2])
@pytest.mark.parametrize("sample_format", ["s16le", "f32le"])
def test_raw_audio_on_a_pipe_comes_out_sample_for_sample(channel: int | None, sample_format: str) -> None:
    samples = noise(30001, 3)
    data = samples.astype("<i2") if sample_format == "s16le" else (samples / 32768).astype("<f4")
    blocks = piped(
        data.tobytes() + b"\0",  # half a sample at the end is none
        sample_rate=16000,
        n_channels=3,
        sample_format=sample_format,
        channel=channel,
    )
    expected = samples / np.float32(32768)
    expected = expected.mean(axis=1) if channel is None else expected[:, channel]
    np.testing.assert_allclose(np.concatenate([block.waveform for block in blocks]), expected, rtol=0, atol=1e-6)
    assert {block.sample_rate for block in blocks} == {16000}


def test_raw_samples_that_are_not_numbers_are_left_out_and_counted() -> None:
    samples = RNG.uniform(-1, 1, 16000 * 2).astype("<f4")
    samples[9000] = np.nan
    blocks = piped(samples.tobytes(), sample_rate=16000, sample_format="f32le")
    assert sum(block.n_lost for block in blocks) == 1600
    assert blocks[-1].end_sample == 32000


def test_raw_audio_of_another_format_is_refused_and_so_is_none_at_all() -> None:
    with pytest.raises(AudioError, match="where full scale is 1: check --format"):
        piped((noise(16000) * np.float32(1.0)).astype("<f4").tobytes(), sample_rate=16000, sample_format="f32le")
    with pytest.raises(AudioError, match="standard input ended before any audio came"):
        piped(b"", sample_rate=16000)
    with pytest.raises(AudioError, match="no channel 2 in standard input: choose one of 0 to 1"):
        StdinSource(16000, 2, channel=2)


def test_a_pipe_may_pause_for_longer_than_a_microphone_may() -> None:
    read_end, write_end = os.pipe()
    with Capture(StdinSource(16000, fd=read_end), retry=True) as capture:
        listener = Reader(capture)
        os.write(write_end, noise(1600).tobytes())
        listener.more_blocks(1)
        listener.for_seconds(4.0)
        os.write(write_end, noise(1600).tobytes())
        os.close(write_end)
        listener.until(lambda r: ("ended", None) in r.told)
    os.close(read_end)
    assert listener.told == [("running", None), ("ended", None)]
    assert sum(block.n_lost for block in listener.blocks) == 0


def test_listen_takes_standard_input(tmp_path: Path) -> None:
    with Profile(tmp_path).lock():
        Profile(tmp_path).add_groups({"dog": recordings(DOGS[:2])}, load_embedder())
    program = "from device_app.__main__ import main; import sys; sys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", program, "listen", "--source", "-", "--channels=2", "--channel=5"],
        capture_output=True,
        check=False,
        env={**os.environ, "EARMARK_PROFILE": str(tmp_path)},
    )
    assert result.returncode == 1
    assert b"no channel 5 in standard input" in result.stderr


# The network


class Camera(http.server.BaseHTTPRequestHandler):
    """Serves a stereo ramp without end at its own pace, in Sun's audio format, until it is told to hang up."""

    hang_up = threading.Event()

    def do_GET(self) -> None:
        if self.path != "/live.au":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(struct.pack(">4s5I", b".snd", 24, 0xFFFFFFFF, 3, 44100, 2))
        began, n = time.monotonic(), 0
        try:
            while not self.hang_up.is_set():
                ramp = (np.arange(n, n + 4410) % 20000).astype(">i2")
                self.wfile.write(np.stack([ramp, ramp + 1000], axis=1).astype(">i2").tobytes())
                n += 4410
                time.sleep(max(0.0, began + n / 44100 - time.monotonic()))
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg here: apt-get install ffmpeg")
    Camera.hang_up = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/live.au?key=secret"
    Camera.hang_up.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_is_heard_at_its_own_rate_and_found_again_when_it_comes_back(camera: str) -> None:
    with Capture(NetworkSource(camera.split("?")[0], channel=1), retry=True) as capture:
        listener = Reader(capture)
        listener.more_blocks(10)
        samples = np.concatenate([block.waveform for block in listener.blocks]) * 32768
        assert {block.sample_rate for block in listener.blocks} == {44100}
        assert set(np.diff(samples)) <= {1.0, -19999.0}
        assert samples.min() >= 1000
        Camera.hang_up.set()
        listener.until(lambda r: ("retrying", "unplugged") in r.told)
        Camera.hang_up.clear()
        listener.until(lambda r: r.told[-1] == ("running", None))
        n_before = len(listener.blocks)
        listener.more_blocks(2)
    assert any(block.n_lost > 0 for block in listener.blocks[n_before - 1 :])
    assert not any("secret" in notice.sentence for notice in listener.notices)


def test_a_stream_that_is_not_there_is_one_sentence_without_its_password(camera: str) -> None:
    with pytest.raises(DeviceError) as caught, Capture(NetworkSource(camera.replace("live", "dead"))):
        pass
    assert "404" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(caught.value).endswith("check the address and the network")


def test_without_ffmpeg_one_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(DeviceError, match="ffmpeg, which fetches streams from the network, is missing"),
        Capture(NetworkSource("rtsp://camera/1"), retry=True) as capture,
    ):
        Reader(capture).until(lambda _: False)


def test_an_address_of_another_kind_is_refused_with_those_that_are_read() -> None:
    with pytest.raises(EarmarkError, match=r"^ftp:// is no address of a stream: http://, https://, rtsp"):
        source_of(ListenConfig(source="ftp://me:secret@camera/1"))


def test_no_user_name_password_or_key_of_an_address_is_ever_shown() -> None:
    assert without_secrets("rtsp://me:p@ss@cam:554/1 failed") == "rtsp://cam:554/1 failed"
    assert str(NetworkSource("https://host/stream?token=abc&b=1")) == "https://host/stream"
