"""What turns windows of sound into embeddings: a checkpoint, an exported file, or a control that has learnt nothing.

Shapes: N windows, S samples of a window, D size of a head.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from train.checkpoint import SUFFIX, LinearHead, load_backbone, load_linear_heads
from train.config import SPEAKER, Config, FrontendConfig, ModelConfig
from train.errors import EvaluationError
from train.frontend import LogMel, make_frontend
from train.network.backbone import Backbone

FloatArray = npt.NDArray[np.float32]

ALL_HEADS = "all"
"""Name of all heads side by side, each of unit length."""


class Encoder(Protocol):
    """Anything that embeds windows of one length."""

    name: str
    """For people."""
    fingerprint: str
    """Changes with whatever changes the embeddings."""
    sample_rate: int
    """Hz."""
    clip_samples: int
    """Samples of a window."""
    standardise: bool
    """Whether each dimension is brought to mean 0 and variance 1 over a set before a probe sees it."""

    def embed(self, windows: FloatArray) -> dict[str, FloatArray]:
        """(N, S) float32 in [-1, 1] to (N, D) float32 of each head."""


class TorchEncoder:
    """A backbone behind its front-end."""

    standardise = False

    def __init__(
        self,
        backbone: Backbone,
        config: Config,
        name: str,
        fingerprint: str,
        linear_heads: Mapping[str, LinearHead] | None = None,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.sample_rate = config.frontend.sample_rate
        self.clip_samples = config.clip_samples
        self._backbone = backbone.eval()
        self._frontend = make_frontend(config.frontend)
        self._linear_heads = linear_heads or {}
        # Tasks that share everything have one embedding, however many they are.
        self.heads = backbone.tasks if len(backbone.heads) == len(backbone.tasks) else ("shared",)

    @torch.no_grad()
    def embed(self, windows: FloatArray) -> dict[str, FloatArray]:
        """(N, S) to (N, D) of each head."""
        outputs = self._backbone(self._frontend(torch.from_numpy(windows)))
        values = dict(zip(self.heads, outputs, strict=False))
        for name, head in self._linear_heads.items():
            values[name] = head.linear(values[head.branch if head.branch in values else self.heads[0]])
        values.pop(SPEAKER, None)  # one teacher's branch says no more than the head on it
        return {head: output.numpy() for head, output in values.items()}


class OnnxEncoder:
    """An exported file: ``waveform`` in, a named output for each head, what it needs to know in its metadata."""

    standardise = False

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            EvaluationError: If it is missing, not an ONNX file, or lacks the metadata.
        """
        import onnxruntime

        if not path.is_file():
            raise EvaluationError(
                f"there is no model file {path}: pass an .onnx file that python -m export has written"
            )
        data = path.read_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as err:  # onnxruntime's exceptions have no common base of their own
            cause = next(iter(str(err).splitlines()), type(err).__name__)
            raise EvaluationError(f"{path} cannot be opened as an ONNX model ({cause}): export it again") from err
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            self.sample_rate, self.clip_samples = int(metadata["sample_rate"]), int(metadata["clip_samples"])
        except (KeyError, ValueError) as err:
            raise EvaluationError(
                f"{path} lacks the metadata sample_rate and clip_samples, so that it is not known what it takes: "
                f"make the file with python -m export"
            ) from err
        self._input = self._session.get_inputs()[0].name
        self._heads = [output.name for output in self._session.get_outputs()]
        self.name = path.name
        self.fingerprint = f"onnx-{hashlib.sha256(data).hexdigest()[:16]}"

    def embed(self, windows: FloatArray) -> dict[str, FloatArray]:
        """(N, S) to (N, D) of each head."""
        outputs = self._session.run(self._heads, {self._input: np.ascontiguousarray(windows)})
        return dict(zip(self._heads, outputs, strict=True))


class LogMelStatistics:
    """Mean and standard deviation of each log-mel band over a window: what any classifier could do without learning.

    Statistics are in no common unit: standardised over the whole set, which takes no labels but which nobody who enrols
    a sound could do, they make the stronger control.
    """

    name = "log-mel statistics"
    fingerprint = "log-mel-statistics-1"
    sample_rate = 16_000
    clip_samples = 16_000
    standardise = True

    def __init__(self) -> None:
        self._frontend = LogMel(CONTROL_FRONTEND)

    def embed(self, windows: FloatArray) -> dict[str, FloatArray]:
        """(N, S) to (N, 128)."""
        bands = self._frontend(torch.from_numpy(windows))[:, 0]  # (N, M, T)
        return {"statistics": torch.cat([bands.mean(2), bands.std(2)], dim=1).numpy()}


class MfccStatistics:
    """Mean and standard deviation over a window of 20 cepstral coefficients and their differences."""

    name = "MFCC statistics"
    fingerprint = "mfcc-statistics-1"
    sample_rate = 16_000
    clip_samples = 16_000
    standardise = True

    def __init__(self) -> None:
        self._frontend = LogMel(CONTROL_FRONTEND)
        n = CONTROL_FRONTEND.n_mels
        angle = np.pi / n * np.outer(np.arange(20), np.arange(n) + 0.5)
        self._basis = torch.from_numpy((np.cos(angle) * np.sqrt(2 / n)).astype(np.float32))  # DCT-II

    def embed(self, windows: FloatArray) -> dict[str, FloatArray]:
        """(N, S) to (N, 80)."""
        cepstrum = self._basis @ self._frontend(torch.from_numpy(windows))[:, 0]  # (N, 20, T)
        change = cepstrum.diff(dim=2)
        parts = [cepstrum.mean(2), cepstrum.std(2), change.mean(2), change.std(2)]
        return {"statistics": torch.cat(parts, dim=1).numpy()}


CONTROL_FRONTEND = FrontendConfig(log_mean=2.5, log_std=4.5)
"""The shipped model's."""


def random_resnet18() -> TorchEncoder:
    """The paper's network with the weights it starts from."""
    config = Config(frontend=CONTROL_FRONTEND, model=ModelConfig(variant="none", tasks=("invariant",), head_dim=1000))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone(config.model, config.frontend.n_channels)
    encoder = TorchEncoder(backbone, config, "random ResNet-18", "random-resnet18-1")
    encoder.heads = ("shared",)
    return encoder


CONTROLS: dict[str, Callable[[], Encoder]] = {
    "log-mel-statistics": LogMelStatistics,
    "mfcc-statistics": MfccStatistics,
    "random-resnet18": random_resnet18,
}
"""By the name on the command line."""


def open_encoder(subject: str) -> Encoder:
    """A control by its name, or the encoder in a file.

    Raises:
        EvaluationError: If there is neither, or an ONNX file lacks its metadata.
        CheckpointError: If a checkpoint is damaged.
    """
    if subject in CONTROLS:
        return CONTROLS[subject]()
    path = Path(subject)
    if path.suffix == ".onnx":
        return OnnxEncoder(path)
    if path.suffix != SUFFIX and not path.is_file():
        raise EvaluationError(
            f"{subject!r} is neither a file nor a control: pass a checkpoint ({SUFFIX}), an exported file (.onnx) or "
            f"{', '.join(CONTROLS)}"
        )
    backbone, config, info = load_backbone(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name, fingerprint = f"{path} (step {info.step})", f"checkpoint-{digest[:16]}"
    return TorchEncoder(backbone, config, name, fingerprint, load_linear_heads(path))
