import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.tiny import RATE, tiny_config
from train.corpus import cache as cache_module
from train.corpus.cache import Cache, build_cache, segments
from train.corpus.decode import UnusableAudioError, find_audio, read_clip
from train.corpus.layouts import training_files
from train.corpus.sampling import Sampler, is_validation
from train.errors import CorpusError


def tone(seconds: float, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


# --- decoding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [
        ("a.wav", {"subtype": "PCM_24"}, 44_100),
        ("a.flac", {}, 22_050),
        ("a.ogg", {"subtype": "VORBIS"}, 32_000),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 48_000),
        ("a.mp3", {"format": "MP3", "subtype": "MPEG_LAYER_III"}, 44_100),
        ("a.aiff", {}, 8_000),
    ],
)
def test_every_format_and_rate_becomes_the_same_tone(
    tmp_path: Path, name: str, options: dict[str, str], rate: int
) -> None:
    """440 Hz within 1 Hz, full scale, and the length within a codec's 60 ms of padding."""
    stereo = np.stack([tone(1.0, rate), 0.5 * tone(1.0, rate)], axis=1)
    soundfile.write(tmp_path / name, stereo, rate, **options)
    samples = read_clip(tmp_path / name, RATE)
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(RATE, abs=960)
    assert np.abs(samples).max() == 32_000
    spectrum = np.abs(np.fft.rfft(samples[2000:14000].astype(float) * np.hanning(12000), 2**17))
    assert spectrum.argmax() * RATE / 2**17 == pytest.approx(440, abs=1)


def test_a_clip_is_soxrs_resampling_brought_near_full_scale(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal(44_100) * 0.05
    soundfile.write(tmp_path / "a.wav", x, 44_100, subtype="DOUBLE")
    expected = soxr.resample(x.astype(np.float32), 44_100, RATE)
    expected = np.round(expected * (32_000 / np.abs(expected).max()))
    np.testing.assert_allclose(read_clip(tmp_path / "a.wav", RATE), expected, atol=1)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(1600), "is silent"),
        (np.array([0.1, np.nan, 0.2]), "not finite"),
        (np.array([0.1, np.inf, 0.2]), "not finite"),
        (np.zeros(0), "is empty"),
    ],
)
def test_audio_that_cannot_be_trained_on_says_why(tmp_path: Path, samples: np.ndarray, reason: str) -> None:
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(UnusableAudioError, match=reason):
        read_clip(tmp_path / "a.wav", RATE)


def test_finding_audio_looks_everywhere_but_in_hidden_folders(tmp_path: Path) -> None:
    for name in ("b/x.WAV", "a/deep/er/y.flac", "notes.txt", ".trash/z.wav", "b/._x.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)]
    assert found == ["a/deep/er/y.flac", "b/x.WAV"]


def test_a_folder_without_audio_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no audio in .*\.wav, \.flac, \.ogg"):
        find_audio(tmp_path)
    with pytest.raises(CorpusError, match="is not a folder"):
        find_audio(tmp_path / "nowhere")


# --- published layouts -----------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def stems(files: list[Path]) -> list[str]:
    return [path.stem for path in files]


def test_of_fsd50k_only_the_listed_development_clips_are_taken(tmp_path: Path) -> None:
    touch(tmp_path, "FSD50K.dev_audio/1.wav", "FSD50K.dev_audio/2.wav", "FSD50K.eval_audio/3.wav")
    assert stems(training_files(tmp_path)) == ["1", "2"]
    touch(tmp_path, "FSD50K.ground_truth/dev.csv")
    (tmp_path / "FSD50K.ground_truth/dev.csv").write_text('fname,labels,mids,split\n2,"Bark,Dog","/m/1",train\n')
    assert stems(training_files(tmp_path)) == ["2"]


def test_of_audioset_only_the_training_clips_are_taken_however_they_are_named(tmp_path: Path) -> None:
    names = ["--aE2O5G5WE", "YaBcDeFgHi_j_30.000_40.000", "Yabcdefghi-k", "zzzzzzzzzzz", "evalevaleva_10"]
    touch(tmp_path, *(f"audio/{name}.wav" for name in names))
    (tmp_path / "balanced_train_segments.csv").write_text(
        '# Segments csv created\n--aE2O5G5WE, 0.000, 10.000, "/m/03fwl"\naBcDeFgHi_j, 30.000, 40.000, "/m/1"\n'
        'Yabcdefghi-k, 1.0, 2.0, "/m/1"\n'
    )
    (tmp_path / "eval_segments.csv").write_text('evalevaleva, 10.000, 20.000, "/m/1"\n')
    assert stems(training_files(tmp_path)) == sorted(names[:3])
    (tmp_path / "balanced_train_segments.csv").unlink()
    assert stems(training_files(tmp_path)) == sorted(names[:4])


def test_audioset_tables_that_fit_no_file_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "audio/one.wav")
    (tmp_path / "balanced_train_segments.csv").write_text("abcdefghijk, 0, 10\n")
    with pytest.raises(CorpusError, match=r"laid out as AudioSet .* no file is named after a clip"):
        training_files(tmp_path)


# --- the cache -------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 5000), longest=st.integers(1, 1000))
def test_segments_cover_a_recording_evenly(n: int, longest: int) -> None:
    pieces = list(segments(n, longest))
    assert [start for start, _ in pieces] == list(np.cumsum([0, *(length for _, length in pieces)])[:-1])
    assert sum(length for _, length in pieces) == n
    assert max(length for _, length in pieces) <= longest
    assert len(pieces) == -(-n // longest)


def test_a_cache_holds_every_files_samples_and_its_domain(audio: Path, cache: Cache) -> None:
    assert {clip.domain for clip in cache.clips} == {"tones", "noises", "clicks"}
    assert len(cache.clips) == 24
    for clip in cache.clips:
        samples = cache.samples(clip, 0, clip.n_samples)
        np.testing.assert_array_equal(samples, read_clip(audio / clip.path, RATE))
    clip = cache.clips[3]
    np.testing.assert_array_equal(cache.samples(clip, 100, 50), cache.samples(clip, 0, clip.n_samples)[100:150])
    assert len(cache.samples(clip, clip.n_samples - 10, 50)) == 10  # not the next clip's


def test_long_recordings_become_clips_of_at_most_ten_seconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", tone(25.0), RATE)
    built = build_cache([tmp_path], tmp_path / "cache", RATE, progress=False)
    assert [clip.n_samples for clip in built.clips] == [133_333, 133_334, 133_333]
    assert {clip.path for clip in built.clips} == {f"{tmp_path.name}/long.wav"}


def test_unusable_files_are_listed_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    soundfile.write(audio / "good.wav", tone(0.5), RATE)
    soundfile.write(audio / "silent.wav", np.zeros(800), RATE)
    soundfile.write(audio / "nan.wav", np.full(800, np.nan), RATE, subtype="FLOAT")
    (audio / "broken.mp3").write_bytes(b"this is not audio")
    built = build_cache([audio], tmp_path / "cache", RATE, progress=False)
    assert [clip.path for clip in built.clips] == ["audio/good.wav"]
    skipped = dict(json.loads((tmp_path / "cache/shard-00000.json").read_text())["skipped"])
    assert skipped["audio/silent.wav"] == "is silent"
    assert "not finite" in skipped["audio/nan.wav"]
    assert "cannot be decoded" in skipped["audio/broken.mp3"]
    assert "left out: audio/silent.wav is silent" in caplog.text


def test_a_corpus_of_nothing_usable_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(800), RATE)
    with pytest.raises(CorpusError, match=r"none of the 1 audio files .*silent.wav, is silent"):
        build_cache([tmp_path], tmp_path / "cache", RATE, progress=False)


def test_a_killed_build_goes_on_where_it_stopped_and_gives_the_same_cache(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "FILES_A_SHARD", 5)
    whole = build_cache([audio], tmp_path / "whole", RATE, progress=False)
    calls: list[Path] = []

    def dies_in_the_third_shard(path: Path, rate: int) -> np.ndarray:
        calls.append(path)
        if path.name == "12.wav":
            raise KeyboardInterrupt
        return read_clip(path, rate)

    monkeypatch.setattr(cache_module, "read_clip", dies_in_the_third_shard)
    with pytest.raises(KeyboardInterrupt):
        build_cache([audio], tmp_path / "cache", RATE, progress=False)
    done = sorted(path.name for path in (tmp_path / "cache").glob("shard-*.json"))
    assert not (tmp_path / "cache/cache.json").exists()
    with pytest.raises(CorpusError, match="holds no complete cache"):
        Cache(tmp_path / "cache")

    again: list[Path] = []

    def counts(path: Path, rate: int) -> np.ndarray:
        again.append(path)
        return read_clip(path, rate)

    monkeypatch.setattr(cache_module, "read_clip", counts)
    resumed = build_cache([audio], tmp_path / "cache", RATE, progress=False)
    assert len(again) == 24 - 5 * len(done)
    assert resumed.sha256 == whole.sha256
    assert not list((tmp_path / "cache").glob(".*"))  # nothing half-written is left


def test_new_files_change_the_cache_and_unchanged_shards_are_kept(audio: Path, tmp_path: Path) -> None:
    copy = tmp_path / "audio"
    shutil.copytree(audio, copy)
    first = build_cache([copy], tmp_path / "cache", RATE, progress=False)
    stamp = (tmp_path / "cache/shard-00000.i16").stat().st_mtime_ns
    same = build_cache([copy], tmp_path / "cache", RATE, progress=False)
    assert same.sha256 == first.sha256
    assert (tmp_path / "cache/shard-00000.i16").stat().st_mtime_ns == stamp
    soundfile.write(copy / "tones" / "new.wav", tone(0.3), RATE)
    changed = build_cache([copy], tmp_path / "cache", RATE, progress=False)
    assert changed.sha256 != first.sha256
    assert len(changed.clips) == 25


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "shard-00000.i16").write_bytes(b"\0\0"), "is missing or cut short"),
        (lambda folder: (folder / "shard-00000.i16").unlink(), "is missing or cut short"),
        (lambda folder: _flip(folder / "shard-00000.i16"), "is damaged .its checksum differs"),
        (lambda folder: (folder / "shard-00000.json").write_text("{"), "is missing or damaged"),
        (lambda folder: (folder / "cache.json").write_text("[]"), "holds no complete cache"),
        (lambda folder: (folder / "cache.json").write_text('{"format": 99}'), "of format 99, not 1"),
    ],
)
def test_a_damaged_cache_is_refused_with_what_to_do(audio: Path, tmp_path: Path, damage: object, message: str) -> None:
    build_cache([audio], tmp_path, RATE, progress=False)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(CorpusError, match=message) as caught:
        Cache(tmp_path)
    assert "build" in str(caught.value)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1001] ^= 0xFF
    path.write_bytes(data)


def test_a_cache_of_another_rate_is_not_overwritten(audio: Path, tmp_path: Path) -> None:
    build_cache([audio], tmp_path, 8_000, progress=False)
    before = (tmp_path / "shard-00000.i16").read_bytes()
    with pytest.raises(CorpusError, match="is a cache at 8000 Hz, not 16000: choose another --out"):
        build_cache([audio], tmp_path, RATE, progress=False)
    assert (tmp_path / "shard-00000.i16").read_bytes() == before


# --- sampling --------------------------------------------------------------------------------------


def test_a_batch_follows_from_seed_and_step_and_its_parts_are_the_whole(cache: Cache) -> None:
    sampler = Sampler(cache, tiny_config())
    whole = sampler.batch(7, 8)
    again = Sampler(cache, tiny_config()).batch(7, 8)
    np.testing.assert_array_equal(whole.clips, again.clips)
    parts = [sampler.batch(7, 8, part, 4).clips.numpy() for part in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), whole.clips)
    assert not np.array_equal(whole.clips, sampler.batch(8, 8).clips)
    assert not np.array_equal(whole.clips, Sampler(cache, tiny_config(run={"seed": 1})).batch(7, 8).clips)


def test_windows_are_parts_of_clips_and_short_clips_lie_whole_amid_silence(cache: Cache) -> None:
    sampler = Sampler(cache, tiny_config())
    n = sampler.n_samples
    wholes = {clip.path: cache.samples(clip, 0, clip.n_samples).astype(np.float32) / 32768 for clip in cache.clips}
    short_seen = 0
    for step in range(10):
        for window in sampler.batch(step, 6).clips.numpy():
            found = False
            for samples in wholes.values():
                if len(samples) >= n:
                    places = np.flatnonzero(samples[: len(samples) - n + 1] == window[0])
                    found |= any(np.array_equal(samples[p : p + n], window) for p in places)
                else:
                    places = np.flatnonzero(window[: n - len(samples) + 1] == samples[0])
                    for p in places:
                        inside = np.array_equal(window[p : p + len(samples)], samples)
                        rest = np.concatenate([window[:p], window[p + len(samples) :]])
                        if inside and not rest.any():
                            found, short_seen = True, short_seen + 1
                            break
            assert found
    assert short_seen >= 3


def test_folders_with_domains_of_the_same_name_share_them_and_lose_no_file(tmp_path: Path) -> None:
    for name in ("one/bells/a.wav", "two/bells/a.wav", "two/bells/b.wav", "two/cat.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, tone(0.2), RATE)
    built = build_cache([tmp_path / "one", tmp_path / "two"], tmp_path / "cache", RATE, progress=False)
    assert [clip.path for clip in built.clips] == ["bells/a.wav", "bells/two/a.wav", "bells/b.wav", "two/cat.wav"]
    assert [clip.domain for clip in built.clips] == ["bells", "bells", "bells", "two"]


def test_domains_are_drawn_by_the_square_root_of_their_size(tmp_path: Path) -> None:
    for domain, n in (("big", 64), ("small", 4)):
        (tmp_path / domain).mkdir()
        for i in range(n):
            soundfile.write(tmp_path / domain / f"{i:02d}.wav", tone(0.05, level=0.1 + i / 100), RATE)
    built = build_cache([tmp_path], tmp_path / "cache", RATE, progress=False)
    config = tiny_config(data={"val_fraction": 0.0, "domain_exponent": 0.5})
    assert dict(zip(Sampler(built, config).domains, Sampler(built, config).shares, strict=True)) == pytest.approx(
        {"big": 0.8, "small": 0.2}
    )
    sampler = Sampler(built, config)
    chosen = [clip.domain for step in range(400) for clip in sampler._choose(np.random.default_rng(step), 2)]
    assert chosen.count("small") / len(chosen) == pytest.approx(0.2, abs=0.04)


def test_no_clip_is_twice_in_a_batch_if_there_are_enough(cache: Cache) -> None:
    sampler = Sampler(cache, tiny_config(data={"val_fraction": 0.0}))
    for step in range(30):
        chosen = sampler._choose(np.random.default_rng(step), 8)
        assert len({clip.path for clip in chosen}) == 8


def test_windows_that_are_nearly_silent_are_avoided(tmp_path: Path) -> None:
    """A recording of which only the last fifth sounds: four draws miss it in 1 of 6 windows, one draw in 4 of 6."""
    rng = np.random.default_rng(0)
    for i in range(2):
        x = np.zeros(5 * RATE)
        x[4 * RATE :] = rng.standard_normal(RATE)
        soundfile.write(tmp_path / f"{i}.wav", x / 8, RATE)
    built = build_cache([tmp_path], tmp_path / "cache", RATE, progress=False)

    def silent_share(draws: int) -> float:
        sampler = Sampler(built, tiny_config(data={"activity_draws": draws, "val_fraction": 0.0}))
        windows = np.concatenate([sampler.batch(step, 2).clips.numpy() for step in range(150)])
        return float((np.abs(windows).max(axis=1) == 0).mean())

    assert silent_share(1) > 0.6
    assert silent_share(8) < 0.25


def test_validation_clips_are_fixed_and_never_trained_on(cache: Cache) -> None:
    sampler = Sampler(cache, tiny_config())
    held_out = {clip.path for clip in sampler.validation}
    assert held_out == {clip.path for clip in cache.clips if is_validation(clip.path, 0.3)}
    assert 2 <= len(held_out) <= 14
    assert not held_out & {clip.path for clips in sampler.domains.values() for clip in clips}
    one, two = sampler.validation_batch(0, 2), sampler.validation_batch(0, 2)
    assert one is not None
    assert two is not None
    np.testing.assert_array_equal(one.clips, two.clips)
    assert sampler.validation_batch(100, 2) is None


def test_a_cache_of_another_rate_than_the_configs_is_refused(audio: Path, tmp_path: Path) -> None:
    built = build_cache([audio], tmp_path, 8_000, progress=False)
    with pytest.raises(CorpusError, match=r"is at 8000 Hz, the config asks for frontend.sample_rate=16000"):
        Sampler(built, tiny_config())
