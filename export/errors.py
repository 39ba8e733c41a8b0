"""What a person can cause: each error is one sentence that says what happened, where, and what to do."""


class EarmarkError(Exception):
    """Base of export's own errors; those of :mod:`train` and :mod:`device_app` pass through."""


class ExportError(EarmarkError):
    """A checkpoint, corpus or choice of heads that no model file can be made from."""
