"""What this process computes on: its CPUs, its threads and the GPUs that it sees."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def cpu_count() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_count() -> int:
    """Return how many GPUs PyTorch sees; none of them is touched."""
    import torch

    return torch.cuda.device_count()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch compute in `count` threads while the context lasts, at most one for each CPU.

    Its threads spin while they wait for one another. On CPUs that other processes use, too, that costs far more than a
    second thread gains: three toys took 160 s in two threads, and 5 s in one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(count, cpu_count())))
    try:
        yield
    finally:
        torch.set_num_threads(before)
