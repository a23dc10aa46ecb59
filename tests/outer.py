"""Run a command under limits of the test's own: a hole in a confinement must fail a test only.

The limits are watched from outside, over all processes together; whoever breaks one is ended
with everything below it.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from nyang_edu.classroom.watching import family, used_memory


@dataclass
class Ran:
    """How a command went: its exit code, output, peaks, and the outer limit that it broke."""

    code: int = None
    text: str = ""
    seconds: float = 0.0
    memory: int = 0
    processes: int = 0
    broke: str = ""


def run_limited(command, log, seconds=240, memory=8 << 30, processes=200, **how):
    """Run a command to its end or to a limit; its output goes to the file ``log``."""
    ran, start = Ran(), time.monotonic()
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                                   start_new_session=True, **how)
        while process.poll() is None and not ran.broke:
            time.sleep(0.1)
            members = family(process.pid)
            ran.processes = max(ran.processes, len(members))
            ran.memory = max(ran.memory, used_memory(process.pid))
            ran.broke = _broken(ran, time.monotonic() - start, seconds, memory, processes)
            if ran.broke:
                _end(members)
        ran.code = process.wait(10)
    ran.seconds = time.monotonic() - start
    ran.text = Path(log).read_text("utf-8", "replace")
    return ran


def _broken(ran, took, seconds, memory, processes):
    for name, value, most in [("time", took, seconds), ("memory", ran.memory, memory),
                              ("processes", ran.processes, processes)]:
        if value > most:
            return f"{name}: {value:g} of {most:g}"
    return ""


def _end(members):
    for pid in members:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def strangers():
    """The processes that run under a user id of a confined process, anywhere on the machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid >= 1_000_000:
                found.append(path.name)
        except OSError:
            continue
    return found
