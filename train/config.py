"""Everything that changes a result, as frozen dataclasses, read from TOML by one loader.

Sections of a file carry the names of the fields of :class:`Config`. A key that is left out keeps its default.
"""

import dataclasses
import difflib
import hashlib
import json
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from train.errors import ConfigError
from train.sections import (
    DISTILLED,
    INVARIANT,
    SENSITIVE,
    SPEAKER,
    TASKS,
    TAUGHT,
    AugmentConfig,
    Channels,
    Contrastive,
    DataConfig,
    DistilConfig,
    FrontendConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    Precision,
    RunConfig,
    Trunk,
    Variant,
    require,
)

__all__ = [
    "DISTILLED",
    "INVARIANT",
    "SENSITIVE",
    "SPEAKER",
    "TASKS",
    "TAUGHT",
    "AugmentConfig",
    "Channels",
    "Config",
    "Contrastive",
    "DataConfig",
    "DistilConfig",
    "FrontendConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "Precision",
    "RunConfig",
    "Trunk",
    "Variant",
    "config_from_dict",
    "load_config",
    "read_toml",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One training run."""

    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        least = self.frontend.n_fft if self.frontend.centred else self.frontend.win_length
        require(
            self.clip_samples >= least,
            f"data.clip_s={self.data.clip_s} is {self.clip_samples} samples, shorter than one window of the front-end "
            f"({least} samples): lengthen the clip or lower frontend.n_fft and frontend.win_length",
        )
        unknown = [name for name in self.model.tasks if name not in TASKS]
        require(not unknown, f"model.tasks names {unknown}, for which there is no loss: choose {', '.join(TASKS)}")
        untaught = [task for task in self.model.tasks if task in TAUGHT and task not in self.distil.branches]
        homeless = sorted({branch for branch in self.distil.branches if branch not in self.model.tasks})
        require(
            not untaught and not homeless,
            f"model.tasks={list(self.model.tasks)} and distil.teachers={list(self.distil.teachers)} must go together: "
            f"{', '.join([*untaught, *homeless])} needs both a teacher (distil.teacher_branches) and a place in "
            f"model.tasks",
        )
        require(
            INVARIANT not in self.model.tasks or self.run.batch_size // self.run.accumulate >= 2,
            f"run.batch_size={self.run.batch_size} with run.accumulate={self.run.accumulate} leaves one clip at a "
            f"time, which has nothing to be told from: use at least 2 clips a part",
        )

    @property
    def clip_samples(self) -> int:
        """Samples of a clip."""
        return round(self.data.clip_s * self.frontend.sample_rate)

    @property
    def learns_from_views(self) -> bool:
        """Whether any task needs augmented views; the teachers' does not."""
        return any(task not in TAUGHT for task in self.model.tasks)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as in a TOML file and in a checkpoint."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def difference_from(self, other: "Config") -> str | None:
        """The first setting that differs, in words, ``other``'s value first; None if all are alike."""
        mine, theirs = self.to_dict(), other.to_dict()
        for section, settings in theirs.items():
            for key, value in settings.items():
                if mine[section][key] != value:
                    return f"{section}.{key}={value!r}, not {mine[section][key]!r}"
        return None

    def sha256(self) -> str:
        """Hash of all settings, defaults included."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def load_config(path: str | Path) -> Config:
    """Read a TOML file.

    Raises:
        ConfigError: If the file is missing, not TOML, or holds an unknown key or a wrong value.
    """
    raw = read_toml(Path(path))
    try:
        return config_from_dict(raw)
    except ConfigError as err:
        raise ConfigError(f"{path}: {err}") from err


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, not checked.

    Raises:
        ConfigError: If the file is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"cannot read the config {path} ({err.strerror}): pass an existing TOML file") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} is not valid TOML ({err}): correct it") from err


def config_from_dict(raw: dict[str, Any]) -> Config:
    """Check nested plain values and make them a :class:`Config`.

    Raises:
        ConfigError: If a key is unknown, or a value of the wrong type or out of range.
    """
    return _section(Config, raw, "")


def _section(cls: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}={raw!r} must be a table: write [{where}]")
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = f"{where}.{key}" if where else key
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.0)
            raise ConfigError(f"unknown key {name!r}: did you mean {f'{where}.' if where else ''}{near[0]}?")
        hint = hints[key]
        values[key] = _section(hint, value, name) if dataclasses.is_dataclass(hint) else _value(hint, value, name)
    return cls(**values)


def _value(hint: Any, value: Any, name: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args or isinstance(value, bool) != isinstance(args[0], bool):
            raise ConfigError(f"{name}={value!r} must be one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name}={value!r} must be a list")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise ConfigError(f"{name}={list(value)} must have {len(args)} entries")
        return tuple(_value(args[0], entry, f"{name}[{i}]") for i, entry in enumerate(value))
    if isinstance(hint, types.UnionType):
        raise TypeError(f"{name}: unions are not supported in a config")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name}={value!r} must be of type {hint.__name__}")
    if isinstance(value, float) and not value - value == 0.0:
        raise ConfigError(f"{name}={value!r} must be finite")
    return value
