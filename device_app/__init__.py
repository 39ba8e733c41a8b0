"""Earmark on the device: teach a sound from a handful of recordings, hear it live, offline."""

__version__ = "0.1.0"
