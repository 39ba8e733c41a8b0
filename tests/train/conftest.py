import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.train.sounds import write_sounds
from tests.train.tiny import RATE
from train.corpus.cache import Cache, build_cache


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 short recordings in three domains: tones, noises and clicks, between 0.1 and 0.9 s."""
    return write_sounds(tmp_path_factory.mktemp("audio"), 24)


@pytest.fixture(scope="session")
def cache(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return build_cache([audio], tmp_path_factory.mktemp("cache"), RATE, progress=False)
