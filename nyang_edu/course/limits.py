"""Stop code that runs too long, on every system, from the main thread."""

import _thread
import contextlib
import signal
import sys
import threading


class TooSlow(BaseException):
    """Raised inside code that ran past its limit; no ``except Exception`` swallows it."""


@contextlib.contextmanager
def time_limit(seconds):
    """Raise TooSlow in the block once it has run for ``seconds``.

    Python code is stopped between two steps; one long NumPy call ends first. Outside the
    main thread there is no limit, since Python offers no way to interrupt one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
    elif hasattr(signal, "setitimer"):
        yield from _with_alarm(seconds)
    else:
        yield from _with_interrupt(seconds)


def is_cell(filename):
    """True for the file name of code that came from a student's notebook."""
    return "ipykernel" in filename or filename.startswith("<cell ")


def _with_alarm(seconds):
    def stop(signum, frame):
        _stop_at_next_line(frame)
        raise TooSlow

    trace, before = sys.gettrace(), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again, for an except in an except
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(trace)
        signal.signal(signal.SIGALRM, before)


def _stop_at_next_line(frame):
    """Raise again at the student's next line: a bare ``except:`` may swallow the first."""
    def stop(frame, event, argument):
        if event == "line":
            raise TooSlow

    while frame:
        if is_cell(frame.f_code.co_filename):
            frame.f_trace = stop
        frame = frame.f_back
    sys.settrace(lambda frame, *_: None)  # switches tracing on; new frames are let alone


def _with_interrupt(seconds):  # Windows has no timer signal
    fired = threading.Event()

    def stop():
        fired.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if fired.is_set():
            raise TooSlow from None
        raise
    finally:
        timer.cancel()
