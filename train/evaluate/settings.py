"""What is evaluated, and the probes that are not of this package."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field

from train.errors import EvaluationError
from train.evaluate.encoders import CONTROLS
from train.evaluate.probing.probes import PROBES, Probe, TaskScores
from train.evaluate.sets import LabelledSet
from train.evaluate.tasks import Tasks, TaskSpec

PlugIn = Callable[[str, LabelledSet, Tasks], TaskScores]
"""A probe that works from files, not embeddings: the subject as on the command line, a set, and tasks on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is evaluated."""

    k_shots: tuple[int, ...] = (1, 5)
    tasks: TaskSpec = field(default_factory=TaskSpec)
    """All but ``k_shot``, which is each of ``k_shots`` in turn."""
    skip_small: bool = False
    """Whether classes that are too small are left out, instead of refusing the set."""
    probes: tuple[str, ...] = tuple(PROBES)
    """Names, or MODULE:FUNCTION of a plug-in; the first one gives the main figure."""
    plug_in_tasks: int = 200
    """Of the tasks, for plug-ins: they fit task by task."""
    robustness_tasks: int = 0
    """Of the tasks, under each condition; 0 leaves robustness out."""
    invariance: bool = False
    controls: tuple[str, ...] = ("log-mel-statistics", "mfcc-statistics")

    def __post_init__(self) -> None:
        if not self.k_shots or not self.probes or self.probes[0] not in PROBES:
            raise EvaluationError(f"nothing to evaluate: name a number of shots and, first, one of {', '.join(PROBES)}")
        for name in self.probes:
            if name not in PROBES and ":" not in name:
                raise EvaluationError(f"unknown probe {name!r}: choose of {', '.join(PROBES)}, or name MODULE:FUNCTION")
        for name in self.controls:
            if name not in CONTROLS:
                raise EvaluationError(f"unknown control {name!r}: choose of {', '.join(CONTROLS)}")

    @property
    def batched(self) -> dict[str, Probe]:
        """Those probes that work from embeddings."""
        return {name: PROBES[name] for name in self.probes if name in PROBES}


def load_plug_in(name: str) -> PlugIn:
    """The function of MODULE:FUNCTION.

    Raises:
        EvaluationError: If there is no such thing.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as err:
        raise EvaluationError(f"there is no probe {name!r} ({err}): name MODULE:FUNCTION that can be imported") from err
