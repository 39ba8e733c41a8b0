"""Audio from a microphone or a file, captured in a process of its own that is watched and restarted.

A file's audio and a microphone's take the same way from that process on::

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

from device_app.capture.blocks import Block, FileSource, MicrophoneSource, Notice, Patience, Source
from device_app.capture.stream import Capture

__all__ = ["Block", "Capture", "FileSource", "MicrophoneSource", "Notice", "Patience", "Source"]
