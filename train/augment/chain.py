"""Which augmentations a clip gets, in which order, and their application to a batch.

A clip draws k of 1 to 7 augmentations without replacement, in random order; both views get the same ones in the same
order with parameters of their own, and the set is the label that MLAP predicts (paper, and ``gen_multi_label_augs`` of
its code). Shapes: N clips, T samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from train.augment.channel import record
from train.augment.envelope import FADE_SHAPES, fade, time_mask, time_shift
from train.augment.noise import add_noise
from train.augment.vocoder import shift_pitch, stretch
from train.config import AugmentConfig

AUGMENTATIONS = (
    "pitch_shift",
    "fade",
    "white_noise",
    "mixed_noise",
    "time_stretch",
    "time_mask",
    "time_shift",
)
"""Index of a name is its label's."""

CPU_ROWS = 16
"""Most rows augmented at a time on a CPU: few enough for what comes between to stay in its caches."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch's clips go through."""

    order: Tensor
    """(N, 7) int64: indices of augmentations in order of application; -1 where a clip has no more."""

    @property
    def labels(self) -> Tensor:
        """(N, 7) float32: 1 where a clip gets the augmentation."""
        labels = torch.zeros(self.order.shape[0], len(AUGMENTATIONS) + 1)
        return labels.scatter(1, self.order % (len(AUGMENTATIONS) + 1), 1.0)[:, :-1]


def draw_plan(
    n_clips: int, n_min: int, n_max: int, generator: torch.Generator, kinds: Sequence[str] = AUGMENTATIONS
) -> Plan:
    """Draw each clip's number of augmentations, evenly, and that many of ``kinds`` in random order."""
    count = torch.randint(n_min, n_max + 1, (n_clips, 1), generator=generator)
    order = torch.rand(n_clips, len(kinds), generator=generator).argsort(dim=1)
    indices = torch.tensor([AUGMENTATIONS.index(kind) for kind in kinds])[order]
    return Plan(torch.where(torch.arange(len(kinds))[None] < count, indices, -1))


class Augmenter:
    """Draws parameters on the CPU, where a seed means the same everywhere, and applies them on the clips' device."""

    def __init__(self, cfg: AugmentConfig, sample_rate: int) -> None:
        self.cfg = cfg
        self.sample_rate = sample_rate
        self.n_edge = round(cfg.edge_s * sample_rate)

    def two_views(self, clips: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Augment each clip twice.

        Args:
            clips: (N, T) float32.
            seed: All that is drawn follows from it.

        Returns:
            (2N, T) views, the first ones and then the second ones; (N, 7) float32 labels.
        """
        generator = torch.Generator().manual_seed(seed)
        plan = draw_plan(len(clips), self.cfg.n_min, self.cfg.n_max, generator)
        views = self._apply_in_place(clips.repeat(2, 1), plan.order.repeat(2, 1), generator)
        return views, plan.labels.to(clips.device)

    def some(self, clips: Tensor, kinds: Sequence[str], seed: int) -> Tensor:
        """Put each clip of (N, T) through none to all of ``kinds``, in random order."""
        if not kinds:
            return clips
        generator = torch.Generator().manual_seed(seed)
        return self.apply(clips, draw_plan(len(clips), 0, len(kinds), generator, kinds).order, generator)

    def through_channels(self, clips: Tensor, probability: float, seed: int) -> Tensor:
        """Put a share of the clips of (N, T) through rooms and microphones of their own."""
        if probability == 0.0:
            return clips
        generator = torch.Generator().manual_seed(seed)
        chosen = (torch.rand(len(clips), generator=generator) < probability).to(clips.device)
        if not bool(chosen.any()):
            return clips
        clips = clips.clone()
        clips[chosen] = record(clips[chosen], self.sample_rate, generator)
        return clips

    def mix(self, clips: Tensor, probability: float, snr_db: tuple[float, float], seed: int) -> Tensor:
        """Add to a share of the clips of (N, T) another one of them each, ``snr_db`` (even in its range) below it."""
        if probability == 0.0 or len(clips) < 2:
            return clips
        generator = torch.Generator().manual_seed(seed)
        n = len(clips)
        other = (torch.arange(n) + torch.randint(1, n, (n,), generator=generator)) % n
        snr = snr_db[0] + (snr_db[1] - snr_db[0]) * torch.rand(n, generator=generator)
        chosen = torch.rand(n, generator=generator) < probability
        power = clips.square().mean(dim=1)
        gain = torch.where(chosen, 10 ** (-snr / 20), 0.0).to(clips.device)
        other = other.to(clips.device)
        gain = gain * torch.sqrt(power / power[other].clamp(min=1e-10))
        return clips + gain[:, None] * clips[other]

    def apply(self, clips: Tensor, order: Tensor, generator: torch.Generator) -> Tensor:
        """Put each row of (rows, T) through its own sequence of augmentations; the input is left as it is."""
        return self._apply_in_place(clips.clone(), order, generator)

    def _apply_in_place(self, x: Tensor, order: Tensor, generator: torch.Generator) -> Tensor:
        device_generator = torch.Generator(device=x.device)
        device_generator.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        n_kinds = len(AUGMENTATIONS)
        order = torch.nn.functional.pad(order, (0, 1), value=-1) % (n_kinds + 1)  # n_kinds: nothing more to come
        place = torch.zeros(len(order), 1, dtype=torch.int64)
        while True:
            # Rows wait for each other as long as others are more: fewer and larger groups than place after place.
            coming = order.gather(1, place)[:, 0]
            waiting = torch.bincount(coming, minlength=n_kinds + 1)[:n_kinds]
            kind = int(waiting.argmax())
            if not waiting[kind]:
                return x
            rows = (coming == kind).nonzero()[:, 0]
            place[rows] += 1
            n_groups = -(-len(rows) // CPU_ROWS) if x.device.type == "cpu" else 1
            for some in torch.tensor_split(rows, n_groups):
                there = some.to(x.device)
                x.index_copy_(0, there, self.augment(kind, x.index_select(0, there), generator, device_generator))

    def augment(self, kind: int, x: Tensor, generator: torch.Generator, device_generator: torch.Generator) -> Tensor:
        """Apply one augmentation, with fresh parameters for each row, to (rows, T)."""
        cfg, (n, n_samples) = self.cfg, x.shape

        def uniform(low: float, high: float) -> Tensor:
            return torch.rand(n, generator=generator) * (high - low) + low

        def there(parameter: Tensor) -> Tensor:
            return parameter.to(x.device, non_blocking=True)

        match AUGMENTATIONS[kind]:
            case "pitch_shift":
                return shift_pitch(x, there(uniform(-cfg.pitch_semitones, cfg.pitch_semitones)))
            case "fade":
                n_in, n_out = ((uniform(0, cfg.fade_fraction) * n_samples).long() for _ in range(2))
                shape = torch.randint(len(FADE_SHAPES), (n,), generator=generator)
                return fade(x, there(n_in), there(n_out), there(shape))
            case "white_noise":
                decay = uniform(*cfg.white_decay)
                return add_noise(x, there(uniform(*cfg.snr_db)), there(decay), device_generator)
            case "mixed_noise":
                decay = mixed_decay(torch.rand(n, generator=generator), cfg)
                return add_noise(x, there(uniform(*cfg.snr_db)), there(decay), device_generator)
            case "time_stretch":
                rate = uniform(*cfg.stretch_rate)
                # Slower: any part of it. Faster: at any place, with silence around it (the published code repeats it).
                start = torch.rand(n, generator=generator) * n_samples * (1 - rate)
                return stretch(x, there(rate), there(start), n_samples)
            case "time_mask":
                length = (uniform(0, cfg.mask_fraction) * n_samples).long()
                first = (torch.rand(n, generator=generator) * (n_samples - length + 1)).long()
                return time_mask(x, there(first), there(length), self.n_edge)
            case _:
                shift = (uniform(-cfg.shift_fraction, cfg.shift_fraction) * n_samples).round().long()
                return time_shift(x, there(shift), self.n_edge)


def mixed_decay(u: Tensor, cfg: AugmentConfig) -> Tensor:
    """Map (rows,) uniform in [0, 1) to exponents of mixed noise, evenly over its range less white noise's."""
    low, high = cfg.mixed_decay
    if not cfg.tell_noises_apart:
        return low + u * (high - low)
    gap_low, gap_high = (min(max(edge, low), high) for edge in cfg.white_decay)
    decay = low + u * (high - low - (gap_high - gap_low))
    return torch.where(decay >= gap_low, decay + (gap_high - gap_low), decay)
