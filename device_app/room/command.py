"""``earmark room``: learn what the room sounds like, show what is known of it, or forget it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rich.console
import rich.progress
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.capture import Block, Capture, Notice, Source
from device_app.enrolment.head import Head
from device_app.enrolment.profile import Profile, default_profile_path
from device_app.listening.window_stream import WindowStream
from device_app.model.embedder import Embedder, load_embedder
from device_app.room.room import CAPACITY, Room, clear_room, read_room

_HOP_S = 0.5
_SAVE_EVERY_S = 60.0
"""What a crash costs at most."""


def learn_room(source: Source, minutes: float, profile_path: Path | None, model_path: Path | None) -> int:
    """Listen for a while, then fit again with what was heard as something that is no sound. Returns the exit status.

    Ctrl-C ends it earlier; what was heard until then counts.

    Args:
        source: The microphone, or a recording of the room.
        minutes: How long.
        profile_path: None for the default one.
        model_path: None for the shipped one.

    Raises:
        DeviceError: If there is no microphone.
        AudioError: If the recording cannot be read.
    """
    embedder = load_embedder(model_path)
    profile = Profile(profile_path or default_profile_path())
    head = profile.head(embedder) if profile.taught else None
    room = Room(profile.path, embedder.metadata.model_id, np.random.default_rng())
    n_kept = n_left_out = 0
    try:
        for embeddings in _hear(source, minutes * 60.0, embedder, room):
            like_a_sound = _like_a_sound(head, embeddings)
            for embedding in embeddings[~like_a_sound]:
                room.offer(embedding)
            n_kept += int(np.sum(~like_a_sound))
            n_left_out += int(np.sum(like_a_sound))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
    finally:
        room.save()
    print(f"{n_kept} windows of the room taken note of; no audio was kept", file=sys.stderr)
    if n_left_out:
        print(f"{n_left_out} were left out: they sound like what is taught", file=sys.stderr)
    if profile.taught:
        with profile.lock():
            profile.refit(embedder)
    return 0


def _hear(source: Source, length_s: float, embedder: Embedder, room: Room) -> Iterator[FloatArray]:
    """(n, size) embeddings of what is loud enough, as it comes; the room is saved now and then."""
    rate, clip = embedder.metadata.sample_rate, embedder.metadata.clip_samples
    windows = WindowStream(sample_rate=rate, clip_samples=clip, hop_samples=round(_HOP_S * rate))
    heard_s = saved_s = 0.0
    console = rich.console.Console(stderr=True)
    with (
        Capture(source, retry=source.live, must_start=True) as capture,
        rich.progress.Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("listening to the room", total=length_s)
        while heard_s < length_s:
            for item in capture.read(timeout_s=1.0):
                if isinstance(item, Notice):
                    if item.state == "ended":
                        return
                    console.print(item.sentence, highlight=False)
                elif isinstance(item, Block):
                    heard_s += item.waveform.size / item.sample_rate
                    new = windows.push(item.waveform, item.sample_rate, item.start_sample).waveforms
                    embeddings = embedder.embed(new)
                    yield embeddings[embeddings.any(axis=1)]  # silence embeds to zeros
            progress.update(task, completed=heard_s)
            if heard_s - saved_s >= _SAVE_EVERY_S:
                room.save()
                saved_s = heard_s


def _like_a_sound(head: Head | None, embeddings: FloatArray) -> NDArray[np.bool_]:
    """(n,) bool: whether there is evidence for a taught sound."""
    if head is None or not len(embeddings):
        return np.zeros(len(embeddings), dtype=bool)
    return np.asarray(head.score(embeddings).max(axis=1) > 0.0)


def show_room(profile_path: Path | None, *, as_json: bool) -> int:
    """Say what is known of the room. Returns the exit status."""
    room = read_room(profile_path or default_profile_path())
    if as_json:
        known = {} if room is None else {"since": room.since, "model_id": room.model_id}
        print(
            json.dumps({"n_kept": 0 if room is None else len(room.rows), "n_seen": room.n_seen if room else 0} | known)
        )
    elif room is None:
        print("nothing is known of the room: `earmark room --minutes 10` listens to it")
    else:
        print(
            f"{len(room.rows)} embeddings of at most {CAPACITY}, chosen from {room.n_seen} windows heard since "
            f"{room.since}, with model {room.model_id}; {room.rows.nbytes / 1e6:.1f} MB, no audio"
        )
    return 0


def forget_room(profile_path: Path | None, model_path: Path | None) -> int:
    """Forget the room, and fit again without it. Returns the exit status."""
    profile = Profile(profile_path or default_profile_path())
    clear_room(profile.path)
    if profile.taught:
        embedder = load_embedder(model_path)
        with profile.lock():
            profile.refit(embedder)
    print("the room is forgotten", file=sys.stderr)
    return 0
