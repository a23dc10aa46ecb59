"""Inside the confined process: notice code that reaches for the machinery around it.

Where a class is checked, the probe has to run beside the student's code. What it yields could
then be made up by patching NumPy or by walking up the stack. Neither has a place in an answer.
"""

import builtins
import os
import sys

import numpy as np

from ..course.limits import is_cell

_EVENTS = {
    "sys._getframe": "reads stack frames", "sys._current_frames": "reads stack frames",
    "sys.setprofile": "traces execution",  # not settrace: the time limit itself traces
    "gc.get_objects": "searches memory", "gc.get_referrers": "searches memory",
    "gc.get_referents": "searches memory", "code.__new__": "makes code objects",
    "object.__getattr__": "reads code or frame objects", "object.__setattr__": "changes code",
    "os.fork": "starts processes", "os.forkpty": "starts processes", "os.exec": "starts processes",
    "os.posix_spawn": "starts processes", "os.system": "starts processes",
    "subprocess.Popen": "starts processes", "os.kill": "sends signals",
    "socket.connect": "uses the network", "socket.getaddrinfo": "uses the network",
}
_OF_PROCESSES = {"mem", "fd", "environ", "task"}


class Tampering(BaseException):
    """Raised where an answer reaches for what no exercise needs; says what."""


class Guard:
    """Watches from ``start`` on; ``caught`` is what was found, "" while nothing was.

    An audit hook cannot be removed again. It is not the wall, which is the process around it:
    it makes sure that the usual ways of making results up are seen.
    """

    def __init__(self, holders):
        self.before = [(holder, _functions(holder)) for holder in [
            builtins, np, np.random, np.linalg, np.lib.stride_tricks, *holders]]
        self.caught, self.on = "", False

    def start(self):
        """Watch from here on."""
        self.on = True
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if not self.on:
            return
        self.on = False  # what is asked here raises events of its own
        try:
            why = self._forbidden(event, arguments)
        finally:
            self.on = True
        if why:
            self.caught = self.caught or why
            raise Tampering(why)

    def _forbidden(self, event, arguments):
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            return "opens what belongs to processes" if _of_a_process(arguments[0]) else ""
        why = "uses ctypes" if event.startswith("ctypes.") else _EVENTS.get(event, "")
        return why if why and is_cell(sys._getframe(2).f_code.co_filename) else ""

    def look(self):
        """Raise Tampering where a watched module or class is no longer what it was."""
        for holder, before in self.before:
            now = vars(holder)
            for name, value in before:
                if now.get(name) is not value and not self.caught:
                    self.caught = f"replaces {holder.__name__}.{name}"
        if self.caught:
            raise Tampering(self.caught)


def _of_a_process(path):
    """True for a process's memory and open files; what libraries ask of a system is let alone."""
    path = os.fsdecode(path)
    folder, name = os.path.split(path)
    places = [os.path.realpath(path), os.path.join(os.path.realpath(folder), name)]
    return any(place.startswith("/proc/") and _OF_PROCESSES & set(place.split("/"))
               for place in places)


def _functions(holder):
    """What can be called in a module or class, with its name."""
    return [(name, value) for name, value in vars(holder).items() if callable(value)]
