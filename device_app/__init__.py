"""Earmark on the device: teach a sound from a handful of recordings, hear it live, offline."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("earmark")
except PackageNotFoundError:  # a checkout that was not installed
    __version__ = "0+unknown"
