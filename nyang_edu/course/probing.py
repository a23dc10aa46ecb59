"""Run a probe on an implementation and keep what came out.

A probe is a generator ``probe(implementation, rng)``: it draws inputs, uses the function
or class, and yields named arrays. It asserts nothing. The same probe with the same seed
runs on the student's code, on the reference and on every known mistake; what differs
between the outcomes is all that a check ever looks at.
"""

import contextlib
import functools
import inspect
import linecache
import traceback
import warnings
from dataclasses import dataclass, field

import numpy as np

from .limits import TooSlow, is_cell

ROUNDS = 5  # fresh draws in one check: shapes and values that agree by luck once do not five times


@dataclass
class Call:
    """One call from the probe: what was given to it, and the kind of value that came back."""

    name: str
    given: dict
    returned: tuple = ()

    def __str__(self):
        given = ", ".join(f"{label}={_brief(value)}" for label, value in self.given.items())
        return f"it was called as {self.name}({given})"


@dataclass
class Failure:
    """Why a probe stopped early: ``kind`` selects the words, the rest fills them in."""

    kind: str  # "blank", "needs", "slow", "raised", "mutated", "drifted", "returned"; graded
    # answers also "killed" and "refused"
    text: str
    where: str = ""

    def __str__(self):
        return f"{self.kind}: {self.text}"


@dataclass
class Outcome:
    """One run: named arrays in order, the calls made, and the Failure that ended it or None.

    ``size`` is the most elements that any argument held: the size of the problem.
    """

    arrays: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    failure: Failure = None
    size: int = 1


class _Stop(Exception):
    """Ends a run with a Failure that the watcher found."""


def run(probe, implementation, seed, round_=0, calls=None):
    """One run of ``probe``: an Outcome, whatever the implementation does.

    ``calls`` are those of the reference's run with the same seed; where they are given, a
    call that returns another kind of value ends the run with a message about that.
    """
    outcome = Outcome()
    rng = np.random.default_rng([seed, round_])
    watch = _Watch(outcome, calls)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(), watch.on(
            implementation
        ) as watched:
            warnings.simplefilter("ignore")
            for name, value in probe(watched, rng):
                outcome.arrays[name] = _as_array(value)
    except TooSlow:
        raise
    except _Stop as stop:
        outcome.failure = stop.args[0]
    except NotImplementedError as error:
        outcome.failure = Failure("blank", str(error), _function_of(error))
    except RecursionError:
        outcome.failure = Failure("raised", "RecursionError: it calls itself without end")
    except (Exception, SystemExit) as error:
        outcome.failure = _raised(error, outcome)
    return outcome


def run_rounds(probe, implementation, seed, calls=None):
    """The Outcomes of all rounds; ``calls`` are the reference's, one list for each round."""
    return [run(probe, implementation, seed, round_, calls and calls[round_])
            for round_ in range(ROUNDS)]


def _as_array(value):
    try:
        return np.array(value)  # a copy: later calls may write into what was returned
    except ValueError:  # lists of unequal length
        return np.array(repr(value))


def _raised(error, outcome):
    line = student_line(error)
    last = str(outcome.calls[-1]) if outcome.calls else ""
    where = "\n".join(part for part in (line, last) if part)
    return Failure("raised", exception_text(error), where)


def exception_text(error):
    """The type of an exception, and its message where it has one."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def student_line(error):
    """The deepest line of the traceback that stands in the student's notebook.

    An error that comes from another process brings its line with it.
    """
    if hasattr(error, "student_line"):
        return error.student_line
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_cell(frame.filename):
            text = linecache.getline(frame.filename, frame.lineno).strip()
            place = "" if frame.name.startswith("<") else f" of {frame.name}"  # <listcomp>
            return f"line {frame.lineno}{place}:  {text}"
    return ""


def _function_of(error):
    return traceback.extract_tb(error.__traceback__)[-1].name


def describe(value):
    """The kind of a value as a caller sees it: ("array",), ("tuple", 3), ("list", 2), …"""
    if value is None:
        return ("None",)
    if isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        return ("array",)
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, len(value))
    return ("object", type(value).__name__)


class _Watch:
    """Stands between the probe and the implementation, and notes each outermost call."""

    def __init__(self, outcome, expected=None):
        self.outcome, self.expected, self.inside = outcome, expected, False

    @contextlib.contextmanager
    def on(self, implementation):
        """Give the watched function, or watch a class's methods for the time of the block."""
        if not inspect.isclass(implementation):
            name = getattr(implementation, "__name__", type(implementation).__name__)
            yield self._wrap_function(implementation, name)
            return
        methods = {
            name: value for base in reversed(implementation.__mro__[:-1])
            for name, value in vars(base).items()
            if inspect.isfunction(value) and (name == "__call__" or name[0] != "_")
        }
        own = dict(vars(implementation))
        for name, method in methods.items():
            label = f"{implementation.__name__}.{name}"
            setattr(implementation, name, self._wrap_function(method, label, skip=1))
        try:
            yield implementation
        finally:
            for name in methods:
                if name in own:
                    setattr(implementation, name, own[name])
                else:
                    delattr(implementation, name)

    def _wrap_function(self, function, name, skip=0):
        @functools.wraps(function)
        def watched(*args, **kwargs):
            if self.inside:
                return function(*args, **kwargs)
            with self._outermost():
                return self._call(function, name, args, kwargs, skip)

        return watched

    @contextlib.contextmanager
    def _outermost(self):
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    def _call(self, function, name, args, kwargs, skip):
        given = _named_arguments(function, args, kwargs, skip)
        arrays = {label: value for label, value in given.items()
                  if isinstance(value, np.ndarray)}
        before = {label: value.copy() for label, value in arrays.items()}
        if self.outcome.calls:
            self.outcome.calls[-1].given = {}  # only the latest call is ever shown
        call = Call(name, {**given, **before})
        self.outcome.calls.append(call)
        self.outcome.size = max([self.outcome.size, *(a.size for a in arrays.values())])
        result = function(*args, **kwargs)
        call.returned = describe(result)
        for label, value in arrays.items():
            if not _same_bytes(value, before[label]):
                kind = "drifted" if _nearly(value, before[label]) else "mutated"
                raise _Stop(Failure(kind, label, str(call)))
        self._compare_return(call, result)
        return result

    def _compare_return(self, call, result):
        if self.expected is None or len(self.outcome.calls) > len(self.expected):
            return
        wanted = self.expected[len(self.outcome.calls) - 1]
        if wanted.name == call.name and not _same_return(call.returned, wanted.returned):
            text = f"{call.name} returned {_words(call.returned)}{_whole_numbers(result)}, " \
                   f"but it must return {_words(wanted.returned)}"
            raise _Stop(Failure("returned", text, str(call)))


def _same_return(got, wanted):
    """True where a caller can use one for the other: a list unpacks like a tuple."""
    if not wanted or wanted[0] == "object":
        return True
    several = {"tuple", "list"}
    return got == wanted or got[0] in several and wanted[0] in several and got[1:] == wanted[1:]


def _same_bytes(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _nearly(a, b):
    return a.shape == b.shape and a.dtype.kind == "f" and np.allclose(a, b, 1e-6, 1e-9)


def _words(kind):
    if kind == ("None",):
        return "nothing (is a `return` missing?)"
    if kind == ("array",):
        return "one array or number"
    if kind[0] in ("tuple", "list"):
        return f"a {kind[0]} of {kind[1]} value{'' if kind[1] == 1 else 's'}"
    return f"an object of type {kind[1]}"


def _whole_numbers(result):
    """A short tuple or list of whole numbers, so that two wrong ones do not look the same."""
    if type(result) not in (tuple, list) or not 0 < len(result) <= 6:
        return ""
    if not all(isinstance(value, (int, np.integer)) for value in result):
        return ""
    return f", {type(result)(map(int, result))}"


def _named_arguments(function, args, kwargs, skip):
    """The arguments by name; those of ``*inputs`` one by one, as x, or as x1, x2, …."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return {**{f"argument {i}": a for i, a in enumerate(args[skip:], 1)}, **kwargs}
    named = {}
    for name, value in list(bound.items())[skip:]:
        if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"x{i}" if len(value) > 1 else "x": one
                      for i, one in enumerate(value, 1)}
        else:
            named[name] = value
    return named


def _brief(value):
    """A value as a message shows it: small ones in full, the others by kind and shape."""
    if isinstance(value, np.ndarray) and (value.size > 4 or value.ndim > 1):
        return f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, (tuple, list)) and len(value) <= 3:
        return f"({', '.join(_brief(one) for one in value)})"
    if inspect.isroutine(value):
        return "a function"
    text = repr(value)
    own = text.startswith("<") or len(text) > 60
    return f"a {type(value).__name__}" if own else text
