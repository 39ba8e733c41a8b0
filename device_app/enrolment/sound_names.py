"""What a sound may be called, and which names do not stand for a sound to report."""

import unicodedata
from collections.abc import Container, Iterable

from device_app.errors import ProfileError

BACKGROUND = "background"
BACKGROUND_NAMES = frozenset({BACKGROUND, "noise", "silence", "other", "_background_noise_"})
"""Names that mean "not a sound to report" (BirdNET-Analyzer's and Speech Commands' among them)."""
_OTHERS = frozenset("_ .'+-")
"""What a name may hold besides letters, digits and the marks that go with them."""
_MOST_CHARACTERS = 64
_MOST_BYTES = 200
"""A folder is named for it."""


def sound_name(name: str) -> str:
    """Check a sound's name and map the reserved ones to ``background``.

    Two ways of writing the same letters, such as an accent of its own (as in file names of macOS), are one name.

    Raises:
        ProfileError: If the name is empty, too long, or holds characters that do not belong in a name.
    """
    name = unicodedata.normalize("NFC", name)
    if name.lower() in BACKGROUND_NAMES:
        return BACKGROUND
    fits = 0 < len(name) <= _MOST_CHARACTERS and len(name.encode(errors="replace")) <= _MOST_BYTES
    if not fits or not name[0].isalnum() or not all(_belongs(character) for character in name):
        shown = ascii(name[:80])[1:-1] if not name.isprintable() else name[:80]
        raise ProfileError(
            f"'{shown}' cannot be a sound's name: use up to {_MOST_CHARACTERS} letters, digits, spaces, or any of "
            ". ' + - _, beginning with a letter or digit"
        )
    return name


def _belongs(character: str) -> bool:
    """Whether it may be in a name; the vowels of many scripts are marks on their consonants."""
    return character.isalnum() or character in _OTHERS or unicodedata.category(character) in ("Mn", "Mc")


def refuse_twins(names: Iterable[str], known: Container[str]) -> None:
    """Raise ProfileError if a new name differs from another one in upper and lower case alone."""
    names = sorted(names, key=lambda name: name not in known)
    first: dict[str, str] = {}
    for name in names:
        twin = first.setdefault(name.casefold(), name)
        if twin != name and name not in known:
            raise ProfileError(
                f"'{name}' and '{twin}' differ in upper and lower case alone, and would be two sounds: call it "
                f"'{twin}' (of a pack: import it with --rename {name}={twin}), or something else"
            )


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
