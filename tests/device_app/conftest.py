"""Fixtures of the device's tests."""

from collections.abc import Iterator

import pytest

from tests.device_app.virtual_mic import virtual_mic

__all__ = ["virtual_mic"]


@pytest.fixture(autouse=True, scope="session")
def nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Settings and data of whoever runs the tests stay out of them, and as they are."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        yield
