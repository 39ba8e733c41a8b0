"""The sums of an int8 model are exact on every processor, and its weights are rounded well and stored once.

Without VNNI, x86 adds pairs of products of a byte and a weight in 16 bits that saturate (``vpmaddubsw``); weights of
7 bits cannot reach that. The tests run on whatever this machine has, against sums of whole numbers in numpy.
"""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graph.folding import FoldedConv, fold
from export.graph.graph_writer import GraphWriter
from export.graph.kernel_storage import common_taps, kernel_scale, write_kernel
from export.graph.network_graph import NetworkWriter, Quantisation
from export.quantise.quantisation import WEIGHT_MAX, ActivationScale, choose_scales, quantise_kernel
from export.quantise.weight_rounding import convs_in_order, round_site, round_weights
from export.runtime import open_session
from tests.export.networks import random_backbone
from tests.export.test_folding import clips
from train.config import FrontendConfig, Variant

FRONTEND = FrontendConfig(n_fft=512, win_length=400, hop_length=320, n_mels=16)
N_SAMPLES = 4000


def scales_of(writer: NetworkWriter) -> dict[str, ActivationScale]:
    """A scale for each activation, from noise."""
    model = writer.write(FRONTEND, N_SAMPLES, None)
    for value in writer.activations.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None))
    session = open_session(model.SerializeToString())
    names = list(writer.activations)
    values = [writer.activations[name] for name in names]
    scales = choose_scales(lambda batch: session.run(values, {"waveform": batch}), names, [clips(8, N_SAMPLES, 1)])
    return scales | {"stem.same": scales["stem"]}


def conv_model(weights: np.ndarray, n_channels: int) -> bytes:
    """Bytes (1, C, 6, 6) to 32-bit sums, scaled so that a byte of the output is 1/64 of the range."""
    writer = GraphWriter()
    one, zero = writer.constant("one", np.float32(1.0)), writer.constant("zero", np.uint8(0))
    x = writer.node("DequantizeLinear", ["x", one, zero], "x.float")
    steps = writer.constant("steps", weights)
    weight = writer.node("DequantizeLinear", [steps, one, writer.constant("no", np.int8(0))], "weight")
    y = writer.node("Conv", [x, weight], "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    top = writer.constant("top", np.float32(9 * n_channels * 255 * 127 / 255))
    steps = writer.node("QuantizeLinear", [y, top, zero], "y.bytes")
    writer.node("DequantizeLinear", [steps, top, zero], "out")
    graph = onnx.helper.make_graph(
        writer._nodes,
        "conv",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, [1, n_channels, 6, 6])],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)],
        list(writer._constants.values()),
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def integer_sums(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("bcftij,dcij->bdft", windows, weights.astype(np.int64))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), n_channels=st.sampled_from([4, 16, 33, 64]), loud=st.booleans())
def test_sums_of_the_largest_bytes_and_weights_do_not_saturate(seed: int, n_channels: int, loud: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (1, n_channels, 6, 6)).astype(np.uint8)
    weights = rng.integers(-WEIGHT_MAX, WEIGHT_MAX + 1, (8, n_channels, 3, 3)).astype(np.int8)
    if loud:
        x[:] = 255
        weights[:] = WEIGHT_MAX
        weights[0] = -WEIGHT_MAX
    result = open_session(conv_model(weights, n_channels)).run(None, {"x": x})[0]
    top = np.float32(9 * n_channels * 127)
    expected = np.clip(np.rint(integer_sums(x, weights) / top), 0, 255) * top
    np.testing.assert_array_equal(result, expected.astype(np.float32))


def test_two_products_fit_in_sixteen_bits_with_these_weights_and_not_with_one_bit_more() -> None:
    assert 2 * 255 * WEIGHT_MAX <= 2**15 - 1 < 2 * 255 * 127


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_a_kernel_is_rounded_to_within_half_a_step_in_seven_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((5, 3, 3, 3)) * 10 ** rng.uniform(-4, 2, (5, 1, 1, 1))
    scale = np.abs(kernel).max(axis=(1, 2, 3)) / WEIGHT_MAX
    steps = quantise_kernel(kernel, scale)
    assert np.abs(steps).max() == WEIGHT_MAX
    assert (np.abs(steps * scale[:, None, None, None] - kernel) <= 0.5001 * scale[:, None, None, None]).all()


def int8_network(variant: Variant, seed: int) -> onnx.ModelProto:
    network = fold(random_backbone(variant, width=8, seed=seed))
    quantisation = Quantisation(activations=scales_of(NetworkWriter(network)))
    quantisation = round_weights(network, quantisation, FRONTEND, clips(24, N_SAMPLES, 2), np.random.default_rng(0))
    return NetworkWriter(network, quantisation).write(FRONTEND, N_SAMPLES, None)


@pytest.mark.parametrize("variant", ["none", "split", "bn", "series", "parallel"])
def test_integer_kernels_compute_what_the_graph_says_node_by_node_in_float(variant: Variant) -> None:
    model = int8_network(variant, seed=1)
    x = clips(4, N_SAMPLES, 3)
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # nothing is fused
    plain.log_severity_level = 3
    content = model.SerializeToString()
    expected = ort.InferenceSession(content, plain, providers=["CPUExecutionProvider"]).run(None, {"waveform": x})
    for value, reference in zip(open_session(content).run(None, {"waveform": x}), expected, strict=True):
        cosine = np.sum(value * reference, axis=1) / np.linalg.norm(value, axis=1) / np.linalg.norm(reference, axis=1)
        assert cosine.min() > 0.9995  # a byte at a border may fall to the other side


@pytest.mark.parametrize("variant", ["none", "split", "bn", "series", "parallel"])
def test_kernels_that_tasks_have_in_common_are_stored_once_and_nothing_changes(variant: Variant) -> None:
    network = fold(random_backbone(variant, width=8, seed=5))
    quantisation = Quantisation(activations=scales_of(NetworkWriter(network)))
    quantisation = round_weights(network, quantisation, FRONTEND, clips(24, N_SAMPLES, 2), np.random.default_rng(0))
    x = clips(3, N_SAMPLES, 4)
    results, sizes = [], []
    for share in (True, False):
        model = NetworkWriter(network, quantisation, share_weights=share).write(FRONTEND, N_SAMPLES, None)
        sizes.append(sum(len(tensor.raw_data) for tensor in model.graph.initializer if "weight" in tensor.name))
        names = [output.name for output in model.graph.output]
        results.append(open_session(model.SerializeToString()).run(names, {"waveform": x}))
    if variant in ("bn", "parallel"):
        assert sizes[0] < (0.62 if variant == "bn" else 0.7) * sizes[1]
        for shared, apart in zip(*results, strict=True):
            np.testing.assert_array_equal(shared, apart)
    else:
        assert sizes[0] == sizes[1]


def test_rounding_a_network_for_its_inputs_leaves_less_error_than_the_nearest_steps() -> None:
    network = fold(random_backbone("parallel", width=8, seed=6))
    nearest = Quantisation(activations=scales_of(NetworkWriter(network)))
    chosen = round_weights(network, nearest, FRONTEND, clips(64, N_SAMPLES, 2), np.random.default_rng(0))
    x = clips(48, N_SAMPLES, 9)
    names = [head.name for head in network.heads]

    def run(quantisation: Quantisation | None) -> list[np.ndarray]:
        model = NetworkWriter(network, quantisation).write(FRONTEND, N_SAMPLES, None)
        return open_session(model.SerializeToString()).run(names, {"waveform": x})

    exact, before, after = run(None), run(nearest), run(chosen)
    for reference, first, second in zip(exact, before, after, strict=True):
        assert np.square(second - reference).mean() < 0.9 * np.square(first - reference).mean()
    assert (
        set(chosen.kernels) == set(chosen.bias_shifts) == {name for convs in convs_in_order(network) for name in convs}
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), n_tasks=st.integers(1, 3), shared=st.sampled_from(["all", "centre", "nothing"]))
def test_rounding_for_correlated_inputs_costs_less_than_the_nearest_steps_and_keeps_common_taps_common(
    seed: int, n_tasks: int, shared: str
) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((6, 4, 3, 3))
    site = []
    for _ in range(n_tasks):
        own = kernel.copy()
        if shared == "centre":
            own[:, :, 1, 1] += rng.standard_normal((6, 4))
        elif shared == "nothing":
            own = rng.standard_normal(kernel.shape)
        site.append(FoldedConv("site", own, np.ones(6), np.zeros(6), 1, 1))
    if n_tasks > 1 and shared == "nothing":
        site = site[:1]
    inputs = [np.maximum(rng.standard_normal((400, 12)) @ rng.standard_normal((12, 36)), 0) for _ in site]
    products = [x.T @ x / len(x) for x in inputs]
    steps = round_site(site, products)
    scale = kernel_scale(site)
    assert max(np.abs(kernel).max() for kernel in steps) <= WEIGHT_MAX
    common = common_taps(site)
    for kernel in steps[1:]:
        np.testing.assert_array_equal(kernel[:, :, common], steps[0][:, :, common])

    def cost(values: list[np.ndarray]) -> float:
        errors = [(k * scale[:, None, None, None] - c.kernel).reshape(6, -1) for k, c in zip(values, site, strict=True)]
        return float(sum(np.einsum("dk,kl,dl", e, p, e) / np.trace(p) for e, p in zip(errors, products, strict=True)))

    assert cost(steps) < 0.9 * cost([quantise_kernel(conv.kernel, scale).astype(float) for conv in site])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_a_stored_kernel_comes_back_whatever_the_signs_of_the_gains(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((6, 4, 3, 3))
    site = []
    for _ in range(3):
        own = kernel.copy()
        own[:, :, 1, 1] = rng.standard_normal((6, 4))
        site.append(FoldedConv("site", own, rng.uniform(-1, 1, 6), np.zeros(6), 1, 1))
    for i, conv in enumerate(site):
        writer = GraphWriter()
        value, scale = write_kernel(writer, conv, f"task{i}", site)
        nodes = [*writer._nodes, onnx.helper.make_node("Identity", [value], ["out"])]
        graph = onnx.helper.make_graph(
            nodes,
            "kernel",
            [],
            [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.INT8, None)],
            list(writer._constants.values()),
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        steps = open_session(model.SerializeToString()).run(None, {})[0]
        weight = steps * (scale * np.abs(conv.gain))[:, None, None, None]
        tolerance = 0.5001 * (scale * np.abs(conv.gain))[:, None, None, None]
        assert (np.abs(weight - conv.weight) <= tolerance).all()


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=200), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_scale_covers_what_it_was_chosen_on(values: list[float], positive: bool) -> None:
    tensor = np.array(values, np.float32)
    tensor = np.abs(tensor) if positive else tensor
    scale = choose_scales(lambda batch: [batch], ["x"], [tensor])["x"]
    assert 0 <= scale.zero_point <= 255
    if positive:
        assert scale.zero_point == 0
    low, high = min(0.0, float(tensor.min())), max(1e-6, float(tensor.max()))
    steps = np.clip(np.rint(tensor / scale.scale) + scale.zero_point, 0, 255)
    assert np.abs((steps - scale.zero_point) * scale.scale - tensor).mean() <= 0.05 * (high - low)
