"""What a person can cause: each error is one sentence that says what happened, where, and what to do."""


class EarmarkError(Exception):
    """Base of all errors that end the command with a sentence instead of a traceback."""


class ConfigError(EarmarkError):
    """A setting that is unknown, of the wrong type, out of range, or that contradicts another one."""


class CorpusError(EarmarkError):
    """Audio that cannot be trained on: no files, nothing readable, a damaged or foreign cache."""


class CheckpointError(EarmarkError):
    """A checkpoint that is missing, damaged, or of another architecture than the one asked for."""


class TrainingError(EarmarkError):
    """A run that cannot go on: a loss that is not finite, a disk that is full, an output folder that is taken."""


class EvaluationError(EarmarkError):
    """Something that cannot be evaluated: a model file without metadata, an unknown probe, damaged results."""
