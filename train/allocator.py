"""The C library's allocator, set for tensors that come and go every step."""

import ctypes
import logging
import sys

_log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # <malloc.h> of glibc


def keep_freed_memory() -> bool:
    """Keep freed blocks of up to 1 GiB instead of giving them back to the kernel.

    By default glibc maps each block above 32 MiB afresh, and trims the heap whenever its top is free; every step then
    spends a good part of its time in page faults. Costs no more memory than the step's own peak.

    Returns:
        Whether the C library is one that this is known for; nothing is changed otherwise.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        _log.debug("no mallopt: the allocator stays as it is")
        return False
    settings = ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**26))
    return [mallopt(*setting) for setting in settings] == [1, 1, 1]
