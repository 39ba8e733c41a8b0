from typing import Any

from train.config import Config, config_from_dict

RATE = 16_000


def tiny_config(**sections: dict[str, Any]) -> Config:
    """A network and a run small enough for a test; sections given here are laid over it."""
    settings: dict[str, dict[str, Any]] = {
        "frontend": {"n_fft": 512, "win_length": 400, "hop_length": 320, "n_mels": 16, "log_mean": 2.5, "log_std": 4.5},
        "data": {"clip_s": 0.25, "val_fraction": 0.3},
        "model": {"width": 4, "head_dim": 8},
        "loss": {"projector_dim": 8, "temperature": 0.2},
        "optim": {"warmup_steps": 2},
        "run": {"batch_size": 6, "max_steps": 6, "val_every": 0, "val_batches": 1},
    }
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    return config_from_dict(settings)
