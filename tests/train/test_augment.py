"""Each augmentation, batched, against a plain per-clip reference; tolerances are stated where they are used."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from train.augment import vocoder
from train.augment.chain import AUGMENTATIONS, Augmenter, draw_plan, mixed_decay
from train.augment.envelope import FADE_SHAPES, fade, time_mask, time_shift
from train.augment.noise import add_noise, coloured_noise
from train.config import AugmentConfig

RATE = 16_000
N = 16_000


def noise(rows: int = 4, n: int = N, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, n)).astype(np.float32)) * 0.1


PARTIALS = (262.0, 392.0, 700.0, 1500.0)


def chord(n: int = N) -> np.ndarray:
    t = np.arange(n) / RATE
    return sum(np.sin(2 * np.pi * f * t + f) / 4 for f in PARTIALS).astype(np.float32)


def partials(x: np.ndarray, ratio: float = 1.0) -> tuple[list[float], list[float]]:
    """Hz and dB of the chord's partials, each looked for within 4 % of ``ratio`` times its frequency."""
    middle = x[3000:13000]
    amplitude = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**18)) / (len(middle) / 4)
    f = np.fft.rfftfreq(2**18, 1 / RATE)
    places, levels = [], []
    for partial in PARTIALS:
        near = np.flatnonzero(np.abs(f / (partial * ratio) - 1) < 0.04)
        peak = near[amplitude[near].argmax()]
        places.append(float(f[peak]))
        levels.append(float(20 * np.log10(amplitude[peak])))
    return places, levels


def peak_frequency(x: np.ndarray) -> float:
    """Hz of the strongest partial of the middle of a clip."""
    middle = x[3000:13000]
    return float(np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**18)).argmax() * RATE / 2**18)


LENGTHS = st.integers(0, 500).filter(lambda n: n != 1)  # of one sample, torchaudio's fade-out has no effect

# --- fade: torchaudio.transforms.Fade, clip by clip ---------------------------------------------------------------


def torchaudio_fade(x: np.ndarray, n_in: int, n_out: int, shape: str) -> np.ndarray:
    """The formulas of torchaudio.transforms.Fade (2.8), which cannot be imported beside every torch."""
    up, down = np.linspace(0, 1, n_in), np.linspace(0, 1, n_out)
    if shape == "logarithmic":
        up, down = np.log10(0.1 + up) + 1, np.log10(1.1 - down) + 1
    elif shape == "exponential":
        up, down = 2 ** (up - 1) * up, 2**-down * (1 - down)
    else:
        down = 1 - down
    gain_in = np.concatenate([up, np.ones(len(x) - n_in)]).clip(0, 1)
    gain_out = np.concatenate([np.ones(len(x) - n_out), down]).clip(0, 1)
    return x * gain_in * gain_out


@settings(max_examples=30, deadline=None)
@given(
    n_in=st.lists(LENGTHS, min_size=3, max_size=3),
    n_out=st.lists(LENGTHS, min_size=3, max_size=3),
)
def test_fades_are_torchaudios(n_in: list[int], n_out: list[int]) -> None:
    x = noise(3, 1000)
    faded = fade(x, torch.tensor(n_in), torch.tensor(n_out), torch.arange(3))
    for row in range(3):
        expected = torchaudio_fade(x[row].numpy(), n_in[row], n_out[row], FADE_SHAPES[row])
        np.testing.assert_allclose(faded[row].numpy(), expected, rtol=0, atol=2e-7)


# --- time mask and time shift: numpy, clip by clip ----------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 800), length=st.integers(0, 200))
def test_a_hard_time_mask_sets_its_samples_to_zero_and_no_others(start: int, length: int) -> None:
    x = noise(2, 1000)
    expected = x.numpy().copy()
    expected[0, start : start + length] = 0
    masked = time_mask(x, torch.tensor([start, 0]), torch.tensor([length, 0]), n_edge=0)
    np.testing.assert_array_equal(masked.numpy(), expected)


def test_a_time_mask_with_edges_ramps_outside_the_gap_and_leaves_the_rest() -> None:
    masked = time_mask(torch.ones(1, 1000), torch.tensor([400]), torch.tensor([100]), n_edge=9)[0].numpy()
    p = np.arange(1, 10) / 10
    ramp = 3 * p**2 - 2 * p**3
    assert (masked[400:500] == 0).all()
    np.testing.assert_allclose(masked[500:509], ramp, atol=1e-6)
    np.testing.assert_allclose(masked[391:400], ramp[::-1], atol=1e-6)
    assert (masked[:391] == 1).all()
    assert (masked[509:] == 1).all()


@settings(max_examples=30, deadline=None)
@given(shift=st.integers(-1000, 1000))
def test_a_time_shift_without_edges_is_numpys_roll(shift: int) -> None:
    x = noise(2, 1000)
    shifted = time_shift(x, torch.tensor([shift, 0]), n_edge=0).numpy()
    np.testing.assert_array_equal(shifted[0], np.roll(x[0].numpy(), shift))
    np.testing.assert_array_equal(shifted[1], x[1].numpy())


def test_a_time_shift_with_edges_is_a_roll_but_for_a_smooth_junction() -> None:
    x = torch.ones(1, 1000)
    shifted = time_shift(x, torch.tensor([300]), n_edge=9)[0].numpy()
    p = np.arange(1, 10) / 10
    ramp = 3 * p**2 - 2 * p**3
    np.testing.assert_allclose(shifted[300:309], ramp, atol=1e-6)
    np.testing.assert_allclose(shifted[291:300], ramp[::-1], atol=1e-6)
    assert (np.delete(shifted, np.arange(291, 309)) == 1).all()


# --- noise: the asked ratio, the asked slope, no period -----------------------------------------------------------


@pytest.mark.parametrize("decay", [-2.0, -1.0, 0.0, 1.0, 2.0])
def test_the_power_of_coloured_noise_falls_by_six_decibels_an_octave_for_each_unit_of_decay(decay: float) -> None:
    """Within 0.3 dB an octave, fitted from 200 Hz to 6 kHz over 40 clips."""
    generator = torch.Generator().manual_seed(0)
    x = coloured_noise(N, torch.full((40,), decay), generator).numpy()
    power = (np.abs(np.fft.rfft(x)) ** 2).mean(axis=0)
    f = np.fft.rfftfreq(N, 1 / RATE)
    band = (f > 200) & (f < 6000)
    slope = np.polyfit(np.log2(f[band]), 10 * np.log10(power[band]), 1)[0]
    assert slope == pytest.approx(-20 * np.log10(2) * decay, abs=0.3)


@settings(max_examples=20, deadline=None)
@given(snr_db=st.floats(0, 40), decay=st.floats(-2, 2))
def test_noise_has_the_asked_ratio_to_each_clips_own_power(snr_db: float, decay: float) -> None:
    x = noise(3) * torch.tensor([[1.0], [0.01], [3.0]])
    y = add_noise(x, torch.full((3,), snr_db), torch.full((3,), decay), torch.Generator().manual_seed(1))
    added = (y - x).double()
    measured = 10 * torch.log10(x.double().square().mean(1) / added.square().mean(1))
    np.testing.assert_allclose(measured.numpy(), snr_db, atol=0.05)


def test_noise_does_not_repeat_itself_within_a_clip_and_differs_between_clips() -> None:
    """Autocorrelation at every lag from 10 ms on stays below 0.1 over ten seconds; the published code's is 1 at 1 s."""
    x = coloured_noise(10 * RATE, torch.zeros(2), torch.Generator().manual_seed(0)).numpy()
    f = np.fft.rfft(x[0], 2 * len(x[0]))
    correlation = np.fft.irfft(f * f.conj())[160 : 9 * RATE] / (x[0] ** 2).sum()
    assert np.abs(correlation).max() < 0.1
    assert abs(np.corrcoef(x)[0, 1]) < 0.02


def test_silence_gets_no_noise() -> None:
    y = add_noise(torch.zeros(1, N), torch.tensor([3.0]), torch.zeros(1), torch.Generator().manual_seed(0))
    assert (y == 0).all()


def test_white_and_mixed_noise_never_share_an_exponent() -> None:
    cfg = AugmentConfig()
    decay = mixed_decay(torch.linspace(0, 1 - 1e-6, 3001), cfg)
    assert decay.min() == -2
    assert decay.max() == pytest.approx(2, abs=1e-3)
    assert not ((decay > -1 + 1e-6) & (decay < 0)).any()
    np.testing.assert_allclose(np.histogram(decay, [-2, -1, 0, 1, 2])[0], [1000, 0, 1000, 1000], atol=2)
    as_published = AugmentConfig(tell_noises_apart=False)
    np.testing.assert_allclose(mixed_decay(torch.tensor([0.0, 0.5]), as_published), [-2, 0])


# --- tempo and pitch: librosa's phase vocoder and resampler, clip by clip -----------------------------------------


def test_rate_one_returns_the_clip() -> None:
    x = noise(2)
    y = vocoder.stretch(x, torch.ones(2), torch.zeros(2), N)
    torch.testing.assert_close(y[:, 512:-512], x[:, 512:-512], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.25, 1.5])
def test_a_stretched_chord_keeps_its_partials_as_librosas_does(rate: float) -> None:
    """Frequencies within 1.5 Hz of the original's, levels within 2.5 dB of librosa.effects.time_stretch."""
    x = chord(24_000)
    theirs = librosa.effects.time_stretch(x, rate=rate, n_fft=2048, hop_length=512)[:N]
    ours = vocoder.stretch(torch.from_numpy(x)[None], torch.tensor([rate]), torch.zeros(1), N)[0].numpy()
    places, levels = partials(ours)
    np.testing.assert_allclose(places, PARTIALS, atol=1.5)
    np.testing.assert_allclose(levels, partials(theirs)[1], atol=2.5)


@pytest.mark.parametrize("rate", [0.5, 0.75, 1.25, 1.5])
def test_a_stretched_click_is_where_the_tempo_puts_it(rate: float) -> None:
    """Within 10 ms; and as sharp: nine tenths of its energy within 60 ms."""
    x = torch.zeros(1, N)
    x[0, 6000:6032] = 1.0
    y = vocoder.stretch(x, torch.tensor([rate]), torch.tensor([1000.0]), N)[0].numpy() ** 2
    centre = float((y * np.arange(N)).sum() / y.sum())
    expected = (6016 - 1000) / rate
    assert centre == pytest.approx(expected, abs=160)
    assert y[int(expected) - 480 : int(expected) + 480].sum() > 0.9 * y.sum()


@pytest.mark.parametrize("semitones", [-15.0, -12.0, 12.0])
def test_a_tone_that_follows_silence_is_there_wherever_it_begins(semitones: float) -> None:
    """Its level within 30 %, from 100 ms after it began; its phases are to be had from no frame before."""
    begin = torch.arange(4000, 4800, 50)[:, None]
    time = torch.arange(N)[None]
    x = torch.where(time >= begin, torch.sin(2 * np.pi * 700.0 / RATE * time), 0.0)
    y = vocoder.shift_pitch(x, torch.full((len(begin),), semitones))
    np.testing.assert_allclose(y[:, 6400:-500].std(dim=1), np.sqrt(0.5), rtol=0.3)


def test_a_faster_clip_is_followed_by_silence_not_by_itself() -> None:
    y = vocoder.stretch(noise(1), torch.tensor([1.5]), torch.zeros(1), N)[0]
    end = int(N / 1.5)
    assert y[end - 3000 : end - 1000].std() > 0.05
    assert y[end + 1000 :].abs().max() == 0


@pytest.mark.parametrize("semitones", [-15.0, -7.3, -0.4, 0.4, 5.0, 12.0, 15.0])
def test_pitch_moves_by_the_asked_semitones_and_duration_stays(semitones: float) -> None:
    """Any real number of semitones, within 0.02; the published code knows 14 of them."""
    t = np.arange(N) / RATE
    x = torch.from_numpy(np.sin(2 * np.pi * 700.0 * t).astype(np.float32))[None]
    y = vocoder.shift_pitch(x, torch.tensor([semitones]))
    assert y.shape == x.shape
    heard = 12 * np.log2(peak_frequency(y[0].numpy()) / 700.0)
    assert heard == pytest.approx(semitones, abs=0.02)
    assert float(y[0, 3000:13000].std()) == pytest.approx(float(x.std()), rel=0.2)
    assert float(y[0, -2000:-500].std()) == pytest.approx(float(x.std()), rel=0.3)


@pytest.mark.parametrize("semitones", [-12.0, -5.0, 4.0, 7.0])
def test_a_shifted_chord_moves_its_partials_as_librosas_does(semitones: float) -> None:
    """Frequencies within 0.5 % of the exact ratio, levels within 3 dB of librosa.effects.pitch_shift."""
    ratio = 2 ** (semitones / 12)
    theirs = librosa.effects.pitch_shift(chord(), sr=RATE, n_steps=semitones, n_fft=2048, hop_length=512)
    ours = vocoder.shift_pitch(torch.from_numpy(chord())[None], torch.tensor([semitones]))[0].numpy()
    places, levels = partials(ours, ratio)
    np.testing.assert_allclose(places, np.array(PARTIALS) * ratio, rtol=5e-3)
    np.testing.assert_allclose(levels, partials(theirs, ratio)[1], atol=3.0)


def test_a_pitch_above_half_the_sample_rate_does_not_come_back_from_below() -> None:
    """6 kHz an octave up would be 12 kHz; what is left of it is 40 dB down, 50 ms away from the clip's hard ends."""
    t = np.arange(N) / RATE
    x = torch.from_numpy(np.sin(2 * np.pi * 6000.0 * t).astype(np.float32))[None]
    assert float(vocoder.shift_pitch(x, torch.tensor([12.0]))[0, 800:-800].std()) < 0.01 * float(x.std())


@pytest.mark.parametrize(("up", "down"), [(1, 2), (2, 1), (3, 4), (4, 3)])
def test_reading_faster_is_scipys_resampling(up: int, down: int) -> None:
    """Within 1 % of the signal's level, for a signal of up to 3 kHz, away from the ends."""
    rng = np.random.default_rng(0)
    coefficients = rng.standard_normal(3000) + 1j * rng.standard_normal(3000)
    x = np.fft.irfft(np.concatenate([[0], coefficients]), N)
    x /= x.std()
    rows = vocoder.read_faster(torch.from_numpy(x.astype(np.float32))[None], torch.tensor([down / up]))
    ours = rows.samples[rows.first[0] :][: rows.length[0]].numpy()
    theirs = resample_poly(x, up, down, window=("kaiser", 12.0))
    n = min(len(ours), len(theirs))
    if down > up:
        keep = 8000 * up / down * 0.95 > 3000
        assert keep
    np.testing.assert_allclose(ours[500 : n - 500], theirs[500 : n - 500], atol=0.05)
    assert np.std((ours - theirs[: len(ours)] if n == len(ours) else ours[:n] - theirs)[500 : n - 500]) < 0.01


# --- the chain ------------------------------------------------------------------------------------------------------


def test_a_plan_draws_one_to_seven_different_augmentations_evenly() -> None:
    plan = draw_plan(7000, 1, 7, torch.Generator().manual_seed(0))
    counts = plan.labels.sum(1).long()
    np.testing.assert_allclose(np.bincount(counts, minlength=8), [0] + [1000] * 7, atol=120)
    np.testing.assert_allclose(plan.labels.mean(0), 4 / 7, atol=0.02)
    for row in plan.order[:200].tolist():
        used = [kind for kind in row if kind >= 0]
        assert len(set(used)) == len(used)
        assert row == used + [-1] * (7 - len(used))
    assert len({tuple(row) for row in plan.order.tolist()}) > 3000  # orders differ


def test_both_views_have_the_clips_augmentations_with_parameters_of_their_own() -> None:
    augmenter = Augmenter(AugmentConfig(), RATE)
    clips = noise(6)
    views, labels = augmenter.two_views(clips, seed=3)
    assert views.shape == (12, N)
    assert labels.shape == (6, 7)
    assert views.isfinite().all()
    for clip in range(6):
        assert not torch.equal(views[clip], views[6 + clip])
        assert not torch.equal(views[clip], clips[clip])


def test_a_seed_says_all_and_the_clips_are_left_as_they_were() -> None:
    augmenter = Augmenter(AugmentConfig(), RATE)
    clips = noise(4)
    before = clips.clone()
    first, again, other = (augmenter.two_views(clips, seed)[0] for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)
    torch.testing.assert_close(clips, before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_each_augmentation_changes_audio_and_keeps_silence_silent(kind: str) -> None:
    augmenter = Augmenter(AugmentConfig(), RATE)
    order = torch.full((8, 7), -1)
    order[:, 0] = AUGMENTATIONS.index(kind)
    clips = noise(8)
    generator = torch.Generator().manual_seed(0)
    assert ((augmenter.apply(clips, order, generator) - clips).abs().amax(1) > 1e-3).all()
    assert augmenter.apply(torch.zeros(8, N), order, generator).abs().max() < 1e-6


def test_some_of_no_augmentations_are_none() -> None:
    clips = noise()
    assert Augmenter(AugmentConfig(), 16_000).some(clips, (), 0) is clips


def test_mixing_adds_another_clip_at_the_asked_ratio_to_the_asked_share() -> None:
    augmenter = Augmenter(AugmentConfig(), 16_000)
    level = torch.tensor([0.001, 0.3] * 200)[:, None]  # the ratio is to each clip's own power
    clips = level * noise(400, 2000)
    mixed = augmenter.mix(clips, 0.5, (6.0, 20.0), seed=3)
    added = mixed - clips
    changed = added.abs().amax(dim=1) > 0
    assert 0.4 < changed.float().mean() < 0.6
    snr = 10 * torch.log10(clips.square().mean(dim=1) / added.square().mean(dim=1))[changed]
    assert 5.99 < snr.min() < 6.5
    assert 19.5 < snr.max() < 20.01
    cosine = torch.nn.functional.cosine_similarity(added[changed][:, None], clips[None], dim=2)
    assert torch.all(cosine.amax(dim=1) > 0.999)  # what was added is one of the others
    assert torch.all(cosine.argmax(dim=1) != changed.nonzero()[:, 0])
    torch.testing.assert_close(mixed, augmenter.mix(clips, 0.5, (6.0, 20.0), seed=3), rtol=0, atol=0)
    assert augmenter.mix(clips, 0.0, (6.0, 20.0), seed=3) is clips
    silent = torch.zeros(4, 100)
    assert torch.equal(augmenter.mix(silent, 1.0, (0.0, 0.0), seed=0), silent)


def test_augmenting_in_pieces_is_augmenting_at_once() -> None:
    """How many rows a CPU takes at a time decides nothing but speed: rows do not influence each other."""
    x = noise(5)
    semitones, rate = torch.linspace(-9, 9, 5), torch.linspace(0.6, 1.4, 5)
    whole = vocoder.shift_pitch(x, semitones)
    one_by_one = torch.cat([vocoder.shift_pitch(x[i : i + 1], semitones[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(whole, one_by_one, rtol=0, atol=1e-5)
    whole = vocoder.stretch(x, rate, torch.zeros(5), N)
    one_by_one = torch.cat([vocoder.stretch(x[i : i + 1], rate[i : i + 1], torch.zeros(1), N) for i in range(5)])
    torch.testing.assert_close(whole, one_by_one, rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_augmentations_on_the_gpu_have_the_cpus_parameters() -> None:
    order = torch.full((2, 7), -1)
    order[:, 0], order[:, 1] = AUGMENTATIONS.index("pitch_shift"), AUGMENTATIONS.index("time_shift")
    augmenter = Augmenter(AugmentConfig(), RATE)
    here = augmenter.apply(noise(2), order, torch.Generator().manual_seed(0))
    there = augmenter.apply(noise(2).cuda(), order, torch.Generator().manual_seed(0)).cpu()
    torch.testing.assert_close(here, there, rtol=0, atol=1e-3)
