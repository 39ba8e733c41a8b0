import time

import numpy as np
import pytest

from device_app.capture import Capture, MicrophoneSource
from device_app.device_list import find_device
from device_app.errors import DeviceError
from tests.device_app.capture.harness import Double, Reader, patience

CARD = {"name": "USB Audio (hw:7,0)", "channels": 1, "rate": 8000}
DEFAULT = {"name": "default", "channels": 2, "rate": 16000}


def ramp(start: int, n: int, channel: int) -> np.ndarray:
    return ((np.arange(start, start + n) + 1000 * channel) % 16000 / 32768 + 0.1).astype(np.float32)


def test_a_microphone_is_recorded_at_its_own_rate_and_mixed_or_one_channel_taken(double: Double) -> None:
    for channel in (None, 0, 1):
        with Capture(MicrophoneSource(channel=channel)) as capture:
            listener = Reader(capture)
            listener.more_blocks(5)
        assert capture.sample_rate == 16000
        samples = np.concatenate([block.waveform for block in listener.blocks])
        assert [block.waveform.size for block in listener.blocks] == [1600] * len(listener.blocks)
        wanted = [0, 1] if channel is None else [channel]
        expected = np.mean([ramp(0, samples.size, c) for c in wanted], axis=0)
        np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-6)


def test_a_reader_who_is_late_gets_the_newest_audio_and_the_count_of_what_went(double: Double) -> None:
    with Capture(MicrophoneSource(channel=0), buffer_s=0.5, patience=patience()) as capture:
        listener = Reader(capture)
        listener.more_blocks(1)

        time.sleep(2.0)
        listener.more_blocks(8)
    assert sum(block.n_lost for block in listener.blocks) >= 16000  # at least one of the two seconds
    for block in listener.blocks:  # the ramp shows which sample each one is
        np.testing.assert_allclose(block.waveform, ramp(block.start_sample, block.waveform.size, 0), atol=1e-6)


def test_overruns_are_counted(double: Double) -> None:
    double.set(overflows=3)
    with Capture(MicrophoneSource(channel=0)) as capture:
        listener = Reader(capture)
        listener.more_blocks(5)
    # Before the first block there is nothing to measure the loss against: at least one sample.
    assert [block.n_lost for block in listener.blocks[:5]] == [1, 100, 100, 0, 0]


def test_blocks_that_are_no_numbers_are_left_out_and_counted(double: Double) -> None:
    with Capture(MicrophoneSource(channel=0)) as capture:
        listener = Reader(capture)
        listener.more_blocks(2)
        double.set(sound="nan")
        listener.for_seconds(1.0)
        double.set(sound="ramp")
        listener.until(lambda r: any(block.n_lost for block in r.blocks))
    gap = next(block for block in listener.blocks if block.n_lost)
    assert gap.n_lost % 1600 == 0
    assert all(np.isfinite(block.waveform).all() for block in listener.blocks)
    np.testing.assert_allclose(gap.waveform, ramp(gap.start_sample, 1600, 0), atol=1e-6)


def test_silence_of_a_sound_server_is_reported_once_and_stops_nothing(double: Double) -> None:
    with Capture(MicrophoneSource(channel=0), retry=True, patience=patience()) as capture:
        listener = Reader(capture)
        listener.more_blocks(2)
        process = capture.process_id
        double.set(sound="zeros")
        listener.until(lambda r: ("lost", "silent") in r.told)
        listener.for_seconds(7.0)
        double.set(sound="ramp")
        listener.until(lambda r: r.told.count(("running", None)) == 2)
        listener.more_blocks(2)
        assert capture.process_id == process
    assert listener.told == [("running", None), ("lost", "silent"), ("running", None)]
    assert sum(block.n_lost for block in listener.blocks) == 0
    last = listener.blocks[-1]
    np.testing.assert_allclose(last.waveform, ramp(last.start_sample, 1600, 0), atol=1e-6)


def test_a_sound_card_that_delivers_only_zeros_is_opened_anew(double: Double) -> None:
    double.set(devices=[CARD], sound="zeros")
    # A card of which the system knows no more than its number has no stable name; this one is known by a fake id.
    with Capture(MicrophoneSource(), retry=True, patience=patience()) as capture:
        listener = Reader(capture)
        listener.until(lambda r: ("lost", "silent") in r.told)
        capture._supervisor._hardware = True
        listener.until(lambda r: ("retrying", "silent") in r.told)
        listener.more_blocks(1)
        double.set(sound="ramp")
        listener.until(lambda r: r.told[-1] == ("running", None))
    assert listener.told == [("running", None), ("lost", "silent"), ("retrying", "silent"), ("running", None)]
    assert listener.notices[2].delay_s == 0.0


def test_an_unplugged_microphone_is_reported_and_found_again_when_it_comes_back(double: Double) -> None:
    with Capture(MicrophoneSource(), retry=True, patience=patience(longest_delay_s=1.0)) as capture:
        listener = Reader(capture)
        listener.more_blocks(2)
        double.set(devices=[])
        listener.until(lambda r: r.told.count(("retrying", "missing")) >= 2)
        double.set(devices=[{"name": "default", "channels": 1, "rate": 8000}])
        listener.until(lambda r: r.told[-1] == ("running", None))
        listener.more_blocks(2)
    assert listener.told[:5] == [
        ("running", None),
        ("lost", "unplugged"),
        ("retrying", "unplugged"),
        ("lost", "missing"),
        ("retrying", "missing"),
    ]
    delays = [notice.delay_s for notice in listener.notices if notice.state == "retrying"]
    assert delays[:3] == [0.5, 1.0, 1.0]
    back = next(block for block in listener.blocks if block.sample_rate == 8000)
    before = listener.blocks[listener.blocks.index(back) - 1]
    # The clock went on: 16000 Hz before, 8000 Hz after.
    assert back.start_sample == round(before.end_sample / 2) + back.n_lost
    assert back.n_lost / 8000 == pytest.approx(back.time - before.time - 0.1, abs=0.5)


def test_a_microphone_that_is_missing_at_boot_is_waited_for(double: Double) -> None:
    double.set(devices=[])
    with Capture(MicrophoneSource(), retry=True, patience=patience()) as capture:
        listener = Reader(capture)
        listener.until(lambda r: ("retrying", "missing") in r.told)
        double.set(devices=[DEFAULT])
        listener.until(lambda r: r.blocks)
    assert listener.told[0] == ("lost", "missing")
    assert listener.blocks[0].start_sample == 0


@pytest.mark.parametrize("options", [{}, {"retry": True, "must_start": True}])
def test_no_microphone_at_all_ends_in_a_sentence_that_knows_a_way_out(double: Double, options: dict[str, bool]) -> None:
    double.set(devices=[])
    with (
        pytest.raises(DeviceError, match=r"no microphone that PortAudio can see.*--source FILE"),
        Capture(MicrophoneSource(), **options),
    ):
        pass


def test_a_wrong_name_lists_the_right_ones(double: Double) -> None:
    double.set(devices=[DEFAULT, {"name": "pulse", "channels": 32, "rate": 44100}])
    with (
        pytest.raises(DeviceError, match="no microphone 'studio': choose one of 'default', 'pulse'"),
        Capture(MicrophoneSource("studio")),
    ):
        pass
    with pytest.raises(DeviceError, match="no microphone 'studio'"):
        find_device("studio")
    assert find_device("PULS").name == "pulse"
    assert find_device(None).name == "default"


def test_a_channel_that_a_microphone_does_not_have_is_refused_with_those_it_has(double: Double) -> None:
    with (
        pytest.raises(DeviceError, match=r"has 2 channel\(s\), so there is no channel 2: choose one of 0 to 1"),
        Capture(MicrophoneSource(channel=2)),
    ):
        pass


def test_a_plug_in_that_claims_32_channels_is_opened_with_two(double: Double) -> None:
    double.set(devices=[{"name": "pulse", "channels": 32, "rate": 16000}])
    with Capture(MicrophoneSource()) as capture:
        listener = Reader(capture)
        listener.more_blocks(1)
    expected = (ramp(0, 1600, 0) + ramp(0, 1600, 1)) / 2
    np.testing.assert_allclose(listener.blocks[0].waveform, expected, atol=1e-6)
