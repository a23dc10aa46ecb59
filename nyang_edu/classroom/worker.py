"""The confined process itself: it takes jobs from one pipe and answers into another.

It starts before any student's code is there, gives up every right it has, loads NumPy and the
given modules once, and then forks a process for each exercise, which starts in milliseconds.
"""

import contextlib
import importlib
import os
import signal
import sys

try:
    import resource
except ImportError:  # Windows
    resource = None

from .inside import Line, run_job
from .wire import reader


def main():
    """Serve until the other end closes."""
    line, control = _claim_pipes()
    setup = line.receive()
    _give_up_rights(setup["identity"])
    set_limits(setup["limits"])
    for name in setup["preload"]:
        try:
            importlib.import_module(name)
        except Exception:  # a module that needs what is not given, or what is blank
            continue
    control.send({"hello": True})
    while (job := line.receive()) is not None:
        if not setup["fork"]:
            run_job(job, line)
            return
        control.send({"ended": _run_forked(job, line, control)})


def _claim_pipes():
    """Keep the three standard streams for messages; the student's code gets empty ones.

    What a process says of itself comes over the second, what the server says of it over the
    third, which no student's process ever holds.
    """
    jobs, answers, words = (os.dup(number) for number in (0, 1, 2))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    read = reader(os.fdopen(jobs, "rb", 0))
    return Line(read, _Pen(answers)), Line(read, _Pen(words))


class _Pen:
    """Writes to a pipe all of what it is given."""

    def __init__(self, number):
        self.number = number

    def __call__(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.number, view):]


def _give_up_rights(identity):
    if identity is not None:
        os.setgroups([])
        os.setgid(identity)
        os.setuid(identity)


def set_limits(limits):
    """Set hard limits, which no process below can raise again; lower ones stay."""
    for name, value in limits.items() if resource else ():
        number = getattr(resource, name, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with contextlib.suppress(ValueError, OSError):  # a system may not know this limit
                resource.setrlimit(number, (value, value))


def _run_forked(job, line, control):
    """Run one job in a process of its own, end whatever it started; how it ended."""
    child = os.fork()
    if child == 0:
        os.close(control.write.number)
        try:
            run_job(job, line)
            os._exit(0)
        finally:  # whatever a student's code has made of this process
            os._exit(1)
    _, status = os.waitpid(child, 0)
    _sweep()
    return status


def _sweep():
    """End every process that is left and empty /tmp: the next exercise starts afresh.

    Only where this server has a machine of its own does it fork, so -1 means "all in here".
    """
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    for folder, folders, files in os.walk("/tmp", topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            path = os.path.join(folder, name)
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)


if __name__ == "__main__":
    sys.exit(main())
