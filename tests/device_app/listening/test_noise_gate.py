"""The gate: closed in a quiet room, open for what is hardly louder than it."""

import numpy as np
import pytest

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.demo.stream import bundled_clips
from device_app.enrolment.example_windows import find_sound
from device_app.listening.noise_gate import NoiseGate

RATE = 16000
HOP = 4000


def room(seconds: float, exponent: float, seed: int = 0) -> FloatArray:
    """Noise at -60 dBFS whose power falls as 1/f^exponent above 20 Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(int(seconds * RATE)))
    spectrum *= np.maximum(np.fft.rfftfreq(int(seconds * RATE), 1 / RATE), 20.0) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum)
    return (noise / np.sqrt(np.mean(noise**2)) * 1e-3).astype(np.float32)


def hops(gate: NoiseGate, waveform: FloatArray) -> list[bool]:
    return [gate.push(waveform[start : start + HOP]) for start in range(0, len(waveform) - HOP + 1, HOP)]


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_in_an_even_room_hardly_anything_stands_out(exponent: float) -> None:
    gate = NoiseGate(RATE)
    noise = room(60.0, exponent)
    hops(gate, noise[: 5 * RATE])
    assert np.mean(hops(gate, noise[5 * RATE :])) < 0.05


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_sounds_three_decibels_above_a_quiet_room_are_not_missed(exponent: float) -> None:
    noise = room(12.0, exponent, seed=1)
    clips = [path for part in ("enrol", "stream") for paths in bundled_clips(part).values() for path in paths]
    missed = []
    for path in clips:
        clip = read_audio(path, RATE)
        start, end = find_sound(clip, RATE)
        sound = clip[start:end][: 5 * RATE]
        tenths = sound[: len(sound) // 1600 * 1600].reshape(-1, 1600)
        loudest = np.sqrt(np.mean(tenths**2, axis=1)).max()
        heard = noise[: 6 * RATE + len(sound)].copy()
        heard[6 * RATE :] += sound * np.float32(10 ** (3 / 20) * 1e-3 / loudest)
        gate = NoiseGate(RATE)
        if not any(hops(gate, heard)[24:]):
            missed.append(path.name)
    assert len(missed) <= len(clips) // 50, missed


def test_it_tells_when_what_stands_out_began() -> None:
    heard = room(8.0, 1.0)
    heard[int(6.3 * RATE) : int(7.5 * RATE)] += 0.1 * np.sin(np.arange(int(1.2 * RATE))).astype(np.float32)
    gate = NoiseGate(RATE)
    for end in range(HOP, 7 * RATE + 1, HOP):
        stands_out = gate.push(heard[end - HOP : end])
    assert stands_out
    assert 7.0 - gate.since_onset_s == pytest.approx(6.3, abs=0.04)


def test_a_noise_that_stays_becomes_the_room_and_digital_silence_does_not() -> None:
    gate = NoiseGate(RATE)
    hops(gate, room(10.0, 1.0))
    louder = 10.0 * room(120.0, 1.0, seed=2)
    assert all(hops(gate, louder[: 5 * RATE]))
    hops(gate, louder[5 * RATE : 90 * RATE])
    assert not any(hops(gate, np.zeros(60 * RATE, np.float32)))
    assert np.mean(hops(gate, louder[90 * RATE :])) < 0.1


def test_blocks_of_any_length_are_taken_even_none() -> None:
    noise = room(10.0, 1.0)
    whole, cut = NoiseGate(RATE), NoiseGate(RATE)
    whole.push(noise)
    for piece in np.split(noise, [0, 1, 700, 700, 30000]):
        cut.push(piece)
    assert cut.since_onset_s == pytest.approx(whole.since_onset_s)
    sound = np.full(HOP, 0.1, np.float32) * np.sin(np.arange(HOP)).astype(np.float32)
    assert (whole.push(sound), cut.push(sound)) == (True, True)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_after_two_seconds_it_knows_how_much_the_room_wavers(exponent: float) -> None:
    for seed in range(5):
        heard = room(3.0, exponent, seed)
        heard[2 * RATE :] += 0.1 * np.sin(np.arange(RATE)).astype(np.float32)
        gate = NoiseGate(RATE)
        gate.push(heard[: int(2.3 * RATE)])
        assert gate.since_onset_s == pytest.approx(0.3, abs=0.04)
