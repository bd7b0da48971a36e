"""A flag that the worker's main process raises and the processes it forks read."""

from multiprocessing import get_context

# Shared memory without a lock: a worker killed while it holds one would block the whole cluster.
_flag = get_context("fork").RawValue("b", 0)


def begin() -> None:
    """Use a flag of this cluster's own. The one that was there is shared with the process that this
    one was forked from, and so with the cluster before.
    """
    global _flag
    _flag = get_context("fork").RawValue("b", 0)


def raise_flag() -> None:
    """Ask every loop of this cluster to start nothing new and to hand over."""
    _flag.value = 1


def is_raised() -> bool:
    """Is this process's cluster asked to end?"""
    return bool(_flag.value)
