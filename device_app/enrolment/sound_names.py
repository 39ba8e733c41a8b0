"""What a sound may be called, and which names do not stand for a sound to report."""

import re

from device_app.errors import ProfileError

BACKGROUND = "background"
BACKGROUND_NAMES = frozenset({BACKGROUND, "noise", "silence", "other", "_background_noise_"})
"""Names that mean "not a sound to report" (BirdNET-Analyzer's and Speech Commands' among them)."""
_NAME = re.compile(r"[^\W_][\w .'+-]{0,63}")


def sound_name(name: str) -> str:
    """Check a sound's name and map the reserved ones to ``background``.

    Raises:
        ProfileError: If the name is empty, too long, or holds characters that do not belong in a name.
    """
    if name.lower() in BACKGROUND_NAMES:
        return BACKGROUND
    if not _NAME.fullmatch(name):
        raise ProfileError(
            f"'{name}' cannot be a sound's name: use up to 64 letters, digits, spaces, or any of . ' + - _, "
            "beginning with a letter or digit"
        )
    return name


def group_name(name: str) -> str:
    """Check the name of a group of recordings: a sound, background, or ``-sound``.

    ``-dog`` is what ``dog`` must not be confused with, and nothing to any other sound (BirdNET-Go's convention).

    Raises:
        ProfileError: As of :func:`sound_name`.
    """
    if not name.startswith("-"):
        return sound_name(name)
    sound = sound_name(name[1:])
    if sound == BACKGROUND:
        raise ProfileError(f"'{name}' cannot be: everything is told apart from background anyway")
    return f"-{sound}"


def is_taught(group: str) -> bool:
    """Whether a group of recordings is a sound to report."""
    return group != BACKGROUND and not group.startswith("-")
