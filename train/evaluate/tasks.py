"""Few-shot tasks: drawn once from a seed, stored, and the same for everything that is compared.

Shapes: T tasks, W = n_way, K = k_shot, Q = n_queries, U = n_unknown.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from train.errors import CorpusError, EvaluationError
from train.evaluate.sets import IntArray, LabelledSet
from train.files import read_npz, save_npz

Apart = Literal["class", "task", "mixed"]

_DRAWS = 50
"""Attempts at one task's choice of groups before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What tasks are drawn."""

    n_way: int = 5
    k_shot: int = 1
    n_queries: int = 10
    """Of each class; fewer where a class has fewer clips in groups of their own."""
    n_tasks: int = 10_000
    n_unknown: int = 10
    """Clips of classes outside the task, for open-set figures; none where the set has no other classes."""
    seed: int = 0
    apart: Apart = "class"
    """Whose groups a query must not share: its class's support's, the whole task's, or (``mixed``) nobody's."""

    def __post_init__(self) -> None:
        for name, least in (("n_way", 2), ("k_shot", 1), ("n_queries", 1), ("n_tasks", 1), ("n_unknown", 0)):
            if getattr(self, name) < least:
                raise EvaluationError(f"{name}={getattr(self, name)} must be at least {least}")


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks on one set. Clips are indices into it; -1 stands where there is none."""

    spec: TaskSpec
    classes: IntArray
    """(T, W)."""
    support: IntArray
    """(T, W, K)."""
    queries: IntArray
    """(T, W, Q), those that are there first."""
    unknown: IntArray
    """(T, U) clips of other classes; U = 0 where the set has none."""
    left_out: tuple[str, ...] = ()
    """Classes that were too small."""

    def sha256(self) -> str:
        """Hash of all that was drawn."""
        digest = hashlib.sha256()
        for array in (self.classes, self.support, self.queries, self.unknown):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array.astype("<i8")).tobytes())
        return digest.hexdigest()

    def first(self, n_tasks: int) -> "Tasks":
        """The first tasks of these."""
        some = slice(n_tasks)
        return Tasks(
            self.spec, self.classes[some], self.support[some], self.queries[some], self.unknown[some], self.left_out
        )


def stored_tasks(labelled: LabelledSet, spec: TaskSpec, folder: Path, *, skip_small: bool = False) -> Tasks:
    """The tasks of a set: read from their file in ``folder``, or drawn and written there.

    Raises:
        CorpusError: As :func:`sample_tasks`.
        EvaluationError: If the file is damaged.
    """
    about = json.dumps({"set": labelled.sha256(), "skip_small": skip_small, **asdict(spec)}, sort_keys=True)
    key = hashlib.sha256(about.encode()).hexdigest()[:12]
    path = folder / f"{labelled.name.replace(' ', '-')}-{spec.n_way}way-{spec.k_shot}shot-{key}.npz"
    if not path.is_file():
        tasks = sample_tasks(labelled, spec, skip_small=skip_small)
        arrays = {
            "classes": tasks.classes,
            "support": tasks.support,
            "queries": tasks.queries,
            "unknown": tasks.unknown,
        }
        save_npz(path, **arrays, left_out=np.array(tasks.left_out, dtype=np.str_), sha256=np.array(tasks.sha256()))
        return tasks
    try:
        stored = read_npz(path)
        left_out = tuple(stored["left_out"].tolist())
        tasks = Tasks(spec, stored["classes"], stored["support"], stored["queries"], stored["unknown"], left_out)
        whole = str(stored["sha256"]) == tasks.sha256()
    except (OSError, ValueError, KeyError) as err:
        raise EvaluationError(f"the task file {path} is damaged ({err}): delete it, it will be drawn again") from err
    if not whole:
        raise EvaluationError(f"the task file {path} is damaged (its hash differs): delete it, it will be drawn again")
    return tasks


def sample_tasks(labelled: LabelledSet, spec: TaskSpec, *, skip_small: bool = False) -> Tasks:
    """Draw tasks: classes evenly without replacement, then clips evenly without replacement.

    Args:
        labelled: The set.
        spec: What to draw.
        skip_small: Leave classes out that are too small, instead of refusing the set.

    Raises:
        CorpusError: If a class has too few clips or groups, or the set too few classes.
    """
    members = [np.flatnonzero(labelled.labels == c) for c in range(len(labelled.classes))]
    faults = {c: _fault(labelled, m, spec) for c, m in enumerate(members)}
    usable = np.array([c for c, fault in faults.items() if not fault], dtype=np.int64)
    left_out = [labelled.classes[c] for c, fault in faults.items() if fault]
    if left_out and not skip_small:
        first = next(c for c, fault in faults.items() if fault)
        more = f", and {len(left_out) - 1} more classes fall short" if len(left_out) > 1 else ""
        raise CorpusError(
            f"{labelled.name}: class {labelled.classes[first]!r} {faults[first]}{more}: add clips, take fewer shots "
            f"with --k-shots, or leave such classes out with --skip-small-classes"
        )
    if len(usable) < spec.n_way:
        raise CorpusError(
            f"{labelled.name} has {len(usable)} classes with enough clips for {spec.k_shot}-shot tasks, {spec.n_way} "
            f"are needed ({', '.join(left_out[:5]) or 'none'} left out): lower --n-way, or add clips"
        )
    rng = np.random.default_rng(spec.seed)
    classes = np.empty((spec.n_tasks, spec.n_way), dtype=np.int64)
    support = np.empty((spec.n_tasks, spec.n_way, spec.k_shot), dtype=np.int64)
    queries = np.full((spec.n_tasks, spec.n_way, spec.n_queries), -1, dtype=np.int64)
    for t in range(spec.n_tasks):
        classes[t] = rng.permutation(usable)[: spec.n_way]
        drawn = _draw(labelled, [members[c] for c in classes[t]], spec, rng)
        for w, (chosen, rest) in enumerate(drawn):
            support[t, w] = chosen
            queries[t, w, : len(rest[: spec.n_queries])] = rest[: spec.n_queries]
    unknown = _outside(members, usable, classes, spec.n_unknown if len(usable) > spec.n_way else 0, rng)
    return Tasks(spec, classes, support, queries, unknown, tuple(left_out))


def _fault(labelled: LabelledSet, members: IntArray, spec: TaskSpec) -> str:
    """Why a class cannot give the support and one query; empty if it can."""
    _, sizes = np.unique(labelled.groups[members], return_counts=True)
    if len(members) <= spec.k_shot:
        return f"has {len(members)} clips, {spec.k_shot}-shot tasks need {spec.k_shot + 1}"
    if spec.apart == "mixed":
        return ""
    if len(sizes) == 1:
        return f"has all its {len(members)} clips in one group, so that no query is independent of its support"
    if len(members) - sizes.min() < spec.k_shot:
        return f"has {len(members)} clips in {len(sizes)} groups, too few for {spec.k_shot} shots and a query apart"
    return ""


def _draw(
    labelled: LabelledSet, members: list[IntArray], spec: TaskSpec, rng: np.random.Generator
) -> list[tuple[IntArray, IntArray]]:
    """Support and possible queries of each class of one task."""
    groups, k = labelled.groups, spec.k_shot
    if spec.apart == "task":
        return _draw_apart(labelled, members, spec, rng)
    drawn = []
    for own in members:
        order = rng.permutation(own)
        chosen, rest = order[:k], order[k:]
        if spec.apart == "class":
            rest = rest[_apart(groups[rest], groups[chosen])]
            if not len(rest):  # the support took all groups: keep one for queries
                chosen, rest = _draw_apart(labelled, [own], spec, rng)[0]
        drawn.append((chosen, rest))
    return drawn


def _draw_apart(
    labelled: LabelledSet, members: list[IntArray], spec: TaskSpec, rng: np.random.Generator
) -> list[tuple[IntArray, IntArray]]:
    """As :func:`_draw`, no query in a group of any of these supports: a random few groups are kept for queries."""
    groups, k = labelled.groups, spec.k_shot
    present = np.unique(np.concatenate([groups[own] for own in members]))
    for _ in range(_DRAWS):
        kept: list[int] = []
        for group in rng.permutation(present).tolist():
            if all(np.isin(groups[own], kept).any() for own in members):
                break
            kept.append(group)
        pools = [own[~np.isin(groups[own], kept)] for own in members]
        if any(len(pool) < k for pool in pools):
            continue
        supports = [rng.permutation(pool)[:k] for pool in pools]
        taken = groups[np.concatenate(supports)]
        rests = [rng.permutation(own[_apart(groups[own], taken)]) for own in members]
        return list(zip(supports, rests, strict=True))
    names = ", ".join(labelled.classes[int(labelled.labels[own[0]])] for own in members)
    raise CorpusError(
        f"{labelled.name}: {k} shots of the classes {names} cannot be had so that a group is left for queries: "
        f"take fewer shots with --k-shots, or keep groups apart within classes only (--apart class)"
    )


def _apart(groups: IntArray, taken: IntArray) -> npt.NDArray[np.bool_]:
    """Which of ``groups`` are none of ``taken``."""
    return ~(groups[:, None] == taken[None, :]).any(axis=1)


def _outside(
    members: list[IntArray], usable: IntArray, classes: IntArray, n_unknown: int, rng: np.random.Generator
) -> IntArray:
    """(T, n_unknown) clips of classes outside each task, each class as likely as any other."""
    shape = (len(classes), n_unknown)
    others = rng.choice(usable, shape)
    while (inside := (others[:, :, None] == classes[:, None, :]).any(axis=2)).any():
        others[inside] = rng.choice(usable, int(inside.sum()))
    sizes = np.array([len(own) for own in members])
    first = np.cumsum(sizes) - sizes
    place = (rng.random(shape) * sizes[others]).astype(np.int64)
    return np.concatenate(members)[first[others] + place]
