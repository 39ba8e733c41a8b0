"""The one file that crosses from training to the device: an ONNX network and the document that describes it.

Layout of the file: the serialised ``ModelProto`` of the network, then the ``metadata_props`` of a second one. Protocol
buffers merge what is concatenated, so any ONNX reader sees one model with its metadata, while this module can check the
network's bytes against the hash that the document states, and the rest byte for byte against the entries, without the
``onnx`` package. The entries:

``earmark``
    The document: :class:`ModelMetadata` as JSON.
``earmark_golden``
    The proof: :class:`GoldenVectors` as JSON, so that a machine can show that it computes what was exported.
``earmark_bank``
    Embeddings of everyday audio from the training corpus, for the device to tell a taught sound from everything else.
``earmark_sha256``
    SHA-256 of the three entries above, joined.
``sample_rate``, ``clip_samples``
    For other readers.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from device_app.arrays import FloatArray, Int8Array, Int16Array
from device_app.errors import ModelFileError
from device_app.model.onnx_bytes import keep_outputs, read_metadata, write_metadata

_log = logging.getLogger(__name__)

SCHEMA = 1
"""Version of the document. A reader refuses a newer one; an entry is added, never renamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendMetadata:
    """The log-mel front-end inside the graph. For people: the device only passes a waveform."""

    n_fft: int
    win_length: int
    hop_length: int
    n_mels: int
    f_min: float
    """Hz."""
    f_max: float
    """Hz."""
    log_floor: float
    """Mel power below which the logarithm is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputMetadata:
    """One head: a named output of the graph, mean over the corpus removed, each row of unit length (silence: zero)."""

    name: str
    size: int
    description: str
    """What this head is invariant or sensitive to, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What a model file says of itself."""

    schema: int = SCHEMA
    model_id: str
    """First 12 hex digits of ``graph_sha256``: embeddings of two models are comparable only if these agree."""
    graph_bytes: int
    """Length of the network's bytes at the start of the file."""
    graph_sha256: str
    sample_rate: int
    """Hz."""
    clip_samples: int
    """Samples of the ``waveform`` input that one embedding covers."""
    outputs: tuple[OutputMetadata, ...]
    frontend: FrontendMetadata
    quantisation: str
    """``fp32`` or ``int8``."""
    backbone: str
    augmentations: tuple[str, ...]
    training_commit: str
    config_sha256: str
    corpus_sha256: str
    """Hash of the manifest of the audio that the network was pretrained on."""
    training_steps: int
    licence: str
    data_licence: str
    created: str
    """Date of the export, ISO 8601."""
    notes: dict[str, str] = field(default_factory=dict)
    silence_dbfs: float = -70.0
    """RMS level, the mean taken out, below which a window embeds to zeros."""

    def to_json(self) -> str:
        """The document as it stands in the file."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelMetadata":
        """Read a document; unknown entries of the same schema are passed over.

        Raises:
            ModelFileError: If the schema is newer than this program, or an entry is missing or of the wrong type.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            schema = int(raw["schema"])
            if schema > SCHEMA:
                raise ModelFileError(
                    f"the model file uses schema {schema}, this program reads up to {SCHEMA}: upgrade earmark"
                )
            known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
            known["outputs"] = tuple(_only(OutputMetadata, entry) for entry in raw["outputs"])
            known["frontend"] = _only(FrontendMetadata, raw["frontend"])
            known["augmentations"] = tuple(raw["augmentations"])
            metadata = cls(**known)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ModelFileError(f"the model's description is incomplete ({err!r}): export the model again") from err
        if metadata.sample_rate <= 0 or metadata.clip_samples <= 0 or not metadata.outputs:
            raise ModelFileError("the model's description has no sample rate, clip length or output: export it again")
        return metadata


def _only(cls: type[Any], entry: dict[str, Any]) -> Any:
    return cls(**{name: entry[name] for name in cls.__dataclass_fields__ if name in entry})


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """An input and the embeddings that the exporting machine computed from it."""

    waveform: Int16Array
    """(clip_samples,) int16: divide by 32768."""
    embeddings: dict[str, FloatArray]
    """For each output (size,) float32."""

    def to_json(self) -> str:
        """As it stands in the file: little-endian arrays in base64."""
        outputs = {name: _encode(vector.astype("<f4")) for name, vector in self.embeddings.items()}
        return json.dumps({"waveform": _encode(self.waveform.astype("<i2")), "outputs": outputs}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "GoldenVectors":
        """Read what :meth:`to_json` wrote.

        Raises:
            ModelFileError: If an entry is missing or is not base64 of whole numbers.
        """
        try:
            raw = json.loads(text)
            waveform = np.frombuffer(base64.b64decode(raw["waveform"], validate=True), "<i2").astype(np.int16)
            embeddings = {
                name: np.frombuffer(base64.b64decode(data, validate=True), "<f4").astype(np.float32)
                for name, data in raw["outputs"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ModelFileError(f"the model's golden vectors are damaged ({err!r}): fetch the file again") from err
        return cls(waveform, embeddings)


@dataclass(frozen=True, slots=True)
class BackgroundBank:
    """Embeddings of windows of the training corpus: what the world sounds like to this network.

    The first half of the windows takes its clips as they come, the second all kinds of sounds alike.
    """

    embeddings: dict[str, Int8Array]
    """For each output (n_windows, size) int8."""
    scale: dict[str, float]
    """What to multiply the int8 values of an output with."""

    def dequantised(self) -> dict[str, FloatArray]:
        """For each output (n_windows, size) float32, each row of unit length."""
        rows = {
            name: values.astype(np.float32) * np.float32(self.scale[name]) for name, values in self.embeddings.items()
        }
        return {
            name: values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.float32(1e-6))
            for name, values in rows.items()
        }

    @classmethod
    def quantise(cls, embeddings: dict[str, FloatArray]) -> "BackgroundBank":
        """Round (n_windows, size) float32 embeddings to int8, one scale for each output."""
        scale = {name: max(float(np.abs(values).max()), 1e-6) / 127.0 for name, values in embeddings.items()}
        rounded = {name: np.rint(values / scale[name]).astype(np.int8) for name, values in embeddings.items()}
        return cls(rounded, scale)

    def to_json(self) -> str:
        """As it stands in the file."""
        n_windows = len(next(iter(self.embeddings.values())))
        outputs = {
            name: {"int8": _encode(values), "scale": self.scale[name]} for name, values in self.embeddings.items()
        }
        return json.dumps({"n_windows": n_windows, "outputs": outputs}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "BackgroundBank":
        """Read what :meth:`to_json` wrote.

        Raises:
            ModelFileError: If an entry is missing or of the wrong size.
        """
        try:
            raw = json.loads(text)
            embeddings = {
                name: np.frombuffer(base64.b64decode(entry["int8"], validate=True), np.int8).reshape(
                    int(raw["n_windows"]), -1
                )
                for name, entry in raw["outputs"].items()
            }
            scale = {name: float(entry["scale"]) for name, entry in raw["outputs"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ModelFileError(f"the model's background bank is damaged ({err!r}): fetch the file again") from err
        return cls(embeddings, scale)


def _encode(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def with_metadata(graph: bytes, metadata: ModelMetadata, golden: GoldenVectors, bank: BackgroundBank) -> bytes:
    """The file that :func:`read_model_file` expects.

    Args:
        graph: The serialised network, without metadata of its own; ``metadata`` states its length and hash.
        metadata: The document.
        golden: The proof.
        bank: Everyday audio.
    """
    entries = {"earmark": metadata.to_json(), "earmark_golden": golden.to_json(), "earmark_bank": bank.to_json()}
    return graph + write_metadata(_complete(entries, metadata))


_ENTRIES = ("earmark", "earmark_golden", "earmark_bank")


def _complete(entries: dict[str, str], metadata: ModelMetadata) -> dict[str, str]:
    """All that a file holds beside its network."""
    return {name: entries[name] for name in _ENTRIES} | {
        "earmark_sha256": _entries_sha256(entries),
        "sample_rate": str(metadata.sample_rate),
        "clip_samples": str(metadata.clip_samples),
    }


def _entries_sha256(entries: dict[str, str]) -> str:
    return hashlib.sha256("".join(entries[name] for name in _ENTRIES).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that was read and found whole."""

    path: Path
    metadata: ModelMetadata
    golden: GoldenVectors
    bank: BackgroundBank
    graph: bytes
    """The serialised network."""

    def graph_of(self, heads: Sequence[str]) -> bytes:
        """The serialised network without what only other heads need."""
        return self.graph if len(heads) == len(self.metadata.outputs) else keep_outputs(self.graph, heads)

    def open_session(self, heads: Sequence[str]) -> Any:
        """An ``onnxruntime.InferenceSession`` that computes some of the heads and nothing else.

        Args:
            heads: Names of outputs, as the metadata list them.

        Raises:
            ModelFileError: If this version of onnxruntime cannot run the network.
        """
        import onnxruntime as ort  # slow to import: not where only the dataclasses are wanted

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # more threads spin: half a core for nothing (onnxruntime's default)
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return ort.InferenceSession(self.graph_of(heads), options, providers=["CPUExecutionProvider"])
        except Exception as err:  # onnxruntime raises many kinds, all of which mean that it cannot be loaded
            _log.debug("onnxruntime refused %s", self.path, exc_info=err)
            raise ModelFileError(
                f"onnxruntime {ort.__version__} cannot run the model {self.path}: upgrade onnxruntime or earmark"
            ) from err


def read_model_file(path: Path) -> ModelFile:
    """Read a model file and check that it is whole and ours.

    Raises:
        ModelFileError: If the file is missing, truncated, altered, of a newer schema, or not an Earmark model.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise ModelFileError(f"cannot read the model {path}: {err.strerror}; name another with --model") from err
    try:
        entries = read_metadata(content)
    except ValueError as err:  # EncodingError, or text that is not UTF-8
        _log.debug("%s is no protocol buffer of a model", path, exc_info=err)
        raise ModelFileError(
            f"{path} is not a complete ONNX model ({len(content)} bytes): fetch or export it again"
        ) from err
    missing = [name for name in (*_ENTRIES, "earmark_sha256") if name not in entries]
    if missing:
        raise ModelFileError(
            f"{path} is an ONNX model, but not one of Earmark's (no metadata entry '{missing[0]}'): "
            "make one with `python -m export`"
        )
    metadata = ModelMetadata.from_json(entries["earmark"])
    graph = content[: metadata.graph_bytes]
    digest = hashlib.sha256(graph).hexdigest()
    if (
        digest != metadata.graph_sha256
        or metadata.model_id != digest[:12]
        or _entries_sha256(entries) != entries["earmark_sha256"]
        or content[metadata.graph_bytes :] != write_metadata(_complete(entries, metadata))
    ):
        raise ModelFileError(f"{path} was altered or damaged after it was exported: fetch or export it again")
    golden = GoldenVectors.from_json(entries["earmark_golden"])
    bank = BackgroundBank.from_json(entries["earmark_bank"])
    return ModelFile(path, metadata, golden, bank, graph)
