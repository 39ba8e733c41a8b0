"""The first and the last layer in float and in bytes, timed: where bytes save nothing, float it is.

The weights are random and the scales made up; only the time is of interest.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from device_app.model.model_file import ModelMetadata
from export.bench.stopwatch import Timing, race
from export.graph.graph_writer import GraphWriter, subgraph
from export.model_export import read_architecture
from export.runtime import open_session


def edge_layer_bench(metadata: ModelMetadata) -> dict[str, Timing]:
    """Time the stem (convolution, pooling, bias, rounding) and one head (a matrix), in float and in bytes.

    Args:
        metadata: Of a model file, whose network's shape is taken.

    Returns:
        Milliseconds a clip of each.
    """
    model, frontend = read_architecture(metadata)
    shape = (1, frontend.n_mels, frontend.n_frames(metadata.clip_samples))
    rng = np.random.default_rng(0)
    programs: dict[str, Callable[[], object]] = {}
    for in_bytes in (False, True):
        form = "bytes" if in_bytes else "float"
        x = rng.standard_normal((1, int(np.prod(shape)))).astype(np.float32)
        programs[f"first layer in {form}"] = _program(_write_stem, x, shape, (model.width, 1, 7, 7), in_bytes)
        pooled = rng.standard_normal((1, 8 * model.width)).astype(np.float32)
        programs[f"one last layer in {form}"] = _program(
            _write_head, pooled, (8 * model.width,), (8 * model.width, model.head_dim), in_bytes
        )
    return dict(sorted(race(programs).items()))


def _program(
    write: Callable[[GraphWriter, str, str, bool], None],
    x: np.ndarray,
    shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    in_bytes: bool,
) -> Callable[[], object]:
    rng = np.random.default_rng(1)
    writer = GraphWriter()
    value = writer.node("Reshape", ["waveform", writer.constant("shape", np.array([-1, *shape]))], "x")
    if in_bytes:
        value = _rounded(writer, value, "x", 128)
        steps = writer.constant("steps", rng.integers(-63, 64, kernel_shape).astype(np.int8))
        scales = [writer.constant("scale", np.float32(0.01)), writer.constant("zero", np.int8(0))]
        kernel = writer.node("DequantizeLinear", [steps, *scales], "kernel")
    else:
        kernel = writer.constant("kernel", rng.standard_normal(kernel_shape).astype(np.float32))
    write(writer, value, kernel, in_bytes)
    model = writer.model(clip_samples=x.shape[1], outputs=[])
    session = open_session(subgraph(model, ["out"]).SerializeToString())
    return partial(session.run, None, {"waveform": x})


def _write_stem(writer: GraphWriter, x: str, kernel: str, in_bytes: bool) -> None:
    x = writer.node("Conv", [x, kernel], "conv", kernel_shape=[7, 7], strides=[2, 2], pads=[3, 3, 3, 3])
    if in_bytes:
        x = _rounded(writer, x, "conv", 0)
    x = writer.node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    if not in_bytes:
        x = writer.node("Add", [x, writer.constant("bias", np.float32(0.1))], "shifted")
    _rounded(writer, x, "pooled", 0, "out")


def _write_head(writer: GraphWriter, x: str, kernel: str, in_bytes: bool) -> None:
    writer.node("MatMul", [x, kernel], "out")


def _rounded(writer: GraphWriter, x: str, name: str, zero_point: int, out: str | None = None) -> str:
    scale = writer.constant(f"{name}.scale", np.float32(0.05))
    zero = writer.constant(f"{name}.zero", np.uint8(zero_point))
    steps = writer.node("QuantizeLinear", [x, scale, zero], f"{name}.quantised")
    return writer.node("DequantizeLinear", [steps, scale, zero], out or f"{name}.dequantised")
