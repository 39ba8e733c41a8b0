"""Why a source that goes on by itself stopped, where its process must tell the parent more than a sentence."""

from device_app.errors import DeviceError


class LibraryError(DeviceError):
    """What it is recorded with is not installed: another attempt will not help."""


class UnpluggedError(DeviceError):
    """It was there, and went away."""
