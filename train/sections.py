"""The sections of a config: frozen dataclasses that check themselves. :mod:`train.config` puts them together."""

from dataclasses import dataclass
from typing import Literal

from train.errors import ConfigError

Variant = Literal["none", "split", "bn", "series", "parallel"]
Trunk = Literal["matched", "published"]
Contrastive = Literal["simclr", "simsiam"]
Channels = Literal["log-mel", "log-mel+stft"]
Precision = Literal["fp32", "bf16", "fp16"]

INVARIANT = "invariant"
"""Name of the task whose branch the contrastive loss teaches."""
SENSITIVE = "sensitive"
"""Name of the task whose branch predicts the augmentations."""
DISTILLED = "distilled"
"""Name of the task whose branch predicts what published networks say of a clip."""
SPEAKER = "speaker"
"""Name of a second such branch, for a teacher whose answers ask for the opposite of what the others want."""
TASKS = (INVARIANT, SENSITIVE, DISTILLED, SPEAKER)
TAUGHT = (DISTILLED, SPEAKER)
"""The tasks that learn from teachers."""


def require(condition: bool, message: str) -> None:
    """Raise a ConfigError unless ``condition`` holds."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendConfig:
    """From waveform to the network's input."""

    channels: Channels = "log-mel"
    """``log-mel``: one. ``log-mel+stft``: the paper's three (log-mel, mel-projected STFT magnitude and angle)."""
    sample_rate: int = 16_000
    """Hz."""
    n_fft: int = 1024
    win_length: int = 640
    """Samples of the Hann window; zero-padded to ``n_fft``."""
    hop_length: int = 256
    """Samples from one frame to the next."""
    n_mels: int = 64
    f_min: float = 50.0
    """Hz: lower edge of the first mel filter (HTK scale, peak 1)."""
    f_max: float = 8000.0
    """Hz: upper edge of the last mel filter."""
    centred: bool = False
    """Whether frame t is centred on sample t * hop (reflected at the ends) instead of starting there."""
    waveform_variance_floor: float = 1e-8
    """Added to a clip's variance when it is brought to variance 1: silence stays silence (full scale squared)."""
    log_floor: float = 1e-3
    """Mel power (of a clip with variance 1) below which the logarithm is cut off."""
    log_mean: float = 0.0
    """Subtracted from the natural logarithm of mel power: its mean over the corpus."""
    log_std: float = 1.0
    """What the difference is divided by: its standard deviation over the corpus."""

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels"):
            require(getattr(self, name) > 0, f"frontend.{name}={getattr(self, name)} must be positive")
        require(
            self.win_length <= self.n_fft,
            f"frontend.win_length={self.win_length} must not exceed frontend.n_fft={self.n_fft}",
        )
        require(
            0.0 <= self.f_min < self.f_max <= self.sample_rate / 2,
            f"frontend.f_min={self.f_min} and frontend.f_max={self.f_max} must satisfy "
            f"0 <= f_min < f_max <= {self.sample_rate / 2} Hz, half the sample rate",
        )
        for name in ("waveform_variance_floor", "log_floor", "log_std"):
            require(getattr(self, name) > 0, f"frontend.{name}={getattr(self, name)} must be positive")

    @property
    def n_channels(self) -> int:
        """Channels of the network's input."""
        return 1 if self.channels == "log-mel" else 3

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip of ``n_samples`` samples."""
        if self.centred:
            return 1 + n_samples // self.hop_length
        return 1 + (n_samples - self.win_length) // self.hop_length


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What is drawn from the corpus."""

    clip_s: float = 1.0
    """Seconds of audio that one embedding covers."""
    domain_exponent: float = 0.5
    """A domain (first folder) of n clips is drawn in proportion to n ** this: 1 = as it comes, 0 = all alike."""
    activity_ratio: float = 0.1
    """A window whose RMS is below this share of its clip's RMS is drawn again."""
    activity_draws: int = 4
    """Windows tried for one clip before the loudest of them is taken."""
    val_fraction: float = 0.02
    """Share of the clips (chosen by the hash of their path) that is kept for validation."""

    def __post_init__(self) -> None:
        require(self.clip_s > 0, f"data.clip_s={self.clip_s} must be positive")
        require(0 <= self.domain_exponent <= 1, f"data.domain_exponent={self.domain_exponent} must lie in [0, 1]")
        require(0 <= self.activity_ratio < 1, f"data.activity_ratio={self.activity_ratio} must lie in [0, 1)")
        require(self.activity_draws >= 1, f"data.activity_draws={self.activity_draws} must be at least 1")
        require(0 <= self.val_fraction < 1, f"data.val_fraction={self.val_fraction} must lie in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The backbone: a ResNet-18 with a branch for each task."""

    variant: Variant = "parallel"
    """What the tasks do not share: nothing (``none``), the last layer (``split``), or that and ``bn``, ``series`` or
    ``parallel`` adapters in layers 2 to 4."""
    trunk: Trunk = "matched"
    """``matched``: the adapters' trunk (parameter-free shortcuts, batch norm before pooling) for every variant, so that
    they can be compared. ``published``: torchvision's trunk for ``none`` and ``split``, as in the paper's code."""
    width: int = 64
    """Channels of the first stage; the stages have 1, 2, 4 and 8 times as many."""
    tasks: tuple[str, ...] = (INVARIANT, SENSITIVE)
    """Names of the branches, in order."""
    head_dim: int = 256
    """Size of each branch's embedding (``none``: of the one that all tasks share)."""

    def __post_init__(self) -> None:
        require(self.width >= 1, f"model.width={self.width} must be at least 1")
        require(self.head_dim >= 1, f"model.head_dim={self.head_dim} must be at least 1")
        require(bool(self.tasks), "model.tasks is empty: name at least one, such as ['invariant', 'sensitive']")
        require(len(set(self.tasks)) == len(self.tasks), f"model.tasks={list(self.tasks)} names a task twice")
        require(
            len(self.tasks) > 1 or self.variant == "none",
            f"model.variant={self.variant!r} divides the network between tasks, but model.tasks={list(self.tasks)} "
            f"has one: add a task, or set model.variant='none'",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """The seven augmentations and their ranges (paper: CLAR's, arXiv 2010.09542)."""

    pitch_semitones: float = 15.0
    """Pitch is shifted by up to this much, down or up, continuously."""
    fade_fraction: float = 0.5
    """Fade-in and fade-out each last up to this share of the clip."""
    snr_db: tuple[float, float] = (3.0, 30.0)
    """Clip power over noise power."""
    white_decay: tuple[float, float] = (-1.0, 0.0)
    """Exponents d of white noise, whose amplitude falls as f ** -d."""
    mixed_decay: tuple[float, float] = (-2.0, 2.0)
    """Exponents of mixed noise; with ``tell_noises_apart`` those of white noise are left out."""
    tell_noises_apart: bool = True
    """Whether mixed noise avoids white noise's exponents, so that its label can be known from the sound."""
    stretch_rate: tuple[float, float] = (0.5, 1.5)
    """Tempo is multiplied by this."""
    mask_fraction: float = 0.125
    """Up to this share of the clip is set to zero."""
    shift_fraction: float = 0.5
    """The clip is rotated by up to this share of its length, either way."""
    edge_s: float = 0.005
    """Seconds of the ramps where two ends meet or a sound stops, so that no click gives the augmentation away."""
    n_min: int = 1
    """Fewest augmentations of a clip."""
    n_max: int = 7
    """Most augmentations of a clip."""

    def __post_init__(self) -> None:
        for name in ("snr_db", "white_decay", "mixed_decay", "stretch_rate"):
            low, high = getattr(self, name)
            require(low <= high, f"augment.{name}={[low, high]} must be [lowest, highest]")
        require(0 <= self.pitch_semitones <= 24, f"augment.pitch_semitones={self.pitch_semitones} must lie in [0, 24]")
        require(
            self.stretch_rate[0] >= 0.25 and self.stretch_rate[1] <= 4,
            f"augment.stretch_rate={list(self.stretch_rate)} must lie in [0.25, 4]",
        )
        for name, most in (("fade_fraction", 0.5), ("mask_fraction", 1.0), ("shift_fraction", 0.5)):
            require(0 <= getattr(self, name) <= most, f"augment.{name}={getattr(self, name)} must lie in [0, {most}]")
        require(self.edge_s >= 0, f"augment.edge_s={self.edge_s} must not be negative")
        require(
            1 <= self.n_min <= self.n_max <= 7,
            f"augment.n_min={self.n_min} and augment.n_max={self.n_max} must satisfy 1 <= n_min <= n_max <= 7",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """``L = L_cont + mlap_weight * L_MLAP``; which terms there are follows from ``model.tasks``."""

    contrastive: Contrastive = "simclr"
    temperature: float = 0.07
    """NT-Xent only."""
    projector_dim: int = 256
    """Size of the vectors that NT-Xent compares."""
    mlap_weight: float = 1.0
    """The paper's lambda."""
    mlap_views: Literal[1, 2] = 2
    """Whether the augmentations are predicted from both views or from the first alone, which is cheaper."""

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"loss.temperature={self.temperature} must be positive")
        require(self.projector_dim >= 1, f"loss.projector_dim={self.projector_dim} must be at least 1")
        require(self.mlap_weight >= 0, f"loss.mlap_weight={self.mlap_weight} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilConfig:
    """The term ``weight * L_distil``, there if ``model.tasks`` names ``distilled``; without it L is the paper's."""

    teachers: tuple[str, ...] = ()
    """Names of the teachers' files, without ``.onnx``."""
    teacher_weights: tuple[float, ...] = ()
    """How much each teacher counts; as many as there are teachers."""
    teacher_domains: tuple[tuple[str, ...], ...] = ()
    """The domains (first folders) about whose clips each teacher is asked, an empty list for all of them; nothing for
    all teachers and clips."""
    teacher_branches: tuple[str, ...] = ()
    """The task on whose branch each teacher's answers are predicted; nothing for ``distilled`` in all cases."""
    n_dims: int = 128
    """Principal components of a teacher's embedding that are predicted."""
    weight: float = 1.0
    """The factor mu of the whole term."""
    contrast_weight: float = 0.0
    """What telling the answers to the clips of a batch apart, as the teacher does, counts beside the cosine to a clip's
    own."""
    temperature: float = 0.07
    """What cosines are divided by in telling them apart."""
    batch_size: int = 0
    """Clips a step from which the answers are predicted, over all processes and accumulated parts, drawn for that
    alone; 0: those of the other tasks, of ``run.batch_size``."""
    mix_probability: float = 0.0
    """Share of those clips to which another one of them is added; the target stays that of the clip itself."""
    mix_snr_db: tuple[float, float] = (0.0, 25.0)
    """Power of the clip over that of what is added to it."""
    augmentations: tuple[str, ...] = ("fade", "white_noise", "mixed_noise", "time_mask", "time_shift")
    """What the branch must not mind: a clip gets none to all of these; the target is the clean clip's."""
    channel_probability: float = 0.0
    """Share of those clips that go through a room and a microphone, as :mod:`train.augment.channel` makes them."""

    @property
    def domains(self) -> tuple[tuple[str, ...], ...]:
        """As ``teacher_domains``, with an entry for each teacher."""
        return self.teacher_domains or ((),) * len(self.teachers)

    @property
    def branches(self) -> tuple[str, ...]:
        """As ``teacher_branches``, with an entry for each teacher."""
        return self.teacher_branches or (DISTILLED,) * len(self.teachers)

    def __post_init__(self) -> None:
        require(
            len(self.teacher_weights) == len(self.teachers),
            f"distil.teacher_weights={list(self.teacher_weights)} must have one entry for each of "
            f"distil.teachers={list(self.teachers)}",
        )
        require(
            len(self.teacher_domains) in (0, len(self.teachers)),
            f"distil.teacher_domains={[list(domains) for domains in self.teacher_domains]} must have one list for each "
            f"of distil.teachers={list(self.teachers)}",
        )
        require(
            len(self.teacher_branches) in (0, len(self.teachers)),
            f"distil.teacher_branches={list(self.teacher_branches)} must have one entry for each of "
            f"distil.teachers={list(self.teachers)}",
        )
        require(
            0 <= self.channel_probability <= 1,
            f"distil.channel_probability={self.channel_probability} must lie in [0, 1]",
        )
        require(self.n_dims >= 1, f"distil.n_dims={self.n_dims} must be at least 1")
        require(self.weight >= 0, f"distil.weight={self.weight} must not be negative")
        require(self.contrast_weight >= 0, f"distil.contrast_weight={self.contrast_weight} must not be negative")
        require(self.temperature > 0, f"distil.temperature={self.temperature} must be positive")
        require(self.batch_size >= 0, f"distil.batch_size={self.batch_size} must not be negative")
        require(0 <= self.mix_probability <= 1, f"distil.mix_probability={self.mix_probability} must lie in [0, 1]")
        low, high = self.mix_snr_db
        require(low <= high, f"distil.mix_snr_db={[low, high]} must be [lowest, highest]")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """Adam with decoupled weight decay, a linear warm-up and a cosine down to ``final_lr_ratio``."""

    lr: float = 1e-3
    """Peak learning rate."""
    final_lr_ratio: float = 0.0
    """Learning rate at the last step over the peak."""
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    """Of weights of two or more dimensions; biases and batch norms are not decayed."""
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 5.0
    """Gradients are scaled down to this norm; 0 leaves them as they are."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optim.lr={self.lr} must be positive")
        require(0 <= self.final_lr_ratio <= 1, f"optim.final_lr_ratio={self.final_lr_ratio} must lie in [0, 1]")
        require(self.warmup_steps >= 0, f"optim.warmup_steps={self.warmup_steps} must not be negative")
        require(self.weight_decay >= 0, f"optim.weight_decay={self.weight_decay} must not be negative")
        require(all(0 <= beta < 1 for beta in self.betas), f"optim.betas={list(self.betas)} must lie in [0, 1)")
        require(self.clip_norm >= 0, f"optim.clip_norm={self.clip_norm} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How long and how a run trains."""

    seed: int = 0
    batch_size: int = 64
    """Clips a step, over all processes and accumulated parts; each gives two views."""
    accumulate: int = 1
    """Parts that a process's share of the batch is computed in, one after another."""
    max_steps: int = 10_000
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: bool = False
    """torch.compile of the network."""
    share_batch_norms: bool = True
    """Whether several processes take the statistics of batch norms together: as one process would, but slower."""
    checkpoint_every_s: float = 120.0
    keep_every: int = 0
    """Steps from one set of weights that is kept, ``step-<steps>.safetensors``, to the next; 0 means that none is."""
    val_every: int = 500
    """Steps from one validation to the next; 0 means never."""
    val_batches: int = 8
    """Batches of the fixed validation set."""
    patience: int = 0
    """Validations without a better loss after which the run ends; 0 means never."""

    def __post_init__(self) -> None:
        for name in ("accumulate", "max_steps", "val_batches"):
            require(getattr(self, name) >= 1, f"run.{name}={getattr(self, name)} must be at least 1")
        for name in ("val_every", "patience", "seed", "keep_every"):
            require(getattr(self, name) >= 0, f"run.{name}={getattr(self, name)} must not be negative")
        require(self.batch_size >= 1, f"run.batch_size={self.batch_size} must be at least 1")
        require(
            self.batch_size % self.accumulate == 0,
            f"run.batch_size={self.batch_size} must be a multiple of run.accumulate={self.accumulate}",
        )
        require(self.checkpoint_every_s > 0, f"run.checkpoint_every_s={self.checkpoint_every_s} must be positive")
