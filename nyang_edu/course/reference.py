"""Bring an exercise to life: its reference, its probe and its known mistakes.

The chapter's own definitions run in a namespace of their own, so that a check never
depends on what else a notebook has defined.
"""

import functools
import linecache
from dataclasses import dataclass

from .files import CourseError
from .probing import run_rounds
from .source import load_chapter, refuse, source_path


@dataclass
class Mistake:
    """A wrong implementation with a name and the hint that leads out of it."""

    name: str
    hint: str
    implementation: object = None


def execute(source, namespace, filename):
    """Run source in a namespace, with lines that tracebacks and inspect can show."""
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102


def reference_namespace(chapter):
    """A fresh namespace in which the chapter's reference cells have run."""
    namespace = {"__name__": f"reference_{chapter.name}"}
    for cell in chapter.cells:
        if cell.defines:
            execute(cell.solved(), namespace, f"<reference {chapter.name}:{cell.line}>")
    return namespace


@functools.lru_cache(maxsize=32)
def _cached_namespace(path, stamp):
    return reference_namespace(load_chapter(path))


class Workshop:
    """The living parts of one exercise: ``reference``, ``probe`` and ``mistakes``.

    ``given`` may hold the student's own definitions: what the chapter provides beside the
    exercises (a base class, say) is then the student's, so that both sides are of one kind.
    """

    def __init__(self, exercise, chapter, namespace):
        self.exercise, self.chapter, self.namespace = exercise, chapter, namespace
        self.reference = self.namespace[exercise.name]
        self._memory = {}

    def remember(self, key, compute):
        """The result of ``compute()``, worked out once for each key."""
        if key not in self._memory:
            self._memory[key] = compute()
        return self._memory[key]

    def outcomes(self, implementation, seed):
        """What the probe yields for the reference or a mistake, all rounds; kept per seed."""
        def compute():
            calls = None
            if implementation is not self.reference:
                calls = [o.calls for o in self.outcomes(self.reference, seed)]
            return run_rounds(self.probe(), implementation, seed, calls)

        return self.remember(("outcomes", id(implementation), seed), compute)

    def probe(self, given=None):
        """The exercise's probe function, ready to run."""
        namespace = {**self.namespace, **self._provided(given or {})}
        self._run(self.exercise.probe, namespace)
        if "probe" not in namespace:
            raise refuse(self.chapter.name, self.exercise.probe, "defines no function `probe`")
        return namespace["probe"]

    def _provided(self, given):
        """The student's versions of what the chapter itself gives, the exercises aside."""
        home = self.namespace["__name__"]
        return {
            name: given[name] for name, value in self.namespace.items()
            if getattr(value, "__module__", None) == home
            and name in given and name not in self.chapter.exercises
        }

    def _run(self, cell, namespace):
        execute(cell.source, namespace, f"<{cell.role} {self.exercise.name}>")

    @functools.cached_property
    def mistakes(self):
        """The known mistakes as a list of Mistake, in the source's order."""
        found = []

        def mistake(name, hint, swap=None):
            entry = Mistake(name, hint)
            found.append(entry)
            if swap:
                entry.implementation = self._swapped(name, swap)
                return None

            def keep(implementation):
                entry.implementation = implementation
                return implementation

            return keep

        namespace = {**self.namespace, "mistake": mistake, "reference": self.reference}
        self._run(self.exercise.mistakes, namespace)
        return found

    def _swapped(self, name, swap):
        """The reference's cell with one piece of text exchanged, brought to life."""
        old, new = swap
        source = self.exercise.cell.solved()
        if source.count(old) != 1:
            raise CourseError(
                f"{self.chapter.name}, mistake {name!r}: {old!r} must stand exactly once in the "
                f"reference of {self.exercise.name}, found {source.count(old)} times"
            )
        namespace = dict(self.namespace)
        execute(source.replace(old, new), namespace, f"<mistake {self.exercise.name} {name}>")
        return namespace[self.exercise.name]

    def blank(self):
        """The exercise as the student first finds it."""
        namespace = dict(self.namespace)
        execute(self.exercise.cell.blank(), namespace, f"<blank {self.exercise.name}>")
        return namespace[self.exercise.name]


def workshop(exercise):
    """The Workshop of an exercise; its chapter's namespace is built once per source."""
    path = source_path(exercise.chapter)
    info = path.stat()
    namespace = _cached_namespace(str(path), (info.st_mtime_ns, info.st_size))
    return Workshop(exercise, load_chapter(path), namespace)
