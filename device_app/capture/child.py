"""The capture process: opens one source and sends it to its parent, ``python -m device_app.capture.child ORDER``.

It runs on its own so that a sound library that hangs, crashes or keeps an old list of devices is mended by starting
another. It speaks :mod:`device_app.capture.protocol` on what was its standard output, and ends when its standard input
does: the parent holds the other end and never writes to it.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from device_app.capture.end_with_parent import die_with_parent
from device_app.capture.failures import LibraryError, UnpluggedError
from device_app.capture.protocol import encode_frame
from device_app.errors import AudioError, DeviceError, EarmarkError


def main() -> int:
    """Carry out the order given as JSON in the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the parent's to answer
    _end_with_parent()
    # Whatever a library prints must not get between the frames.
    pipe = os.dup(1)
    os.dup2(2, 1)

    def send(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(pipe, view) :]

    try:
        _run(json.loads(sys.argv[1]), send)
    except BrokenPipeError:
        return 1  # the parent has gone
    return 0


def _run(order: dict[str, Any], send: Callable[[bytes], None]) -> None:
    """Open what is ordered; libraries are loaded only for the kind of source that needs them."""
    kind = order.pop("kind")
    try:
        if kind == "file":
            from device_app.capture.file_reader import FileOrder, read_file

            read_file(FileOrder(**order), send)
        elif kind == "stdin":
            from device_app.capture.raw_samples import StdinOrder, read_stdin

            read_stdin(StdinOrder(**order), send)
        elif kind == "network":
            from device_app.capture.network_stream import NetworkOrder, read_stream

            read_stream(NetworkOrder(**order), send)
        elif kind == "microphone":
            from device_app.capture.microphone import MicrophoneOrder, record

            record(MicrophoneOrder(**order), send)
        else:
            from device_app.capture.microphone import query_devices

            send(encode_frame({"type": "devices", "devices": [asdict(device) for device in query_devices()]}))
    except AudioError as err:
        send(_error("audio", "missing", err))
    except LibraryError as err:
        send(_error("library", "missing", err))
    except UnpluggedError as err:
        send(_error("device", "unplugged", err))
    except DeviceError as err:
        send(_error("device", "missing", err))


def _error(kind: str, reason: str, err: EarmarkError) -> bytes:
    return encode_frame({"type": "error", "kind": kind, "reason": reason, "sentence": str(err)})


def _end_with_parent() -> None:
    die_with_parent()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
