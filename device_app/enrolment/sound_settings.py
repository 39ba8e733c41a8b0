"""What a person has set for one sound by hand; it is kept in the profile."""

from dataclasses import dataclass


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
