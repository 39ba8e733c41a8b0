"""Audio from a microphone, files, a pipe or the network, captured in a process that is watched and restarted.

All of it takes the same way from that process on::

    with Capture(FileSource(Path("day.flac"))) as capture:
        ended = False
        while not ended:
            for item in capture.read(timeout_s=1.0):
                match item:
                    case Block():
                        ...  # item.waveform at item.sample_rate
                    case Notice():
                        ended = item.state == "ended"
"""

from device_app.capture.blocks import Block, Notice
from device_app.capture.patience import Patience
from device_app.capture.sources import FileSource, MicrophoneSource, NetworkSource, Source, StdinSource
from device_app.capture.stream import Capture

__all__ = [
    "Block",
    "Capture",
    "FileSource",
    "MicrophoneSource",
    "NetworkSource",
    "Notice",
    "Patience",
    "Source",
    "StdinSource",
]
