"""Settings of a whole process that make training on a CPU fast; only the number of threads may change a last digit."""

from __future__ import annotations

import ctypes
import logging

import psutil

log = logging.getLogger(__name__)

#: glibc's names for the two settings (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = (1 << 31) - 1  # mallopt takes a C int


def job_threads(threads: int, workers: int) -> int:
    """Threads of torch in each of several processes, this one included, so that a job is the same in every one.

    Args:
        threads: as asked for; 0 = two, because more do not pay at these layer sizes (benchmarks/audit/threads.py).
        workers: processes that share the cores, and leave each as many threads at most.
    """
    if threads and workers == 1:
        return threads
    return max(1, min(threads or 2, (psutil.cpu_count(logical=False) or 1) // workers))


def tune_process(threads: int) -> None:
    """Set torch's threads, and let the allocator keep what it has freed.

    Every training step frees and takes the same large tensors again. By default glibc hands large blocks back to the
    kernel at once, which then clears and maps every page anew: on the demo that was half of the time of a selection
    (benchmarks/audit/memory.py).
    """
    import torch

    torch.set_num_threads(threads)
    try:
        glibc = ctypes.CDLL("libc.so.6")
        kept = glibc.mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES) and glibc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
    except (OSError, AttributeError):  # another C library
        kept = 0
    if not kept:
        log.debug("the allocator cannot be configured to keep freed memory; training is slower")
