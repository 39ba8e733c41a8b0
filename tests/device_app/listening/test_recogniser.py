"""Which windows are looked at, how much each counts, and what the network sees of what has only begun."""

import numpy as np
import pytest

from device_app.arrays import FloatArray
from device_app.capture import Block
from device_app.health.bench import untaught_head
from device_app.listening.recogniser import HeardWindow, Recogniser, filled
from device_app.model.embedder import Embedder, load_embedder

RATE = 16000
ONSET_S, END_S = 6.3, 9.0


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder()


@pytest.fixture(scope="module")
def scene() -> FloatArray:
    """A quiet room, in which a hum sets in once and goes on for a while."""
    wave = np.random.default_rng(0).standard_normal(12 * RATE).astype(np.float32) * np.float32(1e-3)
    hum = np.sin(2.0 * np.pi * 333.0 * np.arange(int((END_S - ONSET_S) * RATE)) / RATE)
    wave[int(ONSET_S * RATE) : int(END_S * RATE)] += 0.1 * hum.astype(np.float32)
    return wave


def heard(embedder: Embedder, scene: FloatArray, n_block: int, *, live: bool = False) -> list[HeardWindow]:
    windows: list[HeardWindow] = []
    recogniser = Recogniser(embedder, untaught_head(embedder), on_window=windows.append, live=live)
    for start in range(0, len(scene), n_block):
        recogniser.push(Block(scene[start : start + n_block], RATE, start, 0, 0.0))
    return windows


def test_what_has_just_begun_is_looked_at_twice_as_often_and_counts_more(embedder: Embedder, scene: FloatArray) -> None:
    windows = heard(embedder, scene, 1600)
    fresh = [window.start_s + 1.0 for window in windows if window.weight == 1.0 and window.start_s > 4.0]
    np.testing.assert_allclose(fresh, np.arange(6.375, ONSET_S + 0.75 + 0.032, 0.125))
    others = [window.start_s + 1.0 for window in windows if window.weight != 1.0]
    np.testing.assert_allclose(np.array(others) % 0.25, 0.0)
    assert {window.weight for window in windows} == {0.75, 1.0}
    assert all(window.due for window in windows if window.start_s + 1.0 in fresh)


def test_the_windows_are_the_same_however_the_stream_is_cut(embedder: Embedder, scene: FloatArray) -> None:
    one, other = (heard(embedder, scene, n_block) for n_block in (1600, 7321))
    assert [(w.start_s, w.weight, w.due) for w in one] == [(w.start_s, w.weight, w.due) for w in other]
    for first, second in zip(one, other, strict=True):
        assert (first.embedding is None) == (second.embedding is None)
        if first.embedding is not None and second.embedding is not None:
            np.testing.assert_allclose(first.embedding, second.embedding, atol=1e-6)


def test_a_live_sources_windows_end_with_its_blocks(embedder: Embedder, scene: FloatArray) -> None:
    n_block = 2100  # a little longer than the step between two windows
    windows = heard(embedder, scene, n_block, live=True)
    ends = np.array([round((window.start_s + 1.0) * RATE) for window in windows])
    np.testing.assert_array_equal(ends[2:] % n_block, 0)
    assert set(np.diff(ends)[1:].tolist()) == {n_block, 2 * n_block}
    onsets = [window.start_s + 1.0 for window in windows if window.weight == 1.0 and window.start_s > 4.0]
    np.testing.assert_allclose(np.diff(onsets), n_block / RATE)
    assert ONSET_S < onsets[0] <= ONSET_S + n_block / RATE + 1e-9
    assert len(onsets) == 5  # in three quarters of a second


def test_the_network_sees_the_beginning_of_a_sound_without_the_room_before_it(
    embedder: Embedder, scene: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[FloatArray] = []
    embed = embedder.embed
    monkeypatch.setattr(embedder, "embed", lambda windows: (seen.append(windows[0]), embed(windows))[1])
    windows = [window for window in heard(embedder, scene, 1600) if window.embedding is not None]
    share = {}
    for window, waveform in zip(windows, seen, strict=True):
        share[round(window.start_s + 1.0, 3)] = float(np.mean(np.abs(waveform) > 0.01))
    hum = float(np.mean(np.abs(0.1 * np.sin(np.arange(RATE))) > 0.01))
    for end_s in (6.5, 6.625):  # up to 0.4 s after the onset, which is known to a frame of 32 ms
        assert share[end_s] == pytest.approx(hum, abs=0.15), end_s
    assert share[6.75] == pytest.approx(0.45 * hum, abs=0.02)  # then as it was heard, the room before it included
    assert share[8.0] == pytest.approx(hum, abs=0.02)


def test_a_part_is_repeated_to_the_length_of_the_window_and_ends_as_it_did() -> None:
    waveform = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(filled(waveform, 3), [9, 7, 8, 9, 7, 8, 9, 7, 8, 9])
    np.testing.assert_array_equal(filled(waveform, 10), waveform)
