"""A step as the published code does it, for comparison: file by file, clip by clip, view by view, task by task.

What is done as there (``paper.md`` is the specification sheet of that code; its sections in brackets):

- one clip at a time, twice, through its transforms in a Python loop in the training process (2, "sampling rule"; 6.1,
  items 19 and 21): :mod:`train.bench.published_augmentations`;
- a spectrogram object made anew for each batch and view (6.1, item 14), after the augmentation (1.1, "tensor");
- each view by itself through the whole network from its input on, and once more for each task: four passes with
  adapters or split heads, two with ``none`` (1.2, "training forward");
- a parallel adapter's 1x1 convolution beside the 3x3 one, an adaptive pooling and appended zeros as the shortcut (1.2,
  "placement details" and the table's row "bn");
- NT-Xent by comparing all pairs by broadcasting (6.1, item 13), MLAP from both views (1.4), Adam with coupled weight
  decay (3);
- float32, torch's own memory layout, one process.

Two things differ. It reads files of audio: the published loader wants them decoded to tensors beforehand (6.1, item
17), a cache, so that here each draw decodes and resamples its file; that is the part ``read`` of what is reported. And
the average precision that it computes on the side and throws away (6.1, item 9) is left out. The network is the one
being trained here, in the width, head sizes and front-end of its config, so that both sides do the same work.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor
from torch.nn import functional as F

from train.augment.chain import AUGMENTATIONS
from train.bench.published_augmentations import augment
from train.config import Config
from train.frontend import make_frontend
from train.network.adapters import ConvSite
from train.network.backbone import Backbone, BasicBlock
from train.network.losses import mlap
from train.network.system import PretrainingSystem


def read_window(path: Path, n_samples: int, sample_rate: int, rng: np.random.Generator) -> Tensor:
    """Decode a whole file and cut (samples,) float32 out of it, or repeat it until it is long enough."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate)
    if len(mono) < n_samples:
        mono = np.tile(mono, -(-n_samples // max(1, len(mono))))
    start = int(rng.integers(len(mono) - n_samples + 1))
    return torch.from_numpy(np.ascontiguousarray(mono[start : start + n_samples]))


def pass_through(backbone: Backbone, x: Tensor, task: int) -> Tensor:
    """Map (B, C, F, T) to one task's (B, E) embedding as ``AdapterResNet`` does, with the parameters of ours."""
    x = F.conv2d(x, backbone.stem_conv.weight, None, 2, 3)
    x = F.relu(backbone.stem_norm(x), inplace=True)
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for number, layer in enumerate((backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)):
        for block in layer:
            assert isinstance(block, BasicBlock)
            x = _block(block, x, task if number and backbone.adapted else 0)
    if backbone.end is not None:
        x = backbone.end(x, task if backbone.adapted else 0)
    pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
    return backbone.heads[min(task, len(backbone.heads) - 1)](pooled)


def _block(block: BasicBlock, x: Tensor, task: int) -> Tensor:
    y = _site(block.site2, F.relu(_site(block.site1, x, task), inplace=True), task)
    if block.downsample is not None:
        x = block.downsample(x)
    elif block.stride != 1:
        x = F.adaptive_avg_pool2d(x, (y.shape[2], y.shape[3]))
        x = torch.cat([x, x * 0], dim=1)
    return F.relu(y.add_(x))


def _site(site: ConvSite, x: Tensor, task: int) -> Tensor:
    y = site.conv(x)
    if site.parallel:
        y = y + site.parallel[task](x)
    if site.series:
        y = site.series[task](y)
    return site.norms[task](y)


def nt_xent_by_broadcasting(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """``NT_XentLoss``: a (2N, 2N, P) comparison."""
    z = torch.cat([F.normalize(z1, dim=1), F.normalize(z2, dim=1)])
    similarity = F.cosine_similarity(z.unsqueeze(1), z.unsqueeze(0), dim=-1) / temperature
    n = len(z1)
    positives = torch.cat([similarity.diag(n), similarity.diag(-n)])
    negatives = similarity[~torch.eye(2 * n, dtype=torch.bool)].view(2 * n, -1)
    return (torch.logsumexp(negatives, dim=1) - positives).mean()


class PerClipPipeline:
    """Files in, one step of training out."""

    def __init__(self, cfg: Config, files: Sequence[Path], system: PretrainingSystem, seed: int = 0) -> None:
        self.cfg = cfg
        self.files = files
        self.system = system
        self.optimiser = torch.optim.Adam(system.parameters(), cfg.optim.lr, weight_decay=cfg.optim.weight_decay)
        self.rng = np.random.default_rng(seed)

    def read(self) -> list[Tensor]:
        """A batch of windows, each decoded from its file."""
        cfg = self.cfg
        chosen = self.rng.choice(len(self.files), cfg.run.batch_size, replace=False)
        rate = cfg.frontend.sample_rate
        return [read_window(self.files[i], cfg.clip_samples, rate, self.rng) for i in chosen]

    def augment(self, clips: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Both views, (N, samples) each, and the labels (N, 7), clip after clip."""
        first, second, labels = [], [], torch.zeros(len(clips), len(AUGMENTATIONS))
        for i, clip in enumerate(clips):
            kinds = self.rng.permutation(len(AUGMENTATIONS))[: self.rng.integers(1, 8)].tolist()
            labels[i, kinds] = 1
            first.append(augment(clip, kinds, self.cfg.frontend.sample_rate, self.rng))
            second.append(augment(clip, kinds, self.cfg.frontend.sample_rate, self.rng))
        return torch.stack(first), torch.stack(second), labels

    def loss(self, first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
        """The joint loss of two views: a pass of the network for each view and task."""
        system, cfg = self.system, self.cfg
        tasks = (0,) if cfg.model.variant == "none" else (0, 1)
        embeddings = []
        for view in (first, second):
            x = make_frontend(cfg.frontend)(view)
            embeddings.append([pass_through(system.backbone, x, task) for task in tasks])
        assert system.contrastive is not None
        assert system.predictive is not None
        one, two = (system.contrastive(view[0]) for view in embeddings)
        logits = system.predictive(torch.cat([view[-1] for view in embeddings]))
        return nt_xent_by_broadcasting(one, two, cfg.loss.temperature) + cfg.loss.mlap_weight * mlap(logits, labels)

    def train(self, first: Tensor, second: Tensor, labels: Tensor) -> float:
        """One step on two views."""
        self.optimiser.zero_grad()
        loss = self.loss(first, second, labels)
        torch.autograd.backward(loss)
        self.optimiser.step()
        return float(loss.detach())
