"""What a person can cause: each error is one sentence that says what happened, where, and what to do."""


class EarmarkError(Exception):
    """Base of all errors that end the command with a sentence instead of a traceback."""


class AudioError(EarmarkError):
    """Audio that cannot be read or used: unreadable, silent, too short, not finite."""


class DeviceError(EarmarkError):
    """A microphone, or the PortAudio library, that is missing or does not deliver."""


class ModelFileError(EarmarkError):
    """A model file that is missing, damaged, altered, or not one of ours."""


class ModelMismatchError(EarmarkError):
    """A profile that was enrolled with another model than the one at hand."""


class ProfileError(EarmarkError):
    """A profile that is empty, damaged, or asked for a sound it does not hold."""


class PackError(EarmarkError):
    """A class pack that is damaged, hostile, or cannot be made."""
