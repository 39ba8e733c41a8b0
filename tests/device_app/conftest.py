"""Fixtures of the device's tests."""

from tests.device_app.virtual_mic import virtual_mic

__all__ = ["virtual_mic"]
