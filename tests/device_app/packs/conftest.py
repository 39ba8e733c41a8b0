from pathlib import Path

import pytest

from device_app.enrolment.profile import Profile
from device_app.enrolment.sound_settings import SoundSettings
from device_app.model.embedder import Embedder, load_embedder
from device_app.packs.exchange import export_pack
from tests.device_app.small_profile import bursts
from tests.device_app.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.onnx"))


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny: Embedder) -> Profile:
    profile = Profile(tmp_path_factory.mktemp("taught") / "profile")
    with profile.lock():
        profile.settings["dog"] = SoundSettings(false_alarms_per_day=3.0)
        profile.add_groups({"dog": bursts(0, 3), "-dog": bursts(3, 1), "bell": bursts(4, 2)}, tiny)
        profile.add("background", bursts(6, 1), tiny)
    return profile


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory, taught: Profile, tiny: Embedder) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packs")
    out = {}
    for name, with_audio in (("audio", True), ("bare", False)):
        out[name] = folder / f"{name}.zip"
        export_pack(taught, out[name], tiny, names=[], with_audio=with_audio, licence="CC0-1.0")
    return out
