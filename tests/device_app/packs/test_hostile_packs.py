"""A pack may come from anybody: whatever is not exactly a pack is refused with a sentence, and changes nothing."""

import io
import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording, flac
from device_app.enrolment.profile_index import Recording
from device_app.errors import EarmarkError, PackError
from device_app.model.embedder import Embedder
from device_app.packs.exchange import import_pack
from device_app.packs.manifest import Manifest
from device_app.packs.pack_file import open_pack, write_pack
from tests.device_app.small_profile import bursts, snapshot

Entries = list[tuple[zipfile.ZipInfo | str, bytes]]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory, tiny: Embedder) -> Profile:
    """A profile that no hostile pack may change."""
    profile = Profile(tmp_path_factory.mktemp("victim") / "deep" / "profile")
    with profile.lock():
        profile.add("kettle", bursts(20, 2), tiny)
    return profile


def read_entries(path: Path) -> Entries:
    with zipfile.ZipFile(path) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def write_entries(path: Path, entries: Entries) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def refused(victim: Profile, tiny: Embedder, path: Path, expected: str) -> None:
    around = victim.path.parent.parent
    before = snapshot(around)
    with pytest.raises(PackError, match=expected) as caught:
        import_pack(victim, path, tiny, {})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert snapshot(around) == before


def array(rows: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(rows), **{"version": (1, 0), "allow_pickle": True, **options})
    return buffer.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entry", "content", "expected"),
    [
        ("../../escaped", b"x", "does not belong"),
        ("/etc/escaped", b"x", "does not belong"),
        ("recordings/../../escaped.flac", b"x", "does not belong"),
        ("embeddings\\0123456789abcdef.npy", b"x", "does not belong"),
        ("recordings/", b"", "does not belong"),
        ("recordings/0123456789abcdef.flac", b"x", "does not name exactly"),
        (link("recordings/0123456789abcdef.flac"), b"/etc/passwd", "not a plain file"),
        ("manifest.json", b"{}", "two entries manifest.json"),
    ],
)
def test_an_entry_that_does_not_belong_is_refused(
    entry: str | zipfile.ZipInfo,
    content: bytes,
    expected: str,
    packs: dict[str, Path],
    victim: Profile,
    tiny: Embedder,
    tmp_path: Path,
) -> None:
    path = write_entries(tmp_path / "x.zip", [*read_entries(packs["audio"]), (entry, content)])
    refused(victim, tiny, path, expected)


def replaced(entries: Entries, kind: str, content: bytes | Callable[[bytes], bytes]) -> Entries:
    """The entries with the first one of a folder changed."""
    i = next(i for i, (name, _) in enumerate(entries) if str(name).startswith(kind))
    name, old = entries[i]
    return [*entries[:i], (name, content if isinstance(content, bytes) else content(old)), *entries[i + 1 :]]


def flac_of(waveform: Any, rate: int = 1600, **options: Any) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, waveform, rate, **{"format": "FLAC", "subtype": "PCM_16", **options})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("embeddings", b"", "not \\(n, 7\\)"),
        ("embeddings", b"\x93NUMPY\x01\x00\xff\xff", "not \\(n, 7\\)"),
        ("embeddings", array([["a", {}]], version=(1, 0)), "not \\(n, 7\\)"),  # a pickle inside
        ("embeddings", array(np.zeros((3, 7), np.float64)), "not \\(n, 7\\)"),
        ("embeddings", array(np.asfortranarray(np.zeros((3, 7), np.float32))), "not \\(n, 7\\)"),
        ("embeddings", array(np.zeros((0, 7), np.float32)), "not \\(n, 7\\)"),
        ("embeddings", array(np.zeros((3, 8), np.float32)), "not \\(n, 7\\)"),
        ("embeddings", array(np.zeros(7, np.float32)), "not \\(n, 7\\)"),
        ("embeddings", array(np.full((3, 7), np.nan, np.float32)), "not of unit length"),
        ("embeddings", array(np.full((3, 7), 1e30, np.float32)), "not of unit length"),
        ("embeddings", header("(1000000000000, 7)"), "not \\(n, 7\\)"),
        ("embeddings", header("(-1, 7)") + bytes(28), "not \\(n, 7\\)"),
        ("embeddings", header("(3, 7)") + bytes(80), "not \\(n, 7\\)"),
        ("embeddings", header("(" * 3000), "not \\(n, 7\\)"),
        ("embeddings", bytes(4 * 4096 * 7 + 20_000), "too large"),
        ("recordings", b"not flac", "cannot be decoded"),
        ("recordings", flac_of(np.zeros((1600, 2), np.int16)), "not FLAC of 16 bit"),
        ("recordings", flac_of(np.zeros(1600, np.int16), subtype="PCM_24"), "not FLAC of 16 bit"),
        ("recordings", flac_of(np.zeros(1600, np.int16), format="WAV"), "not FLAC of 16 bit"),
        ("recordings", flac_of(np.zeros(31_000_000, np.int16)), "at most ten minutes"),
        ("recordings", flac_of(np.zeros(1600, np.int16)), "not what its id says"),
        ("recordings", lambda old: old[: len(old) // 2], "cannot be decoded|not what its id says"),
    ],
)
def test_arrays_and_audio_that_are_not_what_they_must_be_are_refused(
    kind: str,
    content: bytes | Callable[[bytes], bytes],
    expected: str,
    packs: dict[str, Path],
    victim: Profile,
    tiny: Embedder,
    tmp_path: Path,
) -> None:
    path = write_entries(tmp_path / "x.zip", replaced(read_entries(packs["audio"]), kind, content))
    refused(victim, tiny, path, expected)


def edited(manifest: bytes, *keys: str | int, to: Any) -> bytes:
    raw = inner = json.loads(manifest)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return json.dumps(raw).encode()


@pytest.mark.parametrize(
    ("keys", "to", "expected"),
    [
        (("format",), "zip", "not a pack of Earmark"),
        (("schema",), 2, "upgrade earmark"),
        (("schema",), "1", "manifest is damaged"),
        (("model_id",), "../..", "manifest is damaged"),
        (("embedding_size",), 10**9, "manifest is damaged"),
        (("embedding_size",), True, "manifest is damaged"),
        (("licence",), "x" * 501, "manifest is damaged"),
        (("licence",), "red \x1b[31m", "manifest is damaged"),
        (("created",), "yesterday", "manifest is damaged"),
        (("with_audio",), "yes", "wrong type"),
        (("with_audio",), False, "does not name exactly"),
        (("sounds",), [], "manifest is damaged"),
        (("sounds",), {}, "no recordings"),
        (("sounds", "../dog"), [], "cannot be a sound's name"),
        (("sounds", "dog"), [], "manifest is damaged"),
        (("sounds", "dog", 0, "id"), "../../../../etc/pass", "manifest is damaged"),
        (("sounds", "dog", 0, "id"), 7, "manifest is damaged"),
        (("sounds", "dog", 0, "origin"), "\ud800", "manifest is damaged"),
        (("sounds", "dog", 0, "recorded"), "2026-01-01", "manifest is damaged"),
        (("settings", "dog"), {"false_alarms_per_day": "many"}, "must lie between 0 and 3600"),
        (("settings", "dog"), {"false_alarms_per_day": 10**400}, "must lie between 0 and 3600"),
        (("settings", "dog"), {"false_alarms_per_day": -1}, "must lie between 0 and 3600"),
        (("settings", "dog"), {"sensitivity": 1e308}, "must lie between -100 and 100"),
        (("settings", "dog"), {"refractory_s": True}, "must lie between 0 and 86400"),
        (("settings", "dog"), {"same": "\x1b[31m"}, "must be one of word, speaker"),
        (("settings", "dog"), {"pitch": ["matters"]}, "must be one of matters, varies"),
        (("settings", "dog"), {"unheard_of": 1}, "manifest is damaged"),
        (("settings", "cat"), {}, "sounds that are not in it"),
        (("report",), [], "wrong type"),
    ],
)
def test_a_manifest_with_anything_amiss_is_refused(
    keys: tuple[str | int, ...],
    to: Any,
    expected: str,
    packs: dict[str, Path],
    victim: Profile,
    tiny: Embedder,
    tmp_path: Path,
) -> None:
    entries = replaced(read_entries(packs["audio"]), "manifest", lambda old: edited(old, *keys, to=to))
    refused(victim, tiny, write_entries(tmp_path / "x.zip", entries), expected)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"format": "earmark-pack", "schema": NaN}',
        b'{"format": "earmark-pack", "format": "earmark-pack"}',
        b'{"format": "earmark-pack", "schema": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_manifest_that_is_no_plain_json_is_refused(
    text: bytes, packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    path = write_entries(tmp_path / "x.zip", replaced(read_entries(packs["audio"]), "manifest", text))
    refused(victim, tiny, path, "manifest is damaged|not a pack of Earmark|two of the same")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    entries = [*read_entries(packs["bare"]), ("embeddings/0123456789abcdef.npy", bytes(1_234_567))]
    content = write_entries(tmp_path / "bomb.zip", entries).read_bytes()
    size = struct.pack("<L", 1_234_567)
    assert content.count(size) == 2  # in the entry and in the list of entries
    (tmp_path / "bomb.zip").write_bytes(content.replace(size, struct.pack("<L", 1 << 31)))
    refused(victim, tiny, tmp_path / "bomb.zip", "too large when it is unpacked")


def test_an_entry_that_unpacks_to_more_than_any_can_hold_is_refused(
    packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    entries = replaced(read_entries(packs["audio"]), "recordings", bytes(62_000_000))
    refused(victim, tiny, write_entries(tmp_path / "x.zip", entries), "too large")


def test_an_entry_that_is_longer_than_it_says_is_refused(
    packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    path = write_entries(
        tmp_path / "x.zip", replaced(read_entries(packs["bare"]), "embeddings", array(np.zeros((2000, 7), np.float32)))
    )
    content = path.read_bytes()
    true = struct.pack("<L", 2000 * 28 + 128)
    assert content.count(true) == 2  # in the entry and in the list of entries
    path.write_bytes(content.replace(true, struct.pack("<L", 128 + 28)))
    refused(victim, tiny, path, "cannot be unpacked|not of the length|not \\(n, 7\\)")


def test_a_list_of_entries_without_end_is_refused_before_it_is_parsed(
    victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    n_bytes = 9 << 20
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_000, 65_000, n_bytes, 0, 0)
    (tmp_path / "x.zip").write_bytes(bytes(n_bytes) + end)
    refused(victim, tiny, tmp_path / "x.zip", "too many entries")


def test_a_pack_that_breaks_off_anywhere_is_refused(
    packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    content = packs["audio"].read_bytes()
    for length in range(0, len(content), 97):
        (tmp_path / "x.zip").write_bytes(content[:length])
        refused(victim, tiny, tmp_path / "x.zip", "not a zip file as|not a whole zip file")


@pytest.mark.parametrize("around", [(b"MZ" + bytes(100), b""), (b"PK\3\4", b""), (b"", b"x")])
def test_a_zip_file_with_anything_before_or_behind_it_is_refused(
    around: tuple[bytes, bytes], packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    (tmp_path / "x.zip").write_bytes(around[0] + packs["audio"].read_bytes() + around[1])
    refused(victim, tiny, tmp_path / "x.zip", "not a zip file as")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe"])
def test_what_is_no_file_is_refused_before_it_is_read(
    path: str, victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(victim, tiny, tmp_path / path, "it is not a file")


def with_recording(entries: Entries, waveform: Any) -> Entries:
    """The entries with the first recording of the dog another one, whose id is right."""
    manifest = json.loads(entries[0][1])
    new = NewRecording(np.asarray(waveform, np.float32), 1600, "x")
    old, manifest["sounds"]["dog"][0]["id"] = manifest["sounds"]["dog"][0]["id"], new.id
    out: Entries = [("manifest.json", json.dumps(manifest).encode())]
    for name, content in entries[1:]:
        is_it = old in str(name) and str(name).startswith("recordings")
        out.append((str(name).replace(old, new.id), flac(new, "dog") if is_it else content))
    return out


@pytest.mark.parametrize("n_samples", [1, 1600, 90 * 1600])
@pytest.mark.parametrize("with_sound", [False, True])
def test_a_recording_that_no_model_could_learn_from_is_refused(
    n_samples: int, with_sound: bool, packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    waveform = np.resize(bursts(40, 1)[0].waveform if with_sound else np.zeros(1), n_samples)
    path = write_entries(tmp_path / "x.zip", with_recording(read_entries(packs["audio"]), waveform))
    if with_sound and n_samples == 1600:
        with open_pack(path):
            return
    refused(victim, tiny, path, "nothing can be learned from recording [0-9a-f]{16} of 'dog'")


@pytest.mark.parametrize(("n_recordings", "n_sounds"), [(2001, 1), (201, 201)])
def test_a_pack_that_would_take_gigabytes_to_fit_is_refused(
    n_recordings: int, n_sounds: int, victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    entries = [Recording(f"{i:016x}", "x", "2026-01-01T00:00:00+00:00") for i in range(n_recordings)]
    manifest = Manifest(
        model_id=tiny.metadata.model_id,
        embedding_size=tiny.size,
        licence="",
        created="2026-01-01T00:00:00+00:00",
        with_audio=False,
        sounds={f"s{i}": entries[i::n_sounds] for i in range(n_sounds)},
    )
    row = np.eye(1, tiny.size, dtype=np.float32)
    (tmp_path / "x.zip").write_bytes(write_pack(manifest, {entry.id: row for entry in entries}, {}))
    refused(victim, tiny, tmp_path / "x.zip", "more than 2000|more than 200 sounds")


def test_an_error_of_ours_while_a_pack_is_open_is_not_blamed_on_the_pack(packs: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="ours"), open_pack(packs["audio"]):
        raise ValueError("ours")


def test_one_byte_flipped_anywhere_is_refused_or_of_no_consequence(
    packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    content = packs["audio"].read_bytes()
    rng = np.random.default_rng(0)
    with open_pack(packs["audio"]) as pack:
        whole = pack.manifest
    n_refused = 0
    ends = [*range(60), *range(len(content) - 400, len(content)), *rng.integers(0, len(content), 600).tolist()]
    for position in ends:
        flipped = bytearray(content)
        flipped[position] ^= int(rng.integers(1, 256))
        (tmp_path / "x.zip").write_bytes(flipped)
        try:
            with open_pack(tmp_path / "x.zip") as pack:
                assert pack.manifest == whole
        except PackError:
            n_refused += 1
    assert n_refused > 0.7 * len(ends)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([10**400, -(10**400), 1e308, "\x1b[31m", "../x", "dog", "a" * 501]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_with_any_value_in_any_place_is_read_or_refused(packs: dict[str, Path], data: st.DataObject) -> None:
    raw = json.loads(zipfile.ZipFile(packs["audio"]).read("manifest.json"))
    inner: Any = raw
    while isinstance(inner, dict | list) and inner:
        keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inner[key], dict | list) or data.draw(st.booleans()):
            inner[key] = data.draw(JSON)
            break
        inner = inner[key]
    try:
        manifest = Manifest.from_json(json.dumps(raw))
    except PackError:
        pass
    else:
        assert Manifest.from_json(manifest.to_json()) == manifest


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=400),
    kind=st.sampled_from(["manifest", "embeddings", "recordings"]),
    prefix=st.integers(0, 200),
)
def test_any_bytes_in_place_of_an_entry_are_refused(
    packs: dict[str, Path], tmp_path: Path, content: bytes, kind: str, prefix: int
) -> None:
    entries = replaced(read_entries(packs["audio"]), kind, lambda old: old[:prefix] + content)
    write_entries(tmp_path / "x.zip", entries)
    try:
        with open_pack(tmp_path / "x.zip"):
            raise AssertionError("accepted")
    except EarmarkError:
        pass


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: JSON if number == 0 else good)


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "false_alarms_per_day": mostly(st.floats(0.0, 3600.0)),
        "sensitivity": mostly(st.floats(-100.0, 100.0)),
        "refractory_s": mostly(st.floats(0.0, 86400.0)),
    },
)
NAMES = mostly(st.sampled_from(["kettle", "-kettle", "Kettle", "cat", "-dog", "noise", "दरवाज़ा"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_in_a_pack_it_is_refused_whole_or_can_be_listened_with(
    packs: dict[str, Path], victim: Profile, tiny: Embedder, tmp_path: Path, data: st.DataObject
) -> None:
    manifest = json.loads(zipfile.ZipFile(packs["bare"]).read("manifest.json"))
    manifest["settings"] = {"dog": data.draw(SETTINGS), "bell": data.draw(SETTINGS)}
    old, new = data.draw(st.sampled_from(["dog", "-dog", "bell"])), str(data.draw(NAMES))
    manifest["sounds"][new] = manifest["sounds"].pop(old)
    if old in manifest["settings"]:
        manifest["settings"][new] = manifest["settings"].pop(old)
    entries: Entries = [("manifest.json", json.dumps(manifest).encode())]
    for name, content in read_entries(packs["bare"])[1:]:
        rows = np.load(io.BytesIO(content))
        kind = data.draw(st.sampled_from(["as it is", "zero", "one direction", "tiny", "one row", "many rows"]))
        changed = {
            "zero": np.zeros_like(rows),
            "one direction": np.eye(1, rows.shape[1])[[0] * len(rows)],
            "tiny": rows * 1e-38,
            "one row": rows[:1],
            "many rows": np.resize(rows, (256, rows.shape[1])),
        }.get(kind, rows)
        entries.append((name, array(changed.astype("<f4"))))
    path = write_entries(tmp_path / "x.zip", entries)
    shutil.rmtree(tmp_path / "p", ignore_errors=True)
    profile = Profile(Path(shutil.copytree(victim.path, tmp_path / "p")))
    before = snapshot(profile.path)
    refusal = None
    try:
        import_pack(profile, path, tiny, {})
    except EarmarkError as err:
        refusal = str(err)
    event("refused" if refusal else "taken")
    if refusal is not None:
        assert refusal.isprintable()
        assert snapshot(profile.path) == before
    else:
        again = Profile(profile.path)
        scores = again.head(tiny).score(tiny.background())
        assert np.isfinite(scores).all()
        assert scores.shape[1] == len(again.taught)
