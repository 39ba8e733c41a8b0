"""The capture process's microphone side: PortAudio at the device's own rate and channel count, as mono blocks."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_app.arrays import FloatArray
from device_app.capture.failures import LibraryError, UnpluggedError
from device_app.capture.mono import to_mono
from device_app.capture.protocol import encode_frame, encode_waveform
from device_app.capture.ring_buffer import RawBlock, RingBuffer
from device_app.capture.sample_clock import SampleClock
from device_app.device_list import InputDevice, describe_devices, pick_device
from device_app.errors import DeviceError

_log = logging.getLogger(__name__)

_MOST_REAL_CHANNELS = 16
"""ALSA's plug-ins claim 32 channels or more, whatever the device behind them has."""

_LONGEST_OVERRUN_S = 60.0
"""A jump of PortAudio's clock beyond this is no overrun, but a driver that leaves the field empty."""


@dataclass(frozen=True, slots=True)
class MicrophoneOrder:
    """What the parent asks for."""

    device: str | None
    channel: int | None
    block_s: float
    buffer_s: float


def load_portaudio() -> Any:
    """The ``sounddevice`` module, its library loaded and initialised.

    Raises:
        LibraryError: If the PortAudio library is not there.
        DeviceError: If it cannot be initialised.
    """
    try:
        import sounddevice
    except OSError as err:
        raise LibraryError(
            f"the PortAudio library, which records from a microphone, cannot be loaded ({err}): "
            "install it with `sudo apt install libportaudio2`"
        ) from err
    except Exception as err:  # sounddevice initialises PortAudio as it is imported, with an error class of its own
        raise DeviceError(f"PortAudio cannot be started ({err}): check the sound server") from err
    return sounddevice


def query_devices() -> list[InputDevice]:
    """The input devices, as PortAudio saw them when this process loaded it.

    Raises:
        DeviceError: If PortAudio is not there or does not answer.
    """
    portaudio = load_portaudio()
    try:
        return describe_devices(
            portaudio.query_devices(), portaudio.query_hostapis(), _default_input(portaudio.default.device)
        )
    except portaudio.PortAudioError as err:
        raise DeviceError(f"PortAudio cannot list the microphones ({_reason(err)}): check the sound server") from err


def _default_input(pair: Any) -> int:
    return int(pair[0])


def record(order: MicrophoneOrder, send: Callable[[bytes], None]) -> None:
    """Send what a microphone hears as frames of the protocol, until it goes away.

    Raises:
        DeviceError: If there is no such microphone, it cannot be opened, or it goes away.
    """
    portaudio = load_portaudio()
    device = pick_device(query_devices(), order.device)
    if order.channel is not None and order.channel >= device.n_channels:
        raise DeviceError(
            f"the microphone {device.name!r} has {device.n_channels} channel(s), so there is no channel "
            f"{order.channel}: choose one of 0 to {device.n_channels - 1}, or none for their mean"
        )
    refusals: list[str] = []
    for n_channels, rate in _settings(device, order.channel):
        ring = RingBuffer(round(order.buffer_s * rate))
        try:
            with portaudio.InputStream(
                device=device.index,
                channels=n_channels,
                samplerate=rate,
                blocksize=max(1, round(order.block_s * rate)),
                dtype="float32",
                latency="high",
                callback=_callback(ring, rate),
                finished_callback=ring.end,
            ):
                _log.info("%s open: %d channels at %d Hz", device.name, n_channels, rate)
                send(
                    encode_frame({"type": "open", "sample_rate": rate, "n_channels": n_channels, "device": device.name})
                )
                _forward(ring, rate, order.channel, send)
            raise UnpluggedError(f"the microphone {device.name!r} went away")
        except portaudio.PortAudioError as err:
            refusals.append(_reason(err))
    raise DeviceError(
        f"the microphone {device.name!r} cannot be opened ({refusals[0]}): close other programs that record from it, "
        "or choose another of `earmark devices`"
    )


def _settings(device: InputDevice, channel: int | None) -> Iterator[tuple[int, int]]:
    """Channel counts and rates to try, the device's own first: never the model's rate, which is resampled to later."""
    wanted = 1 if channel is None else channel + 1
    counts = [device.n_channels] if device.n_channels <= _MOST_REAL_CHANNELS else []
    counts += [n for n in (max(2, wanted), wanted) if n <= device.n_channels]
    for rate in dict.fromkeys((device.sample_rate, 48000, 44100)):
        for n_channels in dict.fromkeys(counts):
            yield n_channels, rate


def _callback(ring: RingBuffer, rate: int) -> Callable[[FloatArray, int, Any, Any], None]:
    """PortAudio's callback: copies its block into the ring and counts what PortAudio dropped, nothing else."""
    last_adc = 0.0

    def callback(frames: FloatArray, n_frames: int, moment: Any, status: Any) -> None:
        nonlocal last_adc
        n_lost = 0
        if status.input_overflow:  # PortAudio does not say how much it dropped: at least something
            missing_s = moment.inputBufferAdcTime - last_adc if last_adc else 0.0
            n_lost = max(1, round(missing_s * rate)) if missing_s < _LONGEST_OVERRUN_S else 1
        last_adc = moment.inputBufferAdcTime + n_frames / rate
        # Not dated by PortAudio's ADC time: through a sound server it is off by half a second while a stream starts,
        # and back to zero later, though no audio is missing (measured with PulseAudio 16).
        ring.put(RawBlock(frames.copy(), n_lost, time.monotonic() - n_frames / rate))

    return callback


def _forward(ring: RingBuffer, rate: int, channel: int | None, send: Callable[[bytes], None]) -> None:
    clock = SampleClock(rate)
    n_unusable = 0
    while (block := ring.get()) is not None:
        if not np.isfinite(block.frames).all():  # a driver's fault: no sound is better than one that nobody made
            n_unusable += block.n_lost + len(block.frames)
            continue
        n_lost, first = clock.add(len(block.frames), block.n_lost + n_unusable, block.heard)
        n_unusable = 0
        waveform = np.clip(to_mono(block.frames, channel), -1.0, 1.0)
        header = {
            "type": "block",
            "n_lost": n_lost,
            "time": time.time() - (time.monotonic() - first),
            "monotonic": first,
        }
        send(encode_frame(header, encode_waveform(waveform)))


def _reason(err: Exception) -> str:
    return str(err.args[0] if err.args else err).removesuffix(".")
