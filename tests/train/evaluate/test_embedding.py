from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.train.evaluate.made import RATE, write_clip, write_tones
from train.errors import CorpusError
from train.evaluate.embedding import EmbeddingCache, audible, clip_windows, embed_set, with_all_heads
from train.evaluate.sets import read_folder


class Counting:
    """An encoder whose two heads are the first samples of a window and its loudness, and which counts its calls."""

    name = fingerprint = "counting"
    sample_rate = RATE
    clip_samples = 4000
    standardise = False

    def __init__(self) -> None:
        self.n_windows = 0

    def embed(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        self.n_windows += len(windows)
        return {"first": windows[:, :3], "loud": np.abs(windows).mean(axis=1, keepdims=True)}


def test_windows_overlap_by_half_the_last_one_ends_with_the_clip_and_a_short_clip_is_centred() -> None:
    x = np.arange(7000, dtype=np.float32)
    assert clip_windows(x, 4000)[:, 0].tolist() == [0, 2000, 3000]
    short = clip_windows(x[:1000] + 1, 4000)
    assert short.shape == (1, 4000)
    assert (short[0, 1500:2500] == x[:1000] + 1).all()
    assert np.count_nonzero(short) == 1000


def test_a_clips_embedding_is_the_mean_of_its_windows_however_they_fall_into_batches(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        n = int(rng.integers(1000, 60_000))
        (tmp_path / f"class{i % 3}").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"class{i % 3}" / f"{i:02}.wav", 0.3 * rng.standard_normal(n), RATE)
    clips = read_folder(tmp_path)
    encoder = Counting()
    got = embed_set(encoder, clips)
    assert encoder.n_windows > 64  # more than a batch
    for i, path in enumerate(clips.paths):
        x = soundfile.read(path, dtype="float32")[0]
        x = np.round(x * (32_000 / np.abs(x).max())) / 32768  # as decoding levels it
        windows = clip_windows(x.astype(np.float32), 4000)
        np.testing.assert_allclose(got["first"][i], windows[:, :3].mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(got["loud"][i], np.abs(windows).mean(), atol=1e-4)


def test_a_set_is_embedded_once_and_again_only_if_a_file_the_condition_or_the_encoder_changes(tmp_path: Path) -> None:
    clips = read_folder(write_tones(tmp_path / "tones", 2, 3))
    encoder, folder = Counting(), tmp_path / "cache"
    first = EmbeddingCache(folder).embed(encoder, clips)
    assert encoder.n_windows == 6 * 2
    again = EmbeddingCache(folder).embed(encoder, clips)
    assert encoder.n_windows == 12
    np.testing.assert_array_equal(first["first"], again["first"])

    quieter = EmbeddingCache(folder).embed(encoder, clips, "half", lambda x, rate, rng: x / 2)
    assert encoder.n_windows == 24
    np.testing.assert_allclose(quieter["loud"], first["loud"] / 2, rtol=1e-5)
    write_clip(clips.paths[0], seed=99)
    EmbeddingCache(folder).embed(encoder, clips)
    assert encoder.n_windows == 36
    other = Counting()
    other.fingerprint = "other"
    EmbeddingCache(folder).embed(other, clips)
    assert other.n_windows == 12


def test_a_damaged_file_of_the_cache_is_made_again(tmp_path: Path) -> None:
    clips = read_folder(write_tones(tmp_path / "tones", 2, 3))
    first = EmbeddingCache(tmp_path / "cache").embed(Counting(), clips)
    (path,) = (tmp_path / "cache").rglob("*.npz")
    path.write_bytes(path.read_bytes()[:50])
    again = EmbeddingCache(tmp_path / "cache").embed(Counting(), clips)
    np.testing.assert_array_equal(first["loud"], again["loud"])


@pytest.mark.parametrize(("content", "why"), [(b"no audio", "cannot be decoded"), (None, "is silent")])
def test_unreadable_audio_is_an_error_that_names_the_set_the_class_and_the_file(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    folder = write_tones(tmp_path / "tones", 2, 3)
    if content is None:
        soundfile.write(folder / "tone1" / "2.wav", np.zeros(4000), RATE)
    else:
        (folder / "tone1" / "2.wav").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"tones: class 'tone1': .*2\.wav {why}.*: replace or remove it"):
        embed_set(Counting(), read_folder(folder))


def test_all_heads_side_by_side_are_each_of_unit_length_or_as_they_are() -> None:
    heads = {"a": np.array([[3.0, 4.0]], np.float32), "b": np.array([[0.0, 2.0]], np.float32)}
    np.testing.assert_allclose(with_all_heads(heads)["all"], [[0.6, 0.8, 0.0, 1.0]])
    np.testing.assert_allclose(with_all_heads(heads, unit=False)["all"], [[3.0, 4.0, 0.0, 2.0]])
    assert list(with_all_heads({"a": heads["a"]})) == ["a"]


def test_windows_of_silence_count_for_nothing_unless_there_is_nothing_else() -> None:
    rng = np.random.default_rng(0)
    windows = np.zeros((4, 4000), np.float32)
    windows[1] = 0.1 * rng.standard_normal(4000)
    windows[2] = 0.5  # a constant is silent too
    windows[3] = 10 ** (-85 / 20) * rng.standard_normal(4000)
    np.testing.assert_array_equal(audible(windows), windows[1:2])
    np.testing.assert_array_equal(audible(windows[2:]), windows[2:])
