"""From a checkpoint to a model file: fold, calibrate, quantise, centre, embed the bank, describe, prove."""

import dataclasses
import datetime
import hashlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from device_app.arrays import FloatArray
from device_app.files import write_aside
from device_app.model.embedder import Embedder, load_embedder
from device_app.model.model_file import (
    BackgroundBank,
    FrontendMetadata,
    GoldenVectors,
    ModelMetadata,
    OutputMetadata,
    with_metadata,
)
from export.errors import ExportError
from export.graph.checkpoint_network import DESCRIPTIONS, choose_heads, read_network
from export.graph.folding import Array, FoldedNetwork
from export.graph.graph_writer import subgraph
from export.graph.network_graph import NetworkWriter, Quantisation
from export.graph.whitening import Whitening, whiten
from export.proof.golden_clip import golden_clip
from export.quantise.quantisation import choose_scales
from export.quantise.weight_rounding import round_weights
from export.runtime import BATCH, embed, open_session
from train.augment.chain import AUGMENTATIONS
from train.checkpoint import CheckpointInfo
from train.config import DISTILLED, Config, FrontendConfig, ModelConfig
from train.corpus.cache import Cache, Clip
from train.corpus.sampling import Sampler
from train.frontend import SILENCE_DBFS

_log = logging.getLogger(__name__)

Precision = Literal["fp32", "int8"]

N_BANK = 4096
"""Windows of the background bank, an even number."""
N_MEAN = 2048
"""Windows that the embeddings' mean is taken over, others than the bank's."""
N_CALIBRATION = 1024
"""Windows that the scales of activations are chosen on, and the weights rounded for."""
N_TEST = 512
"""Windows that a file is compared with its checkpoint on."""
DRAWS = {"calibration": 10**9, "mean": 2 * 10**9, "bank": 3 * 10**9, "test": 4 * 10**9, "bank of all kinds": 5 * 10**9}
"""Steps of the sampler that no training reaches: what to draw for."""
_FLOAT_CONVS: frozenset[str] = frozenset()
"""Convolutions of an int8 model that stay float."""
_FLOAT_ACTIVATIONS: frozenset[str] = frozenset()

_ARCHITECTURE, _FRONTEND, _TEACHERS = "model", "frontend", "teachers"
"""Notes in the metadata: sections of the config that the checkpoint was trained with, as JSON; names of teachers."""
LICENCE = "Apache-2.0"
DATA_LICENCE = (
    "pretrained on unlabelled audio under copyleft and attribution licences (GPL-2.0, GPL-3.0, CC BY-SA, GFDL, CC BY), "
    "permissive ones (MIT, zlib) and CC0 or public domain; none of the audio is in this file"
)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of the corpus, domains balanced as in training but for the bank: (n, clip_samples) float32 each."""

    calibration: FloatArray
    mean: FloatArray
    bank: FloatArray
    test: FloatArray
    """For comparisons: nothing is made from them."""


def draw_windows(cache: Cache, config: Config) -> Windows:
    """Draw what an export needs from a corpus.

    The bank is two places: the corpus clip by clip, which is mostly speech, and all domains alike. What a bank lacks is
    heard as one of the sounds that were taught, and the device holds a budget of false alarms in the worse half.

    Raises:
        CorpusError: If the cache does not fit the config.
    """
    as_trained = Sampler(cache, config)

    def draw(sampler: Sampler, name: str, n: int) -> FloatArray:
        return sampler.batch(DRAWS[name], n).clips.numpy()

    return Windows(
        calibration=draw(as_trained, "calibration", N_CALIBRATION),
        mean=draw(as_trained, "mean", N_MEAN),
        bank=np.concatenate([draw(sampler, name, N_BANK // 2) for name, sampler in _halves(cache, config)]),
        test=draw(as_trained, "test", N_TEST),
    )


def bank_clips(cache: Cache, config: Config) -> list[Clip]:
    """The clip of each window of the bank."""
    return [clip for name, sampler in _halves(cache, config) for clip in sampler.clips(DRAWS[name], N_BANK // 2)]


def _halves(cache: Cache, config: Config) -> list[tuple[str, Sampler]]:
    """What each half of the bank is drawn for and with: the corpus clip by clip, and all domains alike."""
    exponents = {"bank": 1.0, "bank of all kinds": 0.0}
    return [
        (name, Sampler(cache, replace(config, data=replace(config.data, domain_exponent=exponent))))
        for name, exponent in exponents.items()
    ]


def export_model(
    checkpoint: Path, out: Path, *, corpus: Path, precision: Precision = "int8", heads: list[str] | None = None
) -> Embedder:
    """Write a model file and open it as the device does.

    Args:
        checkpoint: Written by a training run.
        out: The file to write.
        corpus: Cache of the audio that was trained on.
        precision: Of weights and activations.
        heads: Outputs of the file; None for all.

    Raises:
        ExportError: If the checkpoint has no such head.
        CheckpointError: If the checkpoint is missing or damaged.
        CorpusError: If the corpus is missing or of another sample rate.
        ModelFileError: If the file does not do on this machine what it should.
    """
    trained = read_network(checkpoint)
    network, config, info = choose_heads(trained.network, heads), trained.config, trained.info
    cache = Cache(corpus)
    if cache.sha256 != info.corpus_sha256:
        _log.warning(
            "%s is not the corpus that %s was trained on: its windows are used all the same", corpus, checkpoint
        )
    windows = draw_windows(cache, config)
    quantisation = None if precision == "fp32" else calibrate(network, config, windows.calibration)
    graph = build_graph(network, config, quantisation, windows.mean).SerializeToString()
    content = describe(graph, network, config, info, precision, windows.bank)
    write_aside(out, content)
    out.chmod(0o644)  # it goes into a package that every user of a machine may read
    embedder = load_embedder(out)
    _log.info("wrote %s: model %s, %.1f MB", out, embedder.metadata.model_id, len(content) / 1e6)
    return embedder


def calibrate(network: FoldedNetwork, config: Config, clips: FloatArray) -> Quantisation:
    """Choose the scales of all activations that are rounded, and round the weights.

    Args:
        network: Folded.
        config: Of the checkpoint.
        clips: (n, clip_samples) float32 of the corpus.
    """
    writer = NetworkWriter(network)
    model = writer.write(config.frontend, config.clip_samples, None)
    names = [name for name in writer.activations if name not in _FLOAT_ACTIVATIONS]
    values = [writer.activations[name] for name in names]
    session = open_session(subgraph(model, values).SerializeToString())
    batches = [clips[start : start + BATCH] for start in range(0, len(clips), BATCH)]
    scales = choose_scales(lambda batch: session.run(values, {"waveform": batch}), names, batches)
    scales["stem.same"] = scales["stem"]
    rounded = Quantisation(activations=scales, float_convs=_FLOAT_CONVS)
    return round_weights(network, rounded, config.frontend, clips, np.random.default_rng(0))


def build_graph(
    network: FoldedNetwork, config: Config, quantisation: Quantisation | None, clips: FloatArray
) -> onnx.ModelProto:
    """Write the graph whose embeddings are whitened over ``clips``, (n, clip_samples), their mean removed."""

    def write(network: FoldedNetwork, offsets: dict[str, Array] | None) -> onnx.ModelProto:
        return NetworkWriter(network, quantisation).write(config.frontend, config.clip_samples, offsets)

    names = [head.name for head in network.heads]
    raw = embed(open_session(write(network, None).SerializeToString()), clips, names)
    whitenings = {name: Whitening.of(name, rows) for name, rows in raw.items()}
    return write(whiten(network, whitenings), {name: whitening.offset for name, whitening in whitenings.items()})


def describe(
    graph: bytes, network: FoldedNetwork, config: Config, info: CheckpointInfo, precision: Precision, bank: FloatArray
) -> bytes:
    """Complete a serialised graph to a model file.

    Args:
        graph: Of :func:`build_graph`.
        network: That it was built from.
        config: Of the checkpoint.
        info: Of the checkpoint.
        precision: Of the graph.
        bank: (n, clip_samples) float32 windows of the corpus for the background bank.
    """
    session = open_session(graph)
    names = [head.name for head in network.heads]
    clip = golden_clip(config.clip_samples, config.frontend.sample_rate)
    golden = embed(session, (clip.astype(np.float32) / 32768.0)[None], names)
    frontend = config.frontend
    digest = hashlib.sha256(graph).hexdigest()
    metadata = ModelMetadata(
        model_id=digest[:12],
        graph_bytes=len(graph),
        graph_sha256=digest,
        sample_rate=frontend.sample_rate,
        clip_samples=config.clip_samples,
        outputs=tuple(
            OutputMetadata(
                name=head.name,
                size=len(head.bias),
                description=DESCRIPTIONS.get(head.name, f"linear head of {head.branch}"),
            )
            for head in network.heads
        ),
        frontend=FrontendMetadata(**{name: getattr(frontend, name) for name in FrontendMetadata.__dataclass_fields__}),
        quantisation=precision,
        backbone=f"ResNet-18, width {config.model.width}, {config.model.variant} adapters",
        augmentations=tuple(AUGMENTATIONS),
        training_commit=info.git_commit,
        config_sha256=info.config_sha256,
        corpus_sha256=info.corpus_sha256,
        training_steps=info.step,
        silence_dbfs=SILENCE_DBFS,
        licence=LICENCE,
        data_licence=DATA_LICENCE,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        notes={
            _ARCHITECTURE: json.dumps(dataclasses.asdict(config.model), sort_keys=True),
            _FRONTEND: json.dumps(dataclasses.asdict(frontend), sort_keys=True),
            _TEACHERS: ",".join(config.distil.teachers if DISTILLED in config.model.tasks else ()),
        },
    )
    vectors = GoldenVectors(clip, {name: golden[name][0] for name in names})
    return with_metadata(graph, metadata, vectors, BackgroundBank.quantise(embed(session, bank, names)))


def read_architecture(metadata: ModelMetadata) -> tuple[ModelConfig, FrontendConfig]:
    """What :func:`describe` noted of the network's shape and its front-end.

    Raises:
        ExportError: If the file was exported by an earlier version, which noted nothing.
    """
    try:
        raw = {name: json.loads(metadata.notes[name]) for name in (_ARCHITECTURE, _FRONTEND)}
        model = raw[_ARCHITECTURE]
        return ModelConfig(**(model | {"tasks": tuple(model["tasks"])})), FrontendConfig(**raw[_FRONTEND])
    except (KeyError, ValueError, TypeError) as err:
        raise ExportError(f"model {metadata.model_id} does not say what its network is like: export it again") from err
