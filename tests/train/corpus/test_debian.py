"""The corpus builder without Debian: packages are folders here, everything else is the real thing."""

import csv
import hashlib
import io
import itertools
import json
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from train.debian import build
from train.debian.build import build_corpus
from train.debian.clips import Known, decode, spans
from train.debian.instruments import Event, midi_file, plan, presets
from train.debian.licences import licence_of, stanzas
from train.debian.packages import Package, read_list
from train.debian.tools import RATE, Recipe, run
from train.errors import CorpusError

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: GPL-2+

Files: sounds/voices/* sounds/odd.ogg
License: CC-BY-SA-3.0
 the text
 of it

Files: sounds/voices/free.ogg
License: CC0
"""


def wav(x: np.ndarray, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, x, rate, format="WAV")
    return buffer.getvalue()


def sound(seed: int, seconds: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal(int(seconds * 20) + 1).repeat(800)[: int(seconds * RATE)]
    return 0.1 * steps * rng.standard_normal(int(seconds * RATE))


# --- the list and the licences ----------------------------------------------------------------------------------------


def test_the_list_names_twelve_packages_and_its_rules_put_files_into_domains() -> None:
    packages = {package.name: package for package in read_list()}
    assert len(packages) == 12
    hedgewars = packages["hedgewars-data"]
    assert hedgewars.classify("usr/share/hedgewars/Data/Sounds/voices/British/a.ogg") == ("speech", "")
    assert hedgewars.classify("usr/share/hedgewars/Data/Music/Snow.ogg") == ("music", "")
    assert hedgewars.classify("usr/share/hedgewars/Data/Sounds/explosion.ogg") == ("effects", "")
    stamps = packages["tuxpaint-stamps-default"]
    assert stamps.classify("stamps/alphabets/german/a_desc.ogg")[0] == "speech"
    assert stamps.classify("stamps/vehicles/bathyscape.ogg") == ("vehicles", "GFDL-1.2")
    assert packages["asterisk-core-sounds-en-g722"].classify("en/silence/1.g722")[0] == "-"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Bad_Name\tmusic\tMIT\t\t\t\t", "lacks a package name"),
        ("good\t\tMIT\t\t\t\t", "lacks a package name, a domain"),
        ("good\tmusic\tMIT\t\t\t\tno arrow", "a rule without '=>'"),
        ("good\tmusic\tMIT\t\t\t\t(=>music", "is no regular expression"),
    ],
)
def test_a_wrong_line_of_the_list_is_refused(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text(f"# a comment\npackage\tdomain\tlicence\thours\tclips\tversion\trules\n{line}\n")
    with pytest.raises(CorpusError, match=message):
        read_list(path)


@pytest.mark.parametrize(
    ("member", "licence"),
    [
        ("usr/share/games/thing/sounds/voices/free.ogg", "CC0-1.0"),
        ("usr/share/games/thing/sounds/voices/a.ogg", "CC-BY-SA-3.0"),
        ("usr/share/games/thing/sounds/odd.ogg", "CC-BY-SA-3.0"),
        ("usr/share/games/thing/music/a.ogg", "GPL-2.0-or-later"),
    ],
)
def test_the_most_specific_stanza_of_debian_copyright_is_a_files_licence(member: str, licence: str) -> None:
    assert licence_of(stanzas(COPYRIGHT), member, "unknown") == licence


def test_a_copyright_file_that_is_prose_says_nothing() -> None:
    assert stanzas("This package was debianised by somebody.\n\nLicense: GPL") == []
    assert licence_of([], "a.ogg", "MIT") == "MIT"


# --- cutting, copies --------------------------------------------------------------------------------------------------


def test_music_gives_a_few_excerpts_apart_and_other_recordings_clips_in_a_row() -> None:
    recipe, rng = Recipe(music_excerpts=3, long_excerpts=4), random.Random(0)
    assert spans(5 * RATE, "music", rng, recipe) == [(0, 5 * RATE)]
    music = spans(125 * RATE, "music", rng, recipe)
    assert len(music) == 3
    assert all(last - first == 10 * RATE for first, last in music)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(music))
    assert spans(int(25.5 * RATE), "speech", rng, recipe) == [
        (0, 160_000),
        (160_000, 320_000),
        (320_000, 408_000),
    ]
    assert spans(int(20.5 * RATE), "speech", rng, recipe) == [(0, 160_000), (160_000, 320_000)]  # a crumb is left
    assert len(spans(100 * RATE, "speech", rng, recipe)) == 4


def test_a_near_copy_is_refused_and_another_sound_is_not() -> None:
    known = Known()
    x = (sound(0) * 32767).astype(np.int16)
    louder = (x.astype(float) * 1.3).round().astype(np.int16)
    assert known.is_new("a", x, near=True)
    assert not known.is_new("a", x, near=True)
    assert not known.is_new("b", louder, near=True)
    assert known.is_new("c", (sound(1) * 32767).astype(np.int16), near=True)
    assert known.is_new("d", louder, near=False)  # rendered notes may be alike


def test_channels_that_cancel_each_other_are_not_added() -> None:
    x = sound(3).astype(np.float32)
    y = decode(wav(np.stack([x, -x], axis=1)), ".wav")
    assert np.corrcoef(x, y)[0, 1] > 0.99


# --- SoundFonts -------------------------------------------------------------------------------------------------------


def test_presets_are_read_from_the_soundfonts_header(tmp_path: Path) -> None:
    def record(name: bytes, program: int, bank: int) -> bytes:
        return name.ljust(20, b"\0") + struct.pack("<HHHIII", program, bank, 0, 0, 0, 0)

    records = record(b"Violin", 40, 0) + record(b"Kit", 0, 128) + record(b"EOP", 0, 0)
    data = b"RIFF\0\0\0\0sfbkLIST\0\0\0\0pdtaphdr" + struct.pack("<I", len(records)) + records
    (tmp_path / "a.sf2").write_bytes(data)
    assert presets(tmp_path / "a.sf2") == [(0, 40, "Violin"), (128, 0, "Kit")]
    (tmp_path / "b.sf2").write_bytes(b"nothing")
    with pytest.raises(CorpusError, match=r"b.sf2 is not a SoundFont 2 file"):
        presets(tmp_path / "b.sf2")


def test_a_midi_file_is_the_standards_bytes() -> None:
    data = midi_file([Event(0.2, 1, 60, 100), Event(1.0, 0, 60, 0)], bank=0, program=40)
    track = (
        b"\x00\xff\x51\x03\x0f\x42\x40"  # a quarter note a second
        b"\x00\xb0\x00\x00\x00\xc0\x28"  # bank 0, program 40
        b"\x81\x48\x90\x3c\x64"  # 200 ticks on: note on
        b"\x86\x20\x80\x3c\x00"  # 800 ticks on: note off
        b"\x00\xff\x2f\x00"
    )
    assert data == b"MThd\0\0\0\x06\0\0\0\x01\x03\xe8MTrk" + struct.pack(">I", len(track)) + track


def test_a_plan_is_the_seeds_and_its_slices_do_not_overlap() -> None:
    recipe = Recipe(notes_per_preset=5, phrases_per_preset=2)
    events, slices = plan(0, random.Random(1), recipe)
    assert (events, slices) == plan(0, random.Random(1), recipe)
    assert len(slices) == 7
    assert all(a.end_s < b.start_s for a, b in itertools.pairwise(slices))
    sounding: dict[int, int] = {}
    for event in sorted(events, key=lambda event: (event.time_s, event.on)):
        sounding[event.key] = sounding.get(event.key, 0) + (1 if event.on else -1)
        assert 0 <= sounding[event.key] <= 1
    assert not any(sounding.values())


# --- the whole --------------------------------------------------------------------------------------------------------


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages: one with loose files, one with an archive; a third that cannot be had."""
    root = tmp_path / "debian"
    for name in ("loose", "packed"):
        docs = root / name / "usr/share/doc" / name
        docs.mkdir(parents=True)
        (docs / "copyright").write_text(COPYRIGHT)
        (root / name / "sounds" / "voices").mkdir(parents=True)
    voices = root / "loose" / "sounds" / "voices"
    (voices / "a.wav").write_bytes(wav(sound(1), 22_050))
    (voices / "a-copy.wav").write_bytes(wav(sound(1), 22_050))
    (voices / "long.wav").write_bytes(wav(sound(2, 15.0)))
    (voices / "silent.wav").write_bytes(wav(np.zeros(RATE)))
    (voices / "short.wav").write_bytes(wav(sound(3, 0.1)))
    with zipfile.ZipFile(root / "packed" / "sounds" / "all.zip", "w") as archive:
        archive.writestr("music/tune.wav", wav(sound(4, 2.0)))
        archive.writestr("voices/same.wav", wav(sound(1), 22_050))  # known from the other package
        archive.writestr("readme.txt", "no audio")
    packages = [Package(name, "effects", "MIT", "", (), name) for name in ("loose", "packed", "missing")]
    monkeypatch.setattr(build, "read_list", lambda: packages)
    fetched: list[str] = []

    def fetch(package: Package, work: Path, strict: bool) -> tuple[str, Path, Path]:
        fetched.append(package.name)
        if package.name == "missing":
            raise CorpusError("apt knows no package missing")
        return "1.0", root / package.name, work

    monkeypatch.setattr(build, "fetch", fetch)
    monkeypatch.setattr(build, "FETCHED", fetched, raising=False)
    return tmp_path


def test_a_corpus_has_clips_a_manifest_of_sources_and_licences_and_is_completed_later(debian: Path) -> None:
    out = debian / "out"
    with pytest.raises(CorpusError, match=r"1 of 3 packages failed: missing; run it again for them"):
        build_corpus(out, Recipe(), progress=False)
    with (out / "corpus/manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["package"], Path(row["source"]).name, row["seconds"], row["licence"]) for row in rows] == [
        ("loose", "a-copy.wav", "0.726", "CC-BY-SA-3.0"),
        ("loose", "long.wav", "10.000", "CC-BY-SA-3.0"),
        ("loose", "long.wav", "5.000", "CC-BY-SA-3.0"),
        ("packed", "tune.wav", "2.000", "GPL-2.0-or-later"),
    ]
    for row in rows:
        samples, rate = soundfile.read(out / "corpus" / row["path"], dtype="int16")
        assert rate == RATE
        assert hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest() == row["sha256"]
        assert row["path"].startswith(f"effects/{row['package']}/")
    assert (out / "corpus/licences/loose.copyright.txt").read_text() == COPYRIGHT
    dropped = json.loads((out / "state/loose.json").read_text())["dropped"]
    assert dropped == {"short or silent": 2, "copies": 1, "unreadable": 0}

    before = (out / "corpus/manifest.csv").read_bytes()
    build.FETCHED.clear()  # type: ignore[attr-defined]
    with pytest.raises(CorpusError, match=r"failed: missing"):
        build_corpus(out, Recipe(), progress=False)
    assert build.FETCHED == ["missing"]  # type: ignore[attr-defined]
    assert (out / "corpus/manifest.csv").read_bytes() == before
    build_corpus(out, Recipe(), only=["packed"], progress=False)
    with pytest.raises(CorpusError, match=r"not in the list: pakced; choose among loose, packed, missing"):
        build_corpus(out, Recipe(), only=["pakced"], progress=False)


def test_a_missing_decoder_fails_the_package_instead_of_leaving_its_files_out(
    debian: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (debian / "debian/loose/sounds/odd.g722").write_bytes(b"no header")
    monkeypatch.setenv("PATH", str(debian))
    with pytest.raises(CorpusError, match=r"1 of 1 packages failed: loose"):
        build_corpus(debian / "out", Recipe(), only=["loose"], progress=False)
    assert "ffmpeg is not installed: apt-get install ffmpeg" in caplog.text


def test_another_recipe_makes_the_clips_anew(debian: Path) -> None:
    out = debian / "out"
    build_corpus(out, Recipe(), only=["loose"], progress=False)
    build_corpus(out, Recipe(clip_s=5.0), only=["loose"], progress=False)
    with (out / "corpus/manifest.csv").open(newline="") as file:
        assert max(float(row["seconds"]) for row in csv.DictReader(file)) == 5.0
    assert len(list((out / "corpus/effects/loose").glob("long-*.flac"))) == 3


def test_a_program_that_is_missing_or_fails_is_named() -> None:
    with pytest.raises(CorpusError, match=r"no-such-program is not installed: apt-get install no-such-program"):
        run(["no-such-program"])
    with pytest.raises(CorpusError, match=r"`false` failed"):
        run(["false"])
