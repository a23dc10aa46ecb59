"""Inside the confined process: bring a student's cell to life and answer for it.

A function that takes and returns plain data is called from outside, one call at a time: its
probe, and the seed, never come in here. For everything else the probe runs here, and the
arrays that it yields go out.
"""

import linecache
import sys
import traceback

import numpy as np

from ..course import probing
from ..course.limits import TooSlow, is_cell, time_limit
from .guard import Guard, Tampering
from .wire import Packer, Unpacker, WireError, read_frame

_SAID = 2000  # characters of a message that are passed on


class Line:
    """The two pipes to the grader, as messages."""

    def __init__(self, read, write):
        self.read, self.write = read, write

    def send(self, value, packer=None):
        """Send one value."""
        self.write((packer or Packer()).pack(value))

    def receive(self, unpacker=None):
        """The next value, or None at the end."""
        frame = read_frame(self.read)
        return None if frame is None else (unpacker or Unpacker()).unpack(*frame)


def run_job(job, line):
    """Do one exercise: load its cells, then serve calls or run the probe."""
    guard = Guard(_holders()) if job["probe"] else None
    if guard:
        guard.start()
    namespace = {"__name__": job["module"]}
    try:
        _load(job, namespace)
    except BaseException as error:  # a cell may raise anything, SystemExit included
        line.send({"failure": _failure(error, job["limit"])})
        return
    if job["name"] not in namespace:
        line.send({"failure": ["raised", f"no {job['name']} defined", ""]})
    elif guard:
        _run_probe(job, line, namespace, guard)
    else:
        line.send({"ready": True})
        Server(line, namespace[job["name"]]).serve()


def _holders():
    """The modules and classes of the course that are there before the student's code is."""
    modules = [m for name, m in sys.modules.items() if name.startswith("nyang_edu.") and m]
    classes = [value for module in modules for value in vars(module).values()
               if isinstance(value, type) and value.__module__ == module.__name__]
    return [*modules, *classes]


def _load(job, namespace):
    """Run the cells above, the imports that are used, the helpers and the answer."""
    for name, source in job["before"]:
        _execute(source, namespace, name)
    for line in job["imports"]:
        _import(line, namespace)
    with time_limit(job["limit"]):
        for name, source in job["answer"]:
            _execute(source, namespace, name)


def _execute(source, namespace, filename):
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102


def _import(line, namespace):
    """What a notebook has imported stands below what its cells define."""
    names = {}
    try:
        _execute(line, names, "<imports>")
    except ImportError:
        return
    for name, value in names.items():
        namespace.setdefault(name, value)


def _failure(error, limit):
    """[kind, text, where] of what ended a cell."""
    if isinstance(error, TooSlow):
        return ["slow", f"{limit:g}", ""]
    if isinstance(error, Tampering):
        return ["refused", str(error)[:_SAID], ""]
    if isinstance(error, MemoryError):
        return ["raised", "MemoryError: it needs more memory than a graded process has", ""]
    return ["raised", probing.exception_text(error)[:_SAID], cell_line(error)[:_SAID]]


def cell_line(error):
    """The line of the student's cell at which it stopped, a syntax error's included."""
    if isinstance(error, SyntaxError) and error.text:
        return f"line {error.lineno}:  {error.text.strip()}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_cell(f.filename)]
    return f"line {frames[-1].lineno}:  {frames[-1].line}" if frames else ""


def _run_probe(job, line, namespace, guard):
    """Run the probe here, under the guard; send each round's outcome as soon as it is there."""
    implementation = namespace[job["name"]]
    world = dict(namespace)
    for name, source in job["after"]:
        _execute(source, world, name)
    world[job["name"]] = implementation
    _execute(job["probe"], world, f"<probe {job['name']}>")
    probe = _guarded(world["probe"], guard)
    try:
        guard.look()
        with time_limit(job["limit"]):
            for number in range(probing.ROUNDS):
                outcome = probing.run(probe, implementation, job["seed"], number,
                                      _calls(job["calls"][number]))
                guard.look()
                line.send({"outcome": _plain(outcome)})
    except TooSlow:
        line.send({"failure": ["slow", f"{job['limit']:g}", ""]})
    except Tampering as error:
        line.send({"failure": ["refused", str(error)[:_SAID], ""]})
    except WireError:
        line.send({"failure": ["raised", "ValueError: a result is too large", ""]})
    else:
        line.send({"done": True})


def _guarded(probe, guard):
    """The probe, looked after before each of its results is taken."""
    def run(implementation, rng):
        for name, value in probe(implementation, rng):
            guard.look()
            yield name, value

    return run


def _calls(kinds):
    return [probing.Call(name, {}, tuple(returned)) for name, returned in kinds]


def _plain(outcome):
    failure = outcome.failure
    return {"arrays": outcome.arrays, "size": outcome.size,
            "failure": failure and [failure.kind, failure.text[:_SAID], failure.where[:_SAID]]}


class Server:
    """Calls one function as it is told to, until it is told that this was all."""

    def __init__(self, line, function):
        self.line, self.function = line, function

    def serve(self):
        """Answer calls until the end."""
        unpacker = Unpacker(call=self.call_back)
        while "call" in (message := self.line.receive(unpacker) or {}):
            self.answer(*message["call"], unpacker.arrays)

    def answer(self, args, kwargs, arrays):
        """Make one call and send what came of it; ``arrays`` are those that were sent."""
        generators = [a for a in [*args, *kwargs.values()] if isinstance(a, np.random.Generator)]
        before = [array.copy() for array in arrays]
        try:
            reply = {"value": self.function(*args, **kwargs)}
        except BaseException as error:
            reply = {"raised": _described(error)}
        reply["changed"] = [[i, array.copy()] for i, (array, old) in enumerate(
            zip(arrays, before, strict=True)) if array.tobytes() != old.tobytes()]
        reply["generators"] = generators
        try:
            self.line.send(reply, Packer(arrays))
        except WireError:
            self.line.send({"raised": _described(ValueError("the result is too large")),
                            "changed": [], "generators": []})

    def call_back(self, number, args, kwargs):
        """Call a function that was handed in, where it lives."""
        self.line.send({"callback": [number, list(args), dict(kwargs)]})
        reply = self.line.receive()
        if reply is None or "raised" in reply:
            raise RuntimeError(reply["raised"] if reply else "the grader is gone")
        return reply["value"]


def _described(error):
    """[built-in class, text as shown, message, line] of an exception, or of a blank."""
    names = [base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins"]
    return [names[0], probing.exception_text(error)[:_SAID], str(error)[:_SAID],
            probing.student_line(error)[:_SAID]]
