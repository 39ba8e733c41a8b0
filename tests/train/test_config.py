from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.tiny import tiny_config
from train.__main__ import DEFAULT_ADAPTATION
from train.config import Config, config_from_dict, load_config, read_toml
from train.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


CHANGES = CONFIGS / "ablations.toml"
"""Not a config but changes of one; tests/train/test_ablations.py loads it."""


@pytest.mark.parametrize("path", sorted({*CONFIGS.rglob("*.toml")} - {CHANGES}), ids=lambda path: path.stem)
def test_every_config_in_the_tree_loads(path: Path) -> None:
    config = load_config(path)
    assert config_from_dict(config.to_dict()) == config


def test_the_papers_config_says_what_the_paper_says() -> None:
    config = load_config(CONFIGS / "paper.toml")
    front, model, loss, optim, run = config.frontend, config.model, config.loss, config.optim, config.run
    assert (front.sample_rate, front.n_fft, front.hop_length, front.n_mels, front.n_channels) == (
        16_000,
        1024,
        512,
        128,
        3,
    )
    assert front.n_frames(config.clip_samples) == 313
    assert (model.variant, model.trunk, model.width, model.head_dim) == ("parallel", "published", 64, 500)
    assert (loss.contrastive, loss.temperature, loss.mlap_weight, loss.mlap_views) == ("simclr", 0.07, 1.0, 2)
    assert (optim.lr, optim.weight_decay, run.batch_size, run.max_steps) == (5e-5, 1e-6, 100, 50_000)
    assert config.augment.pitch_semitones == 15
    assert config.augment.snr_db == (3, 30)
    assert config.augment.stretch_rate == (0.5, 1.5)
    assert config.augment.mask_fraction == 0.125
    assert not config.distil.teachers


def test_adapting_without_a_config_does_what_its_config_says() -> None:
    assert read_toml(CONFIGS / "adapt.toml") == DEFAULT_ADAPTATION


def test_the_defaults_are_the_papers_loss_and_augmentations() -> None:
    assert Config().loss.mlap_weight == 1.0
    assert Config().augment.n_min == 1
    assert Config().augment.n_max == 7
    assert Config().model.tasks == ("invariant", "sensitive")


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"model": {"widht": 32}}, "unknown key 'model.widht': did you mean model.width?"),
        ({"modle": {"width": 32}}, "unknown key 'modle': did you mean model?"),
        ({"optim": {"learning_rate": 1}}, "unknown key 'optim.learning_rate'"),
        ({"model": {"width": "wide"}}, "model.width='wide' must be of type int"),
        ({"model": {"width": True}}, "model.width=True must be of type int"),
        ({"model": {"width": 0}}, "model.width=0 must be at least 1"),
        ({"model": 3}, r"model=3 must be a table: write \[model\]"),
        ({"model": {"variant": "serial"}}, "model.variant='serial' must be one of 'none', 'split', 'bn'"),
        ({"model": {"tasks": ["invariant"]}}, "model.variant='parallel' divides the network .* has one: add a task"),
        ({"model": {"tasks": []}}, "model.tasks is empty"),
        ({"model": {"tasks": ["invariant", "invariant"]}}, "names a task twice"),
        ({"model": {"tasks": ["invariant", "equivariant"]}}, "for which there is no loss: choose invariant"),
        ({"model": {"tasks": ["invariant", "distilled"]}}, "must go together"),
        ({"run": {"batch_size": 1}}, "leaves one clip at a time, which has nothing to be told from"),
        ({"run": {"batch_size": 4, "accumulate": 4}}, "leaves one clip at a time"),
        ({"run": {"batch_size": 5, "accumulate": 2}}, "must be a multiple of run.accumulate=2"),
        ({"run": {"precision": "int8"}}, "run.precision='int8' must be one of 'fp32', 'bf16', 'fp16'"),
        ({"data": {"clip_s": 0.03}}, "480 samples, shorter than one window of the front-end .640 samples."),
        ({"frontend": {"centred": True}, "data": {"clip_s": 0.05}}, "800 samples, shorter than .*1024 samples"),
        ({"frontend": {"f_max": 9000}}, "0 <= f_min < f_max <= 8000.0 Hz, half the sample rate"),
        ({"frontend": {"win_length": 2048}}, "frontend.win_length=2048 must not exceed frontend.n_fft=1024"),
        ({"frontend": {"log_floor": 0}}, "frontend.log_floor=0.0 must be positive"),
        ({"augment": {"snr_db": [30, 3]}}, "must be .lowest, highest."),
        ({"augment": {"snr_db": [3]}}, "must have 2 entries"),
        ({"augment": {"n_min": 0}}, "1 <= n_min <= n_max <= 7"),
        ({"augment": {"fade_fraction": 0.6}}, r"augment.fade_fraction=0.6 must lie in \[0, 0.5\]"),
        ({"loss": {"temperature": 0}}, "loss.temperature=0.0 must be positive"),
        ({"loss": {"mlap_views": 3}}, "loss.mlap_views=3 must be one of 1, 2"),
        ({"optim": {"lr": float("nan")}}, "optim.lr=nan must be finite"),
        ({"optim": {"betas": [0.9, 1.0]}}, "optim.betas=.0.9, 1.0. must lie in"),
        ({"distil": {"teachers": ["mn04"], "teacher_weights": []}}, "must have one entry for each"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_dict(settings_)


def test_a_file_that_is_missing_or_no_toml_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the config .*nothing.toml .No such file or directory."):
        load_config(tmp_path / "nothing.toml")
    (tmp_path / "bad.toml").write_text("[model\nwidth = 3")
    with pytest.raises(ConfigError, match=r"bad.toml is not valid TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "typo.toml").write_text("[model]\nvariants = 'bn'")
    with pytest.raises(ConfigError, match=r"typo.toml: unknown key 'model.variants': did you mean model.variant\?"):
        load_config(tmp_path / "typo.toml")


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 512), lr=st.floats(1e-7, 1.0), seed=st.integers(0, 2**31))
def test_a_config_survives_being_written_and_read(width: int, lr: float, seed: int) -> None:
    config = config_from_dict({"model": {"width": width}, "optim": {"lr": lr}, "run": {"seed": seed}})
    again = config_from_dict(config.to_dict())
    assert again == config
    assert again.sha256() == config.sha256()


def test_a_difference_between_configs_is_named() -> None:
    one, two = tiny_config(), tiny_config(optim={"lr": 0.5})
    assert one.difference_from(one) is None
    assert two.difference_from(one) == "optim.lr=0.001, not 0.5"
    assert one.sha256() != two.sha256()
