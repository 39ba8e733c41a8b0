"""The input devices of this machine, under names that stay the same from boot to boot.

PortAudio's indices, and ALSA's card numbers, change with the order in which devices are found. Here a USB device is
named by vendor, product and serial number, another card by its ALSA id, and what is no card (``default``, ``pulse``) by
PortAudio's own name for it.
"""

import json
import re
import selectors
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from device_app.errors import DeviceError

_HARDWARE = re.compile(r"\(hw:(\d+),(\d+)\)")
_LIST_TIMEOUT_S = 30.0

NO_DEVICE = (
    "this machine has no microphone that PortAudio can see: plug one in (or start the sound server), "
    "or listen to a recording with --source FILE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDevice:
    """A device that can be recorded from."""

    name: str
    """Stable: ``usb:VENDOR:PRODUCT[:SERIAL]``, ``alsa:CARD_ID[,DEVICE]``, or PortAudio's name."""
    description: str
    """PortAudio's name for it."""
    host_api: str
    n_channels: int
    sample_rate: int
    """Hz, its default."""
    is_default: bool
    index: int
    """PortAudio's, which means something in the process that asked and nowhere else."""


def describe_devices(
    devices: Sequence[Mapping[str, Any]],
    host_apis: Sequence[Mapping[str, Any]],
    default_index: int,
    *,
    proc: Path = Path("/proc/asound"),
    sys_sound: Path = Path("/sys/class/sound"),
) -> list[InputDevice]:
    """Name the input devices among those that PortAudio lists.

    Args:
        devices: As ``sounddevice.query_devices()`` gives them.
        host_apis: As ``sounddevice.query_hostapis()`` gives them.
        default_index: The default input device's, or negative.
        proc: Where ALSA tells its cards' ids.
        sys_sound: Where the kernel tells which USB device a card is.
    """
    found = [
        InputDevice(
            name=_stable_name(str(raw["name"]), proc, sys_sound),
            description=str(raw["name"]),
            host_api=str(host_apis[raw["hostapi"]]["name"]),
            n_channels=int(raw["max_input_channels"]),
            sample_rate=round(raw["default_samplerate"]),
            is_default=index == default_index,
            index=index,
        )
        for index, raw in enumerate(devices)
        if raw["max_input_channels"] > 0
    ]
    return _told_apart(found, sys_sound)


def _stable_name(description: str, proc: Path, sys_sound: Path) -> str:
    hardware = _HARDWARE.search(description)
    if hardware is None:
        return description
    card, device = hardware.groups()
    name = _usb_name(sys_sound / f"card{card}") or _usb_name_from_proc(proc / f"card{card}")
    if name is None:
        card_id = _read(proc / f"card{card}" / "id") or _read(sys_sound / f"card{card}" / "id")
        if card_id is None:
            return description
        name = f"alsa:{card_id}"
    return name if device == "0" else f"{name},{device}"


def _usb_name(card: Path) -> str | None:
    usb = (card / "device").resolve().parent  # the card's device is an interface of the USB device
    vendor, product = _read(usb / "idVendor"), _read(usb / "idProduct")
    if vendor is None or product is None:
        return None
    serial = _read(usb / "serial")
    return f"usb:{vendor}:{product}" + (f":{serial}" if serial else "")


def _usb_name_from_proc(card: Path) -> str | None:
    ids = _read(card / "usbid")
    return f"usb:{ids}" if ids else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _told_apart(devices: list[InputDevice], sys_sound: Path) -> list[InputDevice]:
    """Twins (the same product twice, without serial numbers) are told apart by the socket they are in."""
    counts = Counter(device.name for device in devices)
    told = []
    for device in devices:
        name = device.name
        hardware = _HARDWARE.search(device.description)
        if counts[name] > 1:
            socket = (sys_sound / f"card{hardware[1]}" / "device").resolve().parent.name if hardware else ""
            name = f"{name}@{socket or device.host_api}"
        told.append(InputDevice(**{**asdict(device), "name": name}))
    return told


def pick_device(devices: Sequence[InputDevice], name: str | None) -> InputDevice:
    """The device of that name, or the default one.

    Args:
        devices: All there are.
        name: A stable name, PortAudio's name, or a part of either that fits one device only; None for the default.

    Raises:
        DeviceError: If there is no such device, or more than one, or none at all.
    """
    if not devices:
        raise DeviceError(NO_DEVICE)
    choices = ", ".join(repr(device.name) for device in devices)
    if name is None:
        for device in devices:
            if device.is_default:
                return device
        raise DeviceError(f"this machine has no default microphone: choose one with --device, of {choices}")
    for exact in (
        [device for device in devices if device.name == name],
        [device for device in devices if device.description == name],
    ):
        if exact:
            return exact[0]
    partial = [
        d for d in devices if name.casefold() in d.name.casefold() or name.casefold() in d.description.casefold()
    ]
    if len(partial) == 1:
        return partial[0]
    if partial:
        fitting = ", ".join(repr(device.name) for device in partial)
        raise DeviceError(f"the name {name!r} fits more than one microphone: choose one of {fitting}")
    raise DeviceError(f"there is no microphone {name!r}: choose one of {choices}")


def list_devices() -> list[InputDevice]:
    """The input devices that are there now.

    PortAudio is asked in a process of its own, so that its list is fresh and what its libraries print
    is out of the way.

    Raises:
        DeviceError: If PortAudio is missing or does not answer.
    """
    from device_app.capture.child_process import ChildProcess  # the capture process itself imports this module

    child = ChildProcess({"kind": "devices"})
    until = time.monotonic() + _LIST_TIMEOUT_S
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(child.data_fd, selectors.EVENT_READ)
            while (left := until - time.monotonic()) > 0:
                if not selector.select(left):
                    continue
                child.read_log()
                frames = child.read_frames()
                for header, _ in frames or []:
                    if header["type"] == "error":
                        raise DeviceError(header["sentence"])
                    return [InputDevice(**entry) for entry in header["devices"]]
                if frames is None:
                    status = child.exit_status()
                    raise DeviceError(
                        f"PortAudio crashed while it listed the microphones (status {status} {child.last_words}): "
                        "check the sound server, or listen to a recording with --source FILE"
                    )
    finally:
        child.end()
    raise DeviceError(
        f"PortAudio did not list the microphones within {_LIST_TIMEOUT_S:g} s: restart the sound server, "
        "or listen to a recording with --source FILE"
    )


def find_device(name: str | None) -> InputDevice:
    """The device of that name, or the default one, as of now.

    Raises:
        DeviceError: If it is not there; the sentence lists those that are.
    """
    return pick_device(list_devices(), name)


def print_devices(*, as_json: bool = False) -> int:
    """``earmark devices``: the input devices on standard output. Returns the exit status.

    Raises:
        DeviceError: If PortAudio is missing or does not answer, or there are none and a person is to be told.
    """
    write_devices(list_devices(), sys.stdout, as_json=as_json)
    return 0


def write_devices(devices: Sequence[InputDevice], out: TextIO, *, as_json: bool = False) -> None:
    """The devices as a table, or one JSON object a line.

    Raises:
        DeviceError: If there are none, and a person is to be told.
    """
    if as_json:
        for device in devices:
            entry = {key: value for key, value in asdict(device).items() if key != "index"}
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")
        return
    if not devices:
        raise DeviceError(NO_DEVICE)
    rows = [("NAME", "DEVICE", "CHANNELS", "RATE", "")]
    rows += [
        (d.name, d.description, str(d.n_channels), f"{d.sample_rate} Hz", "default" if d.is_default else "")
        for d in devices
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        out.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
