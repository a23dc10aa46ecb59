"""A small team of threads that shares the rows of one big array operation.

NumPy lets go of Python's lock while it computes, so two Python threads over two halves of an
array, each with a one-thread BLAS, use two cores. Small work runs where it is called.
"""

import contextlib
import ctypes
import math
import os
import queue
import threading

import numpy as np

try:
    from threadpoolctl import ThreadpoolController
except ImportError:  # then BLAS alone uses the cores
    ThreadpoolController = None

WORTH = 1_500_000  # of fewer multiplications than this, one thread alone is done sooner


def keep_memory(limit=1 << 30):
    """Let the C library keep up to limit bytes of freed memory; returns whether it can.

    The system hands memory out in pages of zeros, made at the first touch of each. By default
    large arrays go back to it when they are freed, so that every step of a training pays for
    all its pages again. Nothing changes where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # the numbers in glibc's malloc.h
    largest = any(mallopt(mmap_threshold, size) for size in (limit, 1 << 25))  # old ones: 32 MB
    return bool(largest and mallopt(trim_threshold, limit))


keep_memory()


class Team:
    """Run parts of one job on several threads; a failure in any part is raised to the caller."""

    def __init__(self, size):
        self.size, self.lock, self.inboxes, self.done = size, threading.Lock(), [], None
        blas = ThreadpoolController().select(user_api="blas") if ThreadpoolController else None
        self.libraries = blas.lib_controllers if blas else []

    def run(self, work, count, cost):
        """Call work(first, last) on even parts of range(count); list the results in order.

        Inside work, or while another thread has the team, everything runs as one part.
        """
        parts = min(self.size, count)
        if parts < 2 or cost < WORTH or not self.lock.acquire(blocking=False):
            return [work(0, count)]
        try:
            with self._one_blas_thread():
                return self._share(work, [count * i // parts for i in range(parts + 1)])
        finally:
            self.lock.release()

    def _share(self, work, ends):
        self._wake(len(ends) - 2)
        for place, inbox in enumerate(self.inboxes[: len(ends) - 2], 1):
            inbox.put((work, ends[place], ends[place + 1], place))
        results, failures = [None] * (len(ends) - 1), []
        try:
            results[0] = work(ends[0], ends[1])
        finally:  # also when interrupted: nobody may still write when the caller goes on
            for _ in ends[2:]:
                place, result, failure = self.done.get()
                results[place] = result
                failures += [failure] if failure else []
        if failures:
            raise failures[0]
        return results

    def _wake(self, helpers):
        self.done = self.done or queue.SimpleQueue()
        while len(self.inboxes) < helpers:
            inbox = queue.SimpleQueue()
            threading.Thread(target=_help, args=(inbox, self.done), daemon=True).start()
            self.inboxes.append(inbox)

    @contextlib.contextmanager
    def _one_blas_thread(self):
        before = [library.num_threads for library in self.libraries]
        for library in self.libraries:
            library.set_num_threads(1)
        try:
            yield
        finally:
            for library, threads in zip(self.libraries, before, strict=True):
                library.set_num_threads(threads)

    def close(self):
        """End the threads; the next run starts new ones."""
        for inbox in self.inboxes:
            inbox.put(None)
        self.inboxes, self.done = [], None


def _help(inbox, done):
    while (job := inbox.get()) is not None:
        work, first, last, place = job
        try:
            done.put((place, work(first, last), None))
        except BaseException as failure:
            done.put((place, None, failure))
        work = job = None  # keep no array alive while waiting


def _cores():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 4) if ThreadpoolController else 1


_team = Team(_cores())


def share(work, count, cost):
    """Call work(first, last) on parts of range(count), on several threads where it pays.

    Args:
        work: computes the rows from first up to, not including, last.
        count: the number of rows.
        cost: about how many multiplications all rows take.

    Returns:
        the results of work, in order of the rows.
    """
    return _team.run(work, count, cost)


def thread_count():
    """Return how many threads share the work."""
    return _team.size


def set_threads(count):
    """Let that many threads share the work from now on.

    Raises:
        ValueError: for fewer than one.
    """
    global _team
    if count < 1:
        raise ValueError(f"the work needs at least one thread, received {count}: use 1")
    _team.close()
    _team = Team(count)


_scratch = {}


def scratch(use, shape, dtype):
    """Lend this thread an array of any content; the next call for the same use takes it back."""
    key, size = (threading.get_ident(), use, dtype), math.prod(shape)
    if key not in _scratch or _scratch[key].size < size:
        _scratch[key] = np.empty(size, dtype)
    return _scratch[key][:size].reshape(shape)


def scratch_bytes():
    """Return the size of all scratch arrays."""
    return sum(array.nbytes for array in _scratch.values())


def clear_scratch():
    """Give all scratch arrays back to the system."""
    _scratch.clear()


def _forget_threads():
    """In a forked process there are no helpers and nobody holds the lock."""
    global _team
    _team = Team(_team.size)
    _scratch.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
