"""Call a student's function where it lives, from a probe that runs outside.

The probe never enters the student's process, nor does the seed: what it yields is worked out
here, from returned values that are data and nothing else.
"""

import builtins
import inspect
from types import SimpleNamespace

from ..course.comparing import compare
from ..course.diagnosing import judge_outcomes, wanted_outcomes
from ..course.probing import run_rounds
from .inside import Server
from .sandbox import Died
from .wire import HEAD, Packer, Unpacker, update_generator

_SEED = 20_000  # of the trial that tells whether an exercise's calls can travel
_KNOWN = {}  # what the trials have shown


class RemoteFunction:
    """Stands for a function at the other end of a channel; ``lossy`` as in Packer."""

    def __init__(self, channel, reference):
        self.channel, self.lossy = channel, False
        self.__name__ = reference.__name__
        self.__signature__ = inspect.signature(reference)

    def __call__(self, *args, **kwargs):
        """Make one call there; arguments that were written into are written into here."""
        packer = Packer()
        self.channel.send({"call": [list(args), kwargs]}, packer)
        self.lossy |= packer.lossy
        while "callback" in (reply := self._receive(packer)):
            self._call_back(packer.functions, *reply["callback"])
        if "raised" in reply:
            raise _exception(*reply["raised"])
        _write_back(packer.arrays, reply["changed"])
        self._advance([a for a in [*args, *kwargs.values()] if hasattr(a, "bit_generator")],
                      reply["generators"])
        return reply["value"]

    @staticmethod
    def _advance(mine, theirs):
        for generator, other in zip(mine, theirs, strict=False):
            update_generator(generator, other)

    def _receive(self, packer):
        unpacker = Unpacker(packer.arrays)
        reply = self.channel.receive(unpacker)
        self.lossy |= unpacker.lossy
        if not isinstance(reply, dict) or not {"callback", "raised", "value"} & set(reply):
            raise Died("killed", "it sent what is no answer")
        return reply

    def _call_back(self, functions, number, args, kwargs):
        try:
            answer = {"value": functions[number](*args, **kwargs)}
        except Exception as error:
            answer = {"raised": f"{type(error).__name__}: {error}"}
        self.channel.send(answer)


def _write_back(arrays, changed):
    for index, now in changed:
        if arrays[index].shape == now.shape and arrays[index].dtype == now.dtype:
            arrays[index][...] = now


def _exception(base, shown, message, line):
    """An exception of the same name, message and nearest built-in class."""
    found = getattr(builtins, base, Exception)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        found = SystemExit
    name = shown.split(":")[0]
    members = {"__init__": lambda self: None, "__str__": lambda self: message,
               "student_line": line}
    try:
        return type(name if name.isidentifier() else base, (found,), members)()
    except TypeError:  # a class that cannot be made without arguments
        return type(base, (Exception,), members)()


class Loopback:
    """A channel whose other end is here: values take the whole way there and back."""

    def __init__(self, function):
        self.server = Server(SimpleNamespace(send=self._keep), function)

    def send(self, value, packer):
        """Let the function answer."""
        self.functions = packer.functions
        unpacker = Unpacker(call=self._call_back)
        args, kwargs = unpacker.unpack(*_parts(packer.pack(value)))["call"]
        self.server.answer(args, kwargs, unpacker.arrays)

    def _keep(self, value, packer):
        self.frame = _parts(packer.pack(value))

    def receive(self, unpacker):
        """What it answered."""
        return unpacker.unpack(*self.frame)

    def _call_back(self, number, args, kwargs):
        return _copied(self.functions[number](*_copied(args), **_copied(kwargs)))


def _copied(value):
    return Unpacker().unpack(*_parts(Packer().pack(value)))


def _parts(frame):
    _, text, _ = HEAD.unpack(frame[:HEAD.size])
    return frame[HEAD.size:HEAD.size + text], frame[HEAD.size + text:]


def travels(shop):
    """True where an exercise can be called from outside without losing anything.

    Tried, not guessed: over the wire the reference must yield the very same, and every known
    mistake must still be caught.
    """
    exercise = shop.exercise
    key = (exercise.chapter, exercise.name, exercise.cell.source, exercise.probe.source)
    if key not in _KNOWN:
        _KNOWN[key] = not inspect.isclass(shop.reference) and _tried(shop)
    return _KNOWN[key]


def _tried(shop):
    got, lossy = _looped(shop, shop.reference)
    if lossy or not _same(got, wanted_outcomes(shop, _SEED)):
        return False
    return not any(judge_outcomes(shop, _SEED, _looped(shop, m.implementation)[0]).passed
                   for m in shop.mistakes)


def _looped(shop, function):
    """The outcomes of a function that is called over the wire, and what was lost."""
    remote = RemoteFunction(Loopback(function), shop.reference)
    calls = [outcome.calls for outcome in wanted_outcomes(shop, _SEED)]
    return run_rounds(shop.probe(), remote, _SEED, calls), remote.lossy


def _same(got, wanted):
    return all(
        one.failure is None and list(one.arrays) == list(other.arrays) and all(
            compare(name, array, other.arrays[name]) is None
            for name, array in one.arrays.items())
        for one, other in zip(got, wanted, strict=True))
