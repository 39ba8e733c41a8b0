"""The device on another processor: an arm64 userland under emulation runs the model file, and its answers are compared.

qemu computes what a Cortex-A72 (Raspberry Pi 4) does, so that the numbers are real, which the times are not.
The userland is unpacked, never started as a system: Debian's Python and the wheels that a Raspberry Pi would install.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from device_app.arrays import FloatArray
from device_app.demo.stream import bundled_clips
from device_app.model.embedder import Embedder, load_embedder
from export.errors import ExportError
from export.proof.decisions import Lesson, make_lesson
from export.proof.embedding_cosine import row_cosines
from export.proof.few_shot_sets import side_by_side

_log = logging.getLogger(__name__)

SUITE, PYTHON = "bookworm", "3.11"
"""Debian's release and its Python."""
WHEELS = ("onnxruntime==1.19.2", "numpy")
"""The earliest onnxruntime that the device supports."""
_PACKAGES = f"python3-minimal,libpython{PYTHON}-stdlib,libstdc++6"
_QEMU = "qemu-aarch64-static"
_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")

_PROGRAM = """
import json, platform, sys
import numpy as np
import onnxruntime
from pathlib import Path
from device_app.model.embedder import load_embedder
embedder = load_embedder(Path(sys.argv[1]))
np.savez(sys.argv[3], **embedder.embed_heads(np.load(sys.argv[2], allow_pickle=False)))
print(json.dumps({"architecture": platform.machine(), "onnxruntime": onnxruntime.__version__,
                  "numpy": np.__version__, "golden_error": embedder.golden_error()}))
"""


def compare(model: Path, folder: Path) -> dict[str, Any]:
    """Run a model file under emulation and compare it with this machine.

    Args:
        model: Made by ``python -m export``.
        folder: Where the userland is, or is made (400 MB).

    Returns:
        The largest difference to the golden vectors, and to this machine's embeddings of further clips; and on how
        many windows of the bundled demo's recordings the two decide alike, with sounds that were taught here.

    Raises:
        ExportError: If the emulator or the userland cannot be had.
    """
    embedder = load_embedder(model)
    root, site = _userland(folder)
    lesson = _demo_lesson(embedder)
    n_teaching = len(lesson.windows) - lesson.n_heard  # the head is fitted here: a profile is taken along
    teaching = embedder.embed(lesson.windows[:n_teaching])
    clips = np.concatenate([variations(embedder), lesson.windows[n_teaching:]])
    np.save(folder / "clips.npy", clips, allow_pickle=False)
    program = [_QEMU, "-cpu", "cortex-a72", "-L", str(root), str(root / "usr/bin" / f"python{PYTHON}"), "-c", _PROGRAM]
    checkout = Path(__file__).parents[2]
    done = subprocess.run(
        [*program, str(model.resolve()), str(folder / "clips.npy"), str(folder / "embeddings.npz")],
        env={**os.environ, "PYTHONPATH": f"{site}:{checkout}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ExportError(
            f"the emulated device failed: {done.stderr.strip().splitlines()[-1]}; delete {folder}, try again"
        )
    here = embedder.embed_heads(clips)
    with np.load(folder / "embeddings.npz", allow_pickle=False) as stored:
        there = {name: stored[name] for name in here}
    decisions = []
    for heads in (here, there):
        heard = side_by_side(heads)[-lesson.n_heard :] / np.float32(np.sqrt(len(heads)))
        embeddings = np.concatenate([teaching, heard])
        decisions.append(lesson.decide(embeddings, embedder))
    return {
        "model_id": embedder.metadata.model_id,
        **json.loads(done.stdout),
        "golden_error_here": embedder.golden_error(),
        "n_clips": len(clips),
        "largest_difference": max(float(np.abs(there[name] - here[name]).max()) for name in here),
        "least_cosine": min(float(row_cosines(there[name], here[name]).min()) for name in here),
        "least_mean_cosine": min(float(row_cosines(there[name], here[name]).mean()) for name in here),
        "n_decisions": lesson.n_heard,
        "n_recognised": int(np.sum(decisions[0] >= 0)),
        "n_decided_alike": int(np.sum(decisions[0] == decisions[1])),
    }


def _demo_lesson(embedder: Embedder) -> Lesson:
    """The sounds that the demo teaches, and one recording of each that it lets the device hear."""
    heard = [paths[:1] for part in ("stream", "untaught") for paths in bundled_clips(part).values()]
    return make_lesson(
        [(sound, path) for sound, paths in bundled_clips("enrol").items() for path in paths],
        [path for paths in heard for path in paths],
        sample_rate=embedder.metadata.sample_rate,
        clip_samples=embedder.metadata.clip_samples,
        seed=0,
    )


def variations(embedder: Embedder, n_clips: int = 24) -> FloatArray:
    """The golden clip at other places, levels and in noise: (n_clips, clip_samples) float32; the last is silence."""
    rng = np.random.default_rng(7)
    clip = embedder.golden.waveform.astype(np.float32) / 32768.0
    clips = [
        np.roll(clip, int(rng.integers(len(clip)))) * 10 ** rng.uniform(-2, 0) + 10 ** rng.uniform(-4, -1.5) * noise
        for noise in rng.standard_normal((n_clips - 1, len(clip)))
    ]
    return np.stack([*clips, np.zeros_like(clip)]).astype(np.float32)


def _userland(folder: Path) -> tuple[Path, Path]:
    """The arm64 userland and its Python packages, made if they are not there."""
    root, site = (folder / "root").resolve(), (folder / "site").resolve()
    for tool, package in ((_QEMU, "qemu-user-static"), ("debootstrap", "debootstrap"), ("dpkg-deb", "dpkg")):
        if shutil.which(tool) is None:
            raise ExportError(f"{tool} is missing: install the Debian package {package}")
    if not (folder / "complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        root.mkdir(parents=True)
        _log.info("unpacking an arm64 userland into %s", folder)
        _run(
            "debootstrap", "--arch=arm64", "--variant=minbase", "--foreign", f"--include={_PACKAGES}", SUITE, str(root)
        )
        for package_file in sorted((root / "var/cache/apt/archives").glob("*.deb")):
            _run("dpkg-deb", "-x", str(package_file), str(root))
        platforms = [argument for name in _PLATFORMS for argument in ("--platform", name)]
        _run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(site)),
            *(*platforms, "--python-version", PYTHON, "--implementation", "cp", "--only-binary=:all:", *WHEELS),
        )
        (folder / "complete").touch()
    return root, site


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise ExportError(f"{command[0]} failed: {lines[-1]}; debootstrap needs root and both need a network")
