"""onnxruntime as the device runs it: one thread, no spinning."""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from device_app.arrays import FloatArray

BATCH = 32
"""Clips a call."""


def open_session(model: bytes) -> ort.InferenceSession:
    """A session of a serialised model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def embed(session: ort.InferenceSession, clips: FloatArray, outputs: Sequence[str]) -> dict[str, FloatArray]:
    """(n, clip_samples) float32 clips to (n, size) float32 of each output."""
    parts: list[list[NDArray[np.float32]]] = [
        session.run(list(outputs), {"waveform": clips[start : start + BATCH]}) for start in range(0, len(clips), BATCH)
    ]
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(outputs)}
