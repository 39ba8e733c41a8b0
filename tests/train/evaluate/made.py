"""Sets and embeddings that tests make up."""

from pathlib import Path

import numpy as np
import soundfile

from train.evaluate.sets import Item, LabelledSet, make_set

RATE = 16_000


def a_set(n_classes: int, n_clips: int, n_groups: int = 0, name: str = "set") -> LabelledSet:
    """A set without files: classes of equal size, each with ``n_groups`` groups of its own (0: none known)."""
    items = [
        Item(Path(f"/{name}/{c:03}/{i:03}.wav"), f"{c:03}", f"{c}-{i % n_groups}" if n_groups else None)
        for c in range(n_classes)
        for i in range(n_clips)
    ]
    return make_set(name, Path(f"/{name}"), items)


def write_clip(path: Path, seed: int = 0, seconds: float = 0.3, tone: float = 0.0) -> Path:
    """A short clip of noise, or of a tone with a little."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    x = 0.05 * rng.standard_normal(n) + (0.4 * np.sin(2 * np.pi * tone * np.arange(n) / RATE) if tone else 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, RATE)
    return path


def write_tones(folder: Path, n_classes: int = 6, n_clips: int = 7) -> Path:
    """A folder of classes that differ in pitch, with two clips a group."""
    rows = []
    for c in range(n_classes):
        for i in range(n_clips):
            write_clip(folder / f"tone{c}" / f"{i}.wav", seed=100 * c + i, tone=300.0 * (c + 1))
            rows.append(f"tone{c}/{i}.wav,{c}-{i // 2}\n")
    (folder / "groups.csv").write_text("path,group\n" + "".join(rows))
    return folder
