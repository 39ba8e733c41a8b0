"""A double of the ``sounddevice`` module, for microphones that misbehave on command.

It reads what to do from the JSON file named by EARMARK_TEST_PORTAUDIO, before every block:

``devices``
    Each with ``name``, ``channels`` and ``rate``; the first is the default one. Like PortAudio's, the list is frozen
    when the module is loaded.
``sound``
    ``ramp``: channel c of sample n is ((n + 1000 c) mod 16000) / 32768 + 0.1, so that every gap shows; ``zeros``;
    ``nan``.
``hang``
    No callbacks any more.
``overflows``
    How many of a stream's first callbacks come after an overrun of 100 samples.
"""

import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

N_OVERRUN = 100


class PortAudioError(Exception):
    pass


def _control():
    return json.loads(Path(os.environ["EARMARK_TEST_PORTAUDIO"]).read_text())


_DEVICES = _control()["devices"]
default = SimpleNamespace(device=(0 if _DEVICES else -1, -1))


def query_devices():
    return [
        {"name": d["name"], "hostapi": 0, "max_input_channels": d["channels"], "default_samplerate": float(d["rate"])}
        for d in _DEVICES
    ]


def query_hostapis():
    return [{"name": "double"}]


class InputStream:
    def __init__(self, device, channels, samplerate, blocksize, callback, finished_callback, **_):
        self._device = _DEVICES[device]
        if channels > self._device["channels"] or samplerate != self._device["rate"]:
            raise PortAudioError("Invalid sample rate or number of channels [PaErrorCode -9997]")
        self._n_channels, self._rate, self._n_block = channels, samplerate, blocksize
        self._callback, self._finished = callback, finished_callback
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()

    def _run(self):
        began, n, n_overflows = time.monotonic(), 0, 0
        while not self._stop.is_set():
            time.sleep(max(0.0, began + (n + self._n_block) / self._rate - time.monotonic()))
            try:
                control = _control()
            except ValueError:
                continue  # it is just being written
            if self._device not in control["devices"]:
                break
            overflow = n_overflows < control["overflows"]
            n_overflows += overflow
            n += N_OVERRUN * overflow
            positions = np.arange(n, n + self._n_block)[:, None] + 1000 * np.arange(self._n_channels)
            frames = ((positions % 16000) / 32768 + 0.1).astype(np.float32)
            frames *= {"ramp": 1.0, "zeros": 0.0, "nan": np.nan}[control["sound"]]
            while control["hang"]:
                time.sleep(60.0)
            moment = SimpleNamespace(currentTime=time.time(), inputBufferAdcTime=began + n / self._rate)
            n += self._n_block
            self._callback(frames, self._n_block, moment, SimpleNamespace(input_overflow=overflow))
        self._finished()
