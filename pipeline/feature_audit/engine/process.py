"""Process-wide settings for fast CPU training; of these, only the number of threads may affect the last digits."""

from __future__ import annotations

import ctypes
import logging

import psutil

from feature_audit.importing import large_imports

log = logging.getLogger(__name__)

#: glibc's names for the two settings (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = (1 << 31) - 1  # mallopt takes a C int


def job_threads(threads: int, workers: int) -> int:
    """Torch threads in each of several processes, including this one, so that a job computes the same in all of them.

    Args:
        threads: configured value; 0 = two, as more do not help at these layer sizes (benchmarks/audit/threads.py).
        workers: processes that share the cores; the result is at most each one's share.
    """
    if threads and workers == 1:
        return threads
    return max(1, min(threads or 2, (psutil.cpu_count(logical=False) or 1) // workers))


def tune_process(threads: int) -> None:
    """Set torch's threads, and configure the allocator to keep freed memory.

    Every training step frees and allocates the same large tensors again. By default glibc returns large blocks to the
    kernel at once, which then clears and maps every page again: on the demo that took half of a selection's time
    (benchmarks/audit/memory.py).
    """
    with large_imports():
        import torch

    torch.set_num_threads(threads)
    try:
        glibc = ctypes.CDLL("libc.so.6")
        kept = glibc.mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES) and glibc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
    except (OSError, AttributeError):  # another C library
        kept = 0
    if not kept:
        log.debug("the allocator cannot be configured to keep freed memory; training is slower")
