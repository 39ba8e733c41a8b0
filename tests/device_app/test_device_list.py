import io
import json
from pathlib import Path
from typing import Any

import pytest

from device_app.device_list import describe_devices, pick_device, write_devices
from device_app.errors import DeviceError

APIS = [{"name": "ALSA"}]


def raw(name: str, n_in: int = 1, rate: float = 48000.0) -> dict[str, Any]:
    return {"name": name, "hostapi": 0, "max_input_channels": n_in, "default_samplerate": rate}


def usb_card(tree: Path, number: int, socket: str, serial: str | None, card_id: str) -> None:
    """A sound card as the kernel shows it: /sys/class/sound/cardN/device is an interface of the USB device."""
    usb = tree / "devices" / socket
    interface = usb / f"{socket}:1.0"
    interface.mkdir(parents=True)
    (usb / "idVendor").write_text("0d8c\n")
    (usb / "idProduct").write_text("013c\n")
    if serial:
        (usb / "serial").write_text(f"{serial}\n")
    card = tree / "sys" / f"card{number}"
    card.mkdir(parents=True)
    (card / "device").symlink_to(interface)
    proc = tree / "proc" / f"card{number}"
    proc.mkdir(parents=True)
    (proc / "id").write_text(f"{card_id}\n")


def names(tree: Path, *descriptions: str) -> list[str]:
    devices = describe_devices(
        [raw(name) for name in descriptions], APIS, 0, proc=tree / "proc", sys_sound=tree / "sys"
    )
    return [device.name for device in devices]


def test_a_usb_microphone_keeps_its_name_when_cards_are_renumbered(tmp_path: Path) -> None:
    for number in (2, 5):
        usb_card(tmp_path / str(number), number, "1-1.2", "A17", "Device")
        assert names(tmp_path / str(number), f"USB PnP: Audio (hw:{number},0)") == ["usb:0d8c:013c:A17"]


def test_another_card_is_named_by_its_alsa_id_and_its_devices_told_apart(tmp_path: Path) -> None:
    (tmp_path / "proc" / "card0").mkdir(parents=True)
    (tmp_path / "proc" / "card0" / "id").write_text("PCH\n")
    assert names(tmp_path, "HDA Intel PCH: ALC257 (hw:0,0)", "HDA Intel PCH: Alt (hw:0,2)") == [
        "alsa:PCH",
        "alsa:PCH,2",
    ]


def test_a_usb_card_without_sysfs_is_named_from_proc(tmp_path: Path) -> None:
    (tmp_path / "proc" / "card1").mkdir(parents=True)
    (tmp_path / "proc" / "card1" / "usbid").write_text("046d:0825\n")
    assert names(tmp_path, "Webcam: USB Audio (hw:1,0)") == ["usb:046d:0825"]


def test_twins_without_serial_numbers_are_told_apart_by_their_sockets(tmp_path: Path) -> None:
    usb_card(tmp_path, 1, "1-1.2", None, "Device")
    usb_card(tmp_path, 2, "1-1.3", None, "Device_1")
    assert names(tmp_path, "USB PnP: Audio (hw:1,0)", "USB PnP: Audio (hw:2,0)") == [
        "usb:0d8c:013c@1-1.2",
        "usb:0d8c:013c@1-1.3",
    ]


def test_what_is_no_card_keeps_portaudios_name_and_outputs_are_left_out(tmp_path: Path) -> None:
    devices = describe_devices(
        [raw("HDMI (hw:0,3)", n_in=0), raw("pulse", 32, 44100.0), raw("Unknown (hw:9,0)")], APIS, 1, proc=tmp_path
    )
    assert [(d.name, d.index, d.is_default) for d in devices] == [("pulse", 1, True), ("Unknown (hw:9,0)", 2, False)]
    assert (devices[0].n_channels, devices[0].sample_rate, devices[0].host_api) == (32, 44100, "ALSA")


def test_a_device_is_picked_by_its_name_or_by_a_part_that_fits_one_only(tmp_path: Path) -> None:
    devices = describe_devices([raw("pulse"), raw("Studio Mic A"), raw("Studio Mic B")], APIS, 0, proc=tmp_path)
    assert pick_device(devices, None).name == "pulse"
    assert pick_device(devices, "studio mic b").name == "Studio Mic B"
    with pytest.raises(
        DeviceError, match="fits more than one microphone: choose one of 'Studio Mic A', 'Studio Mic B'"
    ):
        pick_device(devices, "mic")
    with pytest.raises(DeviceError, match="no microphone 'usb': choose one of 'pulse', 'Studio Mic A', 'Studio Mic B'"):
        pick_device(devices, "usb")
    without_default = describe_devices([raw("pulse")], APIS, -1, proc=tmp_path)
    with pytest.raises(DeviceError, match="no default microphone: choose one with --device, of 'pulse'"):
        pick_device(without_default, None)


def test_the_table_names_each_device_and_json_has_one_a_line(tmp_path: Path) -> None:
    devices = describe_devices([raw("pulse", 2, 44100.0), raw("Mic")], APIS, 0, proc=tmp_path)
    table, lines = io.StringIO(), io.StringIO()
    write_devices(devices, table)
    write_devices(devices, lines, as_json=True)
    assert table.getvalue().splitlines() == [
        "NAME   DEVICE  CHANNELS  RATE",
        "pulse  pulse   2         44100 Hz  default",
        "Mic    Mic     1         48000 Hz",
    ]
    assert json.loads(lines.getvalue().splitlines()[0]) == {
        "name": "pulse",
        "description": "pulse",
        "host_api": "ALSA",
        "n_channels": 2,
        "sample_rate": 44100,
        "is_default": True,
    }


def test_no_device_is_an_error_for_people_and_no_line_for_programs() -> None:
    with pytest.raises(DeviceError, match="--source FILE"):
        write_devices([], io.StringIO())
    lines = io.StringIO()
    write_devices([], lines, as_json=True)
    assert lines.getvalue() == ""
