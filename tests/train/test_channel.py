"""Rooms and microphones, against what their parts are by definition."""

import numpy as np
import pytest
import torch

from tests.train.tiny import tiny_config
from train.augment import channel
from train.augment.chain import Augmenter

RATE = 16_000


def heard(clips: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return channel.record(clips, RATE, torch.Generator().manual_seed(seed))


def only(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    """Turn the parts off that a test is not about."""
    off = {"CUTOFF_HZ": (1e9, 1e9), "TILT_DB": 0.0, "DIRECT_DB": (400.0, 400.0)}
    for name, value in {**off, **settings}.items():
        monkeypatch.setattr(channel, name, value)


def test_a_channel_without_parts_gives_the_clip_back(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    clips = torch.randn(5, 4000, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(heard(clips), clips, rtol=0, atol=1e-4)


def test_power_stays_and_silence_stays_silence() -> None:
    clips = torch.randn(20, RATE, generator=torch.Generator().manual_seed(1))
    clips[3] = 0.0
    power = heard(clips).square().mean(dim=1)
    torch.testing.assert_close(power, clips.square().mean(dim=1), rtol=1e-3, atol=0)
    assert power[3] == 0.0


def test_the_low_pass_leaves_half_of_the_clips_little_above_its_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, CUTOFF_HZ=(3000.0, 3000.0))
    clips = torch.randn(200, 4000, generator=torch.Generator().manual_seed(1))
    frequency = torch.fft.rfftfreq(4000, 1 / RATE)
    power = torch.fft.rfft(heard(clips)).abs().square()
    share = power[:, frequency > 4500].mean(dim=1) / power[:, frequency < 2000].mean(dim=1)
    assert 80 <= int((share < 0.01).sum()) <= 120
    assert 80 <= int((share > 0.8).sum()) <= 120


def test_the_tail_of_a_click_decays_exponentially(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, DIRECT_DB=(0.0, 0.0), DECAY_S=(0.3, 0.3))
    clicks = torch.zeros(400, RATE)
    clicks[:, 1000] = 1.0
    tails = heard(clicks)[:, 1001 : 1001 + round(0.2 * RATE)]
    tails = tails[tails.abs().amax(dim=1) > 1e-6]
    assert 160 <= len(tails) <= 240
    level = 10 * np.log10(tails.square().mean(dim=0).reshape(10, -1).mean(dim=1).numpy())
    slope = np.polyfit(np.arange(10) * 0.02, level, 1)[0]
    assert slope == pytest.approx(-60 / 0.3, rel=0.05)  # by definition 60 dB in the decay time


def test_the_share_of_clips_that_go_through_a_channel_is_the_one_asked_for() -> None:
    cfg = tiny_config()
    augmenter = Augmenter(cfg.augment, RATE)
    clips = torch.randn(400, 4000, generator=torch.Generator().manual_seed(1))
    once, again = (augmenter.through_channels(clips, 0.5, seed=3) for _ in range(2))
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    # A clip whose channel has none of the three parts comes back as it was, one in eight.
    changed = int(((once - clips).abs().amax(dim=1) > 1e-3).sum())
    assert 145 <= changed <= 205
    assert augmenter.through_channels(clips, 0.0, seed=3) is clips
