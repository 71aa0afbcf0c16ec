"""Large allocations stay with the process: a setting of the C library, for the command line alone."""

import ctypes
import os
import sys

__all__ = ["SWITCH", "keep_memory"]

SWITCH = "PANET_KEEP_MEMORY"
"""Environment variable; 0 leaves the C library as it is."""

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1
_PAD = 64 * 2**20


def keep_memory() -> bool:
    """Tell glibc to keep freed memory for the next allocation instead of giving it back to the system.

    A feature map of 68 MB would else be mapped, filled with zeros by the kernel page by page, and unmapped, layer by
    layer: up to a third of the time of a network on a CPU. The process keeps the most memory that it ever used.

    Returns:
        Whether it was done: not without glibc, and not where the environment variable SWITCH is 0.
    """
    if os.environ.get(SWITCH) == "0" or sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, _PAD))
    return all(library.mallopt(parameter, value) for parameter, value in settings)
