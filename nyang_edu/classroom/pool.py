"""Several processes that grade, and what happens when one of them dies.

A piece of work that kills its process is tried three times and then set aside with its reason;
everybody else's goes on in a new process.
"""

import contextlib
import multiprocessing
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import wait

from .worker import set_limits

TRIES = 3
MEMORY = 8 << 30  # bytes, of one grading process


def _serve(connection, function):
    """In the process: answer each piece of work until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the one who hands out
    _bound_memory()
    while True:
        try:
            work = connection.recv()
            if work is None:
                return
            connection.send(_done(function, work))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _done(function, work):
    """(result, None), or (None, why) where the function itself has stopped."""
    try:
        return function(work), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"[:500]


def _bound_memory():
    """A value out of a submission must not make the grader itself use up the machine."""
    set_limits({"RLIMIT_AS": MEMORY})


@dataclass
class _Hand:
    """One process, the pipe to it, and what it is at work on."""

    process: object
    pipe: object
    task: object = None
    since: float = 0.0


class Pool:
    """``count`` processes that run ``function(work)``; ``longest`` seconds for one piece."""

    def __init__(self, function, count, longest=3600.0):
        self.function, self.count, self.longest = function, max(1, count), longest
        self.context = multiprocessing.get_context("spawn")
        self.hands = []

    def run(self, tasks, load, give_up):
        """Yield (task, result) as they come; ``load(task)`` makes the work of a task.

        ``give_up(task, why)`` makes the result of one that has killed its process three times.
        """
        waiting, tries = iter(tasks), {}
        again = []
        try:
            while True:
                self._hand_out(waiting, again, load)
                busy = [hand for hand in self.hands if hand.task is not None]
                if not busy:
                    return
                for hand in self._ready(busy):
                    task, result, why = self._outcome(hand)
                    if why is None:
                        yield task, result
                        continue
                    tries[id(task)] = tries.get(id(task), 0) + 1
                    if tries[id(task)] < TRIES:
                        again.append(task)
                    else:
                        yield task, give_up(task, why)
        finally:
            self.close()

    def _hand_out(self, waiting, again, load):
        while len(self.hands) < self.count:
            self.hands.append(self._start())
        for hand in self.hands:
            if hand.task is None:
                task = again.pop() if again else next(waiting, None)
                if task is None:
                    return
                hand.task, hand.since = task, time.monotonic()
                with contextlib.suppress(OSError):  # a dead one is noticed when it is waited for
                    hand.pipe.send(load(task))

    def _start(self):
        mine, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.function), daemon=True)
        process.start()
        theirs.close()
        return _Hand(process, mine)

    def _ready(self, busy):
        """Those who have an answer, are dead, or have been at it for too long."""
        ready = wait([hand.pipe for hand in busy], timeout=1.0)
        late = time.monotonic() - self.longest
        return [hand for hand in busy if hand.pipe in ready or hand.since < late]

    def _outcome(self, hand):
        """(task, result, None), or (task, None, why) where the process is gone."""
        task, hand.task = hand.task, None
        if hand.pipe.poll():
            try:
                return task, *hand.pipe.recv()
            except (EOFError, ConnectionResetError):
                hand.process.join(5)
                why = f"its grading process died (exit code {hand.process.exitcode})"
        else:
            why = f"it was not done after {self.longest:g} s"
        self._end(hand)
        self.hands.remove(hand)
        return task, None, why

    def _end(self, hand):
        hand.pipe.close()
        hand.process.kill()
        hand.process.join()

    def close(self):
        """End all processes: those that are idle by a word, the others at once."""
        while self.hands:
            hand = self.hands.pop()
            if hand.task is None and hand.process.is_alive():
                hand.pipe.send(None)
                hand.process.join(5)
            self._end(hand)
