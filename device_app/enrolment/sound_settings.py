"""What a person has set for one sound by hand; it is kept in the profile."""

from dataclasses import dataclass

_BOUNDS = {"false_alarms_per_day": (0.0, 3600.0), "sensitivity": (-100.0, 100.0), "refractory_s": (0.0, 86400.0)}
_CHOICES = {"same": ("word", "speaker"), "pitch": ("matters", "varies")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundSettings:
    """Settings of one sound. Whatever is None is learned from its recordings."""

    false_alarms_per_day: float | None = None
    """Budget that the sound's threshold is set from."""
    sensitivity: float | None = None
    """Log-odds added to each window's evidence: above 0 the sound is heard sooner, and more often falsely."""
    refractory_s: float | None = None
    """Seconds after an event's end in which the sound starts no other."""
    same: str | None = None
    """What makes two recordings the same sound: ``word`` (whoever says it) or ``speaker`` (whatever is said)."""
    pitch: str | None = None
    """``matters`` or ``varies``."""

    @property
    def varies_pitch(self) -> bool:
        """Whether what teaches the sound is played a little faster and slower as well."""
        return self.pitch != "matters"

    def __post_init__(self) -> None:
        """Check it: it may come from a file that anybody wrote.

        Raises:
            ValueError: If a value is of the wrong type or out of bounds.
        """
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number and least <= value <= most):
                raise ValueError(f"{name} must lie between {least:g} and {most:g}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in (None, *choices):
                raise ValueError(f"{name} must be one of {', '.join(choices)}")
