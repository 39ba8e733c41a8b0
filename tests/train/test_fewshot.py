from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.train.tiny import RATE, tiny_config
from train.backbone import Backbone
from train.errors import CorpusError
from train.fewshot import (
    CLASSIFIERS,
    LabelledSet,
    accuracy,
    embed_files,
    logistic_regression,
    nearest_prototype,
    read_set,
    unit_length,
)
from train.frontend import LogMel


def labelled(n_classes: int, n_clips: int, groups: list[int] | None = None) -> LabelledSet:
    labels = np.repeat(np.arange(n_classes), n_clips)
    each = np.arange(len(labels)) if groups is None else np.array(groups)
    return LabelledSet("set", [Path(f"{i}.wav") for i in range(len(labels))], labels, each)


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_classes_that_lie_apart_are_told_apart_and_noise_is_guessed(name: str) -> None:
    rng = np.random.default_rng(0)
    clips = labelled(6, 8)
    apart = np.eye(6, dtype=np.float32)[clips.labels] + 0.01 * rng.standard_normal((48, 6)).astype(np.float32)
    assert accuracy(apart, clips, CLASSIFIERS[name], n_episodes=30) == (1.0, 0.0)
    noise = rng.standard_normal((48, 200)).astype(np.float32)
    mean, half = accuracy(noise, clips, CLASSIFIERS[name], n_episodes=200)
    assert mean == pytest.approx(0.2, abs=0.05)
    assert 0.005 < half < 0.03


def test_queries_never_share_a_group_with_their_support() -> None:
    """Embeddings that know the group alone look perfect if groups are mixed, and are guessing if not."""
    n_classes, n_groups = 5, 4
    groups = [c * n_groups + g for c in range(n_classes) for g in range(n_groups) for _ in range(3)]
    clips = labelled(n_classes, n_groups * 3, groups)
    directions = np.random.default_rng(0).standard_normal((n_classes * n_groups, 64)).astype(np.float32)
    x = directions[np.array(groups)]
    mixed = LabelledSet("mixed", clips.paths, clips.labels, np.arange(len(clips.labels)))
    assert accuracy(x, clips, nearest_prototype, n_episodes=300)[0] == pytest.approx(0.2, abs=0.06)
    assert accuracy(x, mixed, nearest_prototype, n_episodes=300)[0] > 0.28


def test_a_prototype_is_the_mean_of_its_supports_and_nearness_is_the_cosine() -> None:
    support = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.2]], dtype=np.float32)
    labels = np.array([0, 0, 1])
    queries = unit_length(np.array([[3.0, 3.0], [-5.0, 0.0]], dtype=np.float32))
    assert nearest_prototype(support, labels, queries).tolist() == [0, 1]
    assert logistic_regression(support, labels, queries).tolist() == [0, 1]


def test_too_few_classes_are_an_error_that_says_how_many_there_are() -> None:
    with pytest.raises(CorpusError, match=r"set has 3 classes with clips of two groups, 5 are needed"):
        accuracy(np.ones((12, 4), np.float32), labelled(3, 4), nearest_prototype)


def test_classes_and_groups_are_read_from_the_folder(tmp_path: Path) -> None:
    for name in ("dog/a.wav", "dog/b.wav", "cat/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "groups.csv").write_text("dog/a.wav,one\ndog/b.wav,one\n")
    read = read_set(tmp_path)
    assert [path.name for path in read.paths] == ["c.wav", "a.wav", "b.wav"]
    assert read.labels.tolist() == [0, 1, 1]
    assert read.groups[1] == read.groups[2] != read.groups[0]


def test_a_files_embedding_is_the_mean_of_its_windows_and_a_short_file_is_centred_in_silence(tmp_path: Path) -> None:
    config = tiny_config()
    torch.manual_seed(0)
    backbone = Backbone(config.model, 1).eval()
    x = np.random.default_rng(0).standard_normal(7000) * 0.1
    soundfile.write(tmp_path / "long.wav", x, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", x[:1000], RATE, subtype="FLOAT")
    got = embed_files(backbone, config, [tmp_path / "long.wav", tmp_path / "short.wav"])[1]
    frontend = LogMel(config.frontend)

    def embed(window: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return backbone(frontend(torch.from_numpy(window.astype(np.float32))[None]))[1][0].numpy()

    windows = np.mean([embed(x[start : start + 4000]) for start in (0, 2000, 3000)], axis=0)
    np.testing.assert_allclose(got[0], windows, atol=2e-3)  # the level is int16's
    np.testing.assert_allclose(got[1], embed(np.pad(x[:1000], 1500)), atol=2e-3)
