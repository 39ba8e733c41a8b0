import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_app.capture import Block, Notice
from device_app.capture.inbox import Inbox
from device_app.capture.protocol import FrameReader, ProtocolError, decode_waveform, encode_frame, encode_waveform
from device_app.capture.ring_buffer import RawBlock, RingBuffer
from device_app.capture.sample_clock import SampleClock
from device_app.errors import AudioError

FRAMES = [
    ({"type": "open", "device": "Mikrofon für Üben"}, b""),
    ({"type": "block", "n_lost": 3}, encode_waveform(np.linspace(-1, 1, 50, dtype=np.float32))),
    ({"type": "end"}, b""),
]


@given(cuts=st.lists(st.integers(0, 400), max_size=10))
def test_frames_come_out_whole_however_the_pipe_cuts_them(cuts: list[int]) -> None:
    data = b"".join(encode_frame(header, payload) for header, payload in FRAMES)
    reader, frames, start = FrameReader(), [], 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        frames += reader.feed(data[start:cut])
        start = cut
    assert frames == FRAMES
    np.testing.assert_array_equal(decode_waveform(frames[1][1]), np.linspace(-1, 1, 50, dtype=np.float32))


@pytest.mark.parametrize(
    "data",
    [b"ALSA lib pcm.c: cannot open", encode_frame({"no": "type"}), b"EAR1\x02\x00\x00\x00\x00\x00\x00\x00{]"],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameReader().feed(data)


def block(start: int, n: int = 100, n_lost: int = 0) -> Block:
    return Block(np.full(n, 0.5, np.float32), 100, start, n_lost, float(start))


def test_a_full_inbox_drops_the_oldest_audio_and_no_notice() -> None:
    inbox = Inbox(2.0, drops=True)
    inbox.put_block(block(7, n_lost=7))
    inbox.put_notice(Notice("running", "it runs", 0.0))
    for start in (107, 207, 307):
        inbox.put_block(block(start))
    notice, first, second = inbox.take(0.0)
    assert isinstance(notice, Notice)
    assert isinstance(first, Block)
    assert isinstance(second, Block)
    assert (first.start_sample, first.n_lost, second.start_sample, second.n_lost) == (207, 207, 307, 0)
    assert inbox.take(0.0) == []


def test_an_inbox_that_may_not_drop_says_that_it_is_full() -> None:
    inbox = Inbox(2.0, drops=False)
    inbox.put_block(block(0))
    assert not inbox.full
    inbox.put_block(block(100))
    inbox.put_block(block(200))
    assert inbox.full
    assert len(inbox.take(0.0)) == 3
    assert not inbox.full


def test_notices_that_nobody_reads_do_not_grow_without_end() -> None:
    inbox = Inbox(2.0, drops=True)
    inbox.put_block(block(0))
    for attempt in range(1500):
        inbox.put_notice(Notice("retrying", "again", 0.0, attempt=attempt))
    items = inbox.take(0.0)
    assert [item.attempt for item in items if isinstance(item, Notice)] == list(range(500, 1500))
    assert isinstance(items[0], Block)


def test_an_error_comes_after_everything_before_it() -> None:
    inbox = Inbox(2.0, drops=True)
    inbox.put_block(block(0))
    inbox.fail(AudioError("broken"))
    assert len(inbox.take(0.0)) == 1
    for _ in range(2):
        with pytest.raises(AudioError, match="broken"):
            inbox.take(0.0)


def test_a_full_ring_buffer_drops_the_oldest_and_counts_every_sample() -> None:
    ring = RingBuffer(250)
    for start in range(0, 1000, 100):
        ring.put(RawBlock(np.full((100, 2), start, np.float32), 1, float(start)))
    ring.end()
    kept = [ring.get(), ring.get()]
    assert ring.get() is None
    assert [item.heard for item in kept if item] == [800.0, 900.0]
    assert [item.n_lost for item in kept if item] == [8 * 101 + 1, 1]


def test_the_clock_takes_bursts_and_drift_for_what_they_are() -> None:
    rng = np.random.default_rng(3)
    clock, n_lost, worst = SampleClock(1000), 0, 0.0
    for k in range(36000):  # an hour in blocks of 0.1 s from a card that is 100 parts in a million slow
        true = k * 0.1 * (1 + 100e-6)
        late = rng.uniform(0.0, 0.2) if k % 5 else 0.0
        lost, first = clock.add(100, 0, true + late)
        n_lost += lost
        worst = max(worst, abs(first - true))
    assert n_lost == 0
    assert worst < 0.05


def test_the_clock_finds_audio_that_went_missing_without_a_word() -> None:
    clock, total, moment = SampleClock(1000), 0, 0.0
    for k in range(100):
        moment += 0.1 + (1.9 if k == 50 else 0.0)
        lost, first = clock.add(100, 0, moment)
        total += lost
    assert total == pytest.approx(1900, abs=20)
    assert first == pytest.approx(moment, abs=0.02)


def test_losses_that_are_known_are_not_counted_twice() -> None:
    clock, total, moment = SampleClock(1000), 0, 0.0
    for k in range(100):
        known = 1900 if k == 50 else 0
        moment += 0.1 + known / 1000
        lost, _ = clock.add(100, known, moment)
        total += lost
    assert total == 1900
