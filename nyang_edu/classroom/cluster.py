"""Grading on a Dask cluster: what the pool of local processes does, done by many machines.

Work goes out as plain data, one piece for each worker at a time, and results come back to the one
who asked. A worker that dies loses nothing: what it was at is done again by another.
"""

import dataclasses
from itertools import islice
from pathlib import Path

from ..course.files import CourseError
from ..course.source import find_chapter
from .grading import fingerprint_of, grade, hidden_folders
from .pool import TRIES

PATIENCE = 60.0  # seconds to wait for a cluster, and for its first worker


class There:
    """``grade`` with its options, on a worker: with a copy of the package in its own folder."""

    def __init__(self, options):
        self.options = options

    def __call__(self, work):
        """Return the results of one submission's work."""
        from distributed import get_worker

        boxes = Path(get_worker().local_directory) / "boxes"
        boxes.mkdir(exist_ok=True)
        hidden = hidden_folders(*self.options.hidden, boxes.parent)
        return grade(work, dataclasses.replace(self.options, boxes=str(boxes), hidden=hidden))


class Cluster:
    """The workers behind a scheduler's address, with the interface of ``Pool``.

    Raises:
        CourseError: where Dask is missing, the cluster does not answer, or a worker has several
            threads.
    """

    def __init__(self, function, address):
        self.function, self.address = function, address

    def run(self, tasks, load, give_up):
        """Yield (task, result) as they come; ``load(task)`` makes the work of a task.

        ``give_up(task, why)`` makes the result of one that has killed its worker three times, or
        stopped the function as often.
        """
        distributed = _distributed()
        with self._connect(distributed) as client:
            waiting, flying = iter(tasks), {}
            done = distributed.as_completed(loop=client.loop)

            def send(count):
                for task in islice(waiting, count):
                    future = client.submit(self.function, load(task), pure=False,
                                           retries=TRIES - 1)
                    flying[future.key] = task
                    done.add(future)

            send(_workers(client))
            for future in done:
                task = flying.pop(future.key)
                try:
                    yield task, future.result()
                except Exception as error:  # the function's own, or the death of its workers
                    yield task, give_up(task, _why(error))
                send(max(1, _workers(client) - len(flying)))

    def _connect(self, distributed):
        try:
            client = distributed.Client(self.address, timeout=PATIENCE, set_as_default=False)
            client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, ValueError, TimeoutError) as error:
            raise CourseError(f"There is no Dask cluster with a worker at {self.address} "
                              f"({error}): start `dask scheduler` and `dask worker`.") from None
        client.run_on_scheduler(_bound_deaths)
        return client


def _distributed():
    try:
        import distributed
    except ImportError:
        raise CourseError("--dask needs Dask: pip install \"nyang_edu[cluster]\"") from None
    return distributed


def _workers(client):
    """How many there are; each does one thing at a time, so that limits are its own."""
    threads = client.nthreads()
    if any(count > 1 for count in threads.values()):
        raise CourseError(f"A worker grades one submission at a time, received workers of "
                          f"{max(threads.values())} threads: start them with --nthreads 1.")
    return max(1, len(threads))


def _bound_deaths(dask_scheduler):
    """A task is given up with the death of its third worker."""
    dask_scheduler.allowed_failures = TRIES - 1


def _why(error):
    if type(error).__name__ == "KilledWorker":
        return "its workers died"
    return f"{type(error).__name__}: {error}"[:500]


def refuse_another_course(results):
    """Raise where a worker has graded with another course than the one that is here."""
    for result in results:
        name = result["chapter"]
        if name and result["course"] != fingerprint_of(find_chapter(name)):
            raise CourseError(f"A worker grades {name} with another course than yours: bring its "
                              "checkout to the same commit.")
