"""Notes and short phrases played with every preset of a SoundFont, by fluidsynth."""

import random
import re
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from train.debian.clips import Writer, decode
from train.debian.tools import RATE, Recipe, run
from train.errors import CorpusError

_DRUMS = 128
"""The bank whose presets are drum kits."""
_LEAD_S = 0.02
"""Seconds of a slice before its first note."""
_SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 3, 5, 6, 7, 10),
    (0, 2, 4, 7, 9),
    tuple(range(12)),
)


@dataclass(frozen=True, slots=True)
class Event:
    """A note's beginning or end."""

    time_s: float
    on: int
    key: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Slice:
    """What to cut out of the rendered audio."""

    start_s: float
    end_s: float
    name: str


def render(path: Path, member: str, licence: str, writer: Writer) -> None:
    """Play every preset of the SoundFont at ``path`` and keep the clips.

    Raises:
        CorpusError: If it is no SoundFont, or fluidsynth is missing.
    """
    recipe = writer.recipe
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        for bank, program, name in presets(path):
            events, slices = plan(bank, random.Random(f"{recipe.seed}:{writer.package}:{bank}:{program}"), recipe)
            midi.write_bytes(midi_file(events, bank, program))
            options = ["-ni", "-q", "-r", "44100", "-g", "0.5", "-O", "s16", "-T", "wav"]
            bank_select = ["-o", "synth.midi-bank-select=gs"]
            run(["fluidsynth", *options, *bank_select, "-F", str(wav), str(path), str(midi)])
            x = decode(wav.read_bytes(), ".wav")
            safe = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
            for i, cut in enumerate(slices):
                first = cut.start_s - _LEAD_S
                clip = x[int(first * RATE) : int(min(cut.end_s, first + recipe.clip_s) * RATE)]
                source = f"{member}#b{bank:03d}-p{program:03d}-{safe}-{cut.name}"
                writer.add(clip, "instrument", licence, "rendered", source, i)


def presets(path: Path) -> list[tuple[int, int, str]]:
    """Bank, program and name of each preset: the ``phdr`` chunk of the SoundFont 2.04 specification, section 7.2.

    Raises:
        CorpusError: If there is no such chunk.
    """
    data = path.read_bytes()
    at = data.find(b"phdr")
    if data[:4] != b"RIFF" or at < 0:
        raise CorpusError(f"{path.name} is not a SoundFont 2 file")
    (size,) = struct.unpack("<I", data[at + 4 : at + 8])
    found = []
    for offset in range(at + 8, at + 8 + size - 38, 38):  # the last record only marks the end
        program, bank = struct.unpack("<HH", data[offset + 20 : offset + 24])
        name = data[offset : offset + 20].split(b"\0")[0].decode("latin-1").strip()
        found.append((bank, program, name))
    return sorted(found)


def plan(bank: int, rng: random.Random, recipe: Recipe) -> tuple[list[Event], list[Slice]]:
    """What to play with a preset and how to cut it: single notes, then phrases of one to three voices."""
    events: list[Event] = []
    slices: list[Slice] = []
    t = 0.5
    keys = list(range(35, 82)) if bank == _DRUMS else list(range(28, 97))
    for _ in range(recipe.notes_per_preset):
        key, velocity, hold = rng.choice(keys), rng.randint(45, 127), rng.uniform(0.3, 2.5)
        events += [Event(t, 1, key, velocity), Event(t + hold, 0, key, 0)]
        end = t + hold + rng.uniform(0.3, 1.0)
        slices.append(Slice(t, end, f"note{key:03d}-v{velocity:03d}"))
        t = end + 1.5
    for number in range(recipe.phrases_per_preset):
        start, end = t, t + rng.uniform(5.0, 9.5)
        root, beat = rng.randint(40, 72), rng.uniform(0.12, 0.6)
        scale = rng.choice(_SCALES)
        voices, held = rng.choice((1, 1, 2, 3)), dict[int, float]()
        while t < end - beat:
            for _ in range(voices):
                key = rng.choice(keys) if bank == _DRUMS else _melody_key(root, scale, rng)
                if held.get(key, -1) < t:
                    held[key] = min(t + beat * rng.uniform(0.4, 1.5), end)
                    events += [Event(t, 1, key, rng.randint(50, 120)), Event(held[key], 0, key, 0)]
            t += beat * rng.choice((1, 1, 1, 2, 0.5))
        slices.append(Slice(start, end, f"phrase{number:02d}"))
        t = end + 2.0
    return events, slices


def _melody_key(root: int, scale: tuple[int, ...], rng: random.Random) -> int:
    return min(96, root + rng.choice(scale) + 12 * rng.choice((-1, 0, 0, 1)))


def midi_file(events: list[Event], bank: int, program: int) -> bytes:
    """A Standard MIDI File of one track, 1000 ticks a second."""
    channel = 9 if bank == _DRUMS else 0
    track = b"\0\xff\x51\x03" + (1_000_000).to_bytes(3, "big")  # tempo: a quarter note a second
    if bank != _DRUMS:
        track += b"\0" + bytes([0xB0 | channel, 0, bank])
    track += b"\0" + bytes([0xC0 | channel, program])
    tick = 0
    for event in sorted(events, key=lambda event: (event.time_s, event.on)):
        now = round(event.time_s * 1000)
        track += _variable_length(now - tick)
        track += bytes([(0x90 if event.on else 0x80) | channel, event.key, event.velocity])
        tick = now
    track += b"\0\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000) + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(n: int) -> bytes:
    groups = [n & 127]
    while n > 127:
        n >>= 7
        groups.append(128 | n & 127)
    return bytes(reversed(groups))
