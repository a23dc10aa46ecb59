"""Score the answers of one chapter: run each in confinement, judge outside what came out.

Each exercise starts afresh, with what stands above it. Where an answer fails on top of the
student's own earlier answers, it is tried once more on top of the course's: one bad exercise
never costs another one its points.
"""

import re
import time
from dataclasses import dataclass, replace

import numpy as np

from ..course.answers import imports_before, missing_in_module
from ..course.diagnosing import LIMIT, Report, judge_outcomes, new_seed, wanted_outcomes
from ..course.files import CourseError
from ..course.limits import TooSlow, time_limit
from ..course.modules import names_defined
from ..course.probing import ROUNDS, Failure, Outcome, run_rounds
from ..course.progress import fingerprint
from ..course.reference import workshop
from .remote import RemoteFunction, travels
from .rules import Rules
from .sandbox import Died

_KINDS = {"blank", "needs", "slow", "raised", "mutated", "drifted", "returned", "refused"}


@dataclass
class Scored:
    """What became of one exercise; ``report`` is None where no cell was found."""

    exercise: object
    report: Report = None
    seconds: float = 0.0

    @property
    def passed(self):
        """True where it earns its points."""
        return bool(self.report and self.report.passed)


class Scorer:
    """Scores submissions of one chapter in a Sandbox; ``limit`` caps the time of an exercise."""

    def __init__(self, chapter, sandbox, limit=LIMIT):
        self.chapter, self.sandbox, self.limit = chapter, sandbox, limit
        self.rules = Rules(chapter)

    def score(self, answers):
        """A Scored for every exercise of the chapter, in order."""
        scored, own, course = {}, [], []  # what stands above: with the student's, without
        for cell in self.chapter.cells:
            if not cell.defines:
                continue
            reference = [f"<reference {self.chapter.name}:{cell.line}>", cell.solved()]
            above = [reference]
            if cell.exercise:
                answer = answers.get(cell.exercise)
                done = self._score_one(cell, answer, own, course)
                scored[cell.exercise] = done
                if done.passed and cell.directive("export") is not None:
                    above = _named(answer, cell.exercise)
            own, course = own + above, [*course, reference]
        return scored

    def _score_one(self, cell, answer, own, course):
        exercise = self.chapter.exercises[cell.exercise]
        if answer is None:
            return Scored(exercise)
        start = time.monotonic()
        report = self._judged(exercise, answer, own, course)
        return Scored(exercise, report, round(time.monotonic() - start, 3))

    def _judged(self, exercise, answer, own, course):
        shop, seed = workshop(exercise), _good_seed(exercise)
        if fingerprint(answer.source) == fingerprint(exercise.cell.blank()):
            return Report(exercise, seed, failure=Failure("blank", exercise.cell.prompts[0]))
        trial = _Trial(self, shop, seed, answer)
        if not trial.outside:  # the student's code will run beside the probe
            broken = self.rules.broken_by(source for _, source in _named(answer, ""))
            if broken:
                return trial.failed("refused", broken)
            if self.rules.broken_by(source for name, source in own if name.startswith("<cell ")):
                own = course
        report = trial.judge(own)
        if not report.passed and own != course:
            again = trial.judge(course)
            report = again if again.passed else report
        return report


def _good_seed(exercise):
    """A fresh seed on which the course's own solution does not stop."""
    for _ in range(3):
        seed = new_seed()
        try:
            wanted_outcomes(workshop(exercise), seed)
            return seed
        except CourseError:
            continue
    raise CourseError(f"The course's own solution of {exercise.name} stops: run nyang prove.")


def _named(answer, name):
    """The cells of an answer with the file names that tracebacks show."""
    helpers = [[f"<cell {name} helper {i}>", source] for i, source in enumerate(answer.helpers)]
    return [*helpers, [f"<cell {name}>", answer.source]]


class _Trial:
    """One answer with one seed, to be run on top of whatever stands above it."""

    def __init__(self, scorer, shop, seed, answer):
        self.scorer, self.shop, self.seed, self.answer = scorer, shop, seed, answer
        self.exercise, self.chapter = shop.exercise, scorer.chapter
        self.limit = min(self.exercise.cell.meta.get("limit", LIMIT), scorer.limit)
        self.outside = travels(shop)
        self.wanted = wanted_outcomes(shop, seed)

    def judge(self, above):
        """The Report on the answer with these cells above it."""
        try:
            got = self._outcomes(above)
        except Died as died:
            return self.failed(died.kind, str(died) if died.kind == "killed" else
                                f"{self.limit:g}")
        except TooSlow:
            return self.failed("slow", f"{self.limit:g}")
        finally:
            self.scorer.sandbox.finish()
        return self._compared(got)

    def _compared(self, got):
        try:
            report = judge_outcomes(self.shop, self.seed, got)
        except CourseError:
            raise
        except Exception as error:  # values that no answer has, made to break a comparison
            return self.failed("killed", f"what it sent cannot be compared: {error!r}"[:300])
        missing = report.passed and self._missing()
        return replace(report, passed=False, failure=missing) if missing else report

    def failed(self, kind, text, where=""):
        """The Report on an answer that was stopped."""
        return Report(self.exercise, self.seed, failure=Failure(kind, text, where))

    def _missing(self):
        """The Failure of an exported answer that its module could not hold, or None."""
        if self.exercise.cell.directive("export") is None:
            return None
        try:
            return missing_in_module(self.chapter, self.exercise.cell, self.answer)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return Failure("raised", f"{type(error).__name__}: its module cannot be written")

    def _outcomes(self, above):
        """Run the probe on the answer, outside or inside; the Outcomes of all rounds."""
        sandbox = self.scorer.sandbox
        sandbox.begin(self._job(above), 2 * self.limit + 3)
        first = sandbox.receive()
        if not isinstance(first, dict):
            raise Died("killed", "it sent what is no answer")
        if "failure" in first:
            return [Outcome(failure=_failure(first["failure"]))]
        if self.outside:
            return self._call_from_outside()
        return self._collect(first)

    def _call_from_outside(self):
        sandbox = self.scorer.sandbox
        sandbox.extend(self.limit + 1)
        function = RemoteFunction(sandbox, self.shop.reference)
        calls = [outcome.calls for outcome in self.wanted]
        with time_limit(2 * self.limit + 3):  # the probe runs here, but on values from there
            got = run_rounds(self.shop.probe(), function, self.seed, calls)
        sandbox.send({"end": True})
        return got

    def _collect(self, message):
        """The outcomes that a probe inside has sent, all rounds of them or up to a failure."""
        got = []
        while len(got) < ROUNDS and "outcome" in message:
            got.append(_outcome(message["outcome"]))
            message = self.scorer.sandbox.receive()
            if not isinstance(message, dict):
                raise Died("killed", "it sent what is no answer")
        if "failure" in message:
            return [*got, Outcome(failure=_failure(message["failure"]))]
        if len(got) < ROUNDS or "done" not in message:
            raise Died("killed", "it sent what is no answer")
        return got

    def _job(self, above):
        """Everything that the confined process gets to know."""
        cell, answer = self.exercise.cell, _named(self.answer, self.exercise.name)
        exported = cell.directive("export") is not None
        imports = [] if exported else imports_before(self.chapter, cell)
        words = "\n".join(source for _, source in answer)
        inside = {} if self.outside else {
            "seed": self.seed, "after": self._given_below(),
            "calls": [[[call.name, list(call.returned)] for call in outcome.calls]
                      for outcome in self.wanted]}
        return {"name": self.exercise.name, "module": f"student_{self.chapter.name}",
                "limit": float(self.limit), "before": above, "answer": answer,
                "imports": [line for line in imports if names_defined(line) & _words(words)],
                "probe": None if self.outside else self.exercise.probe.source, **inside}

    def _given_below(self):
        """The given cells further down that the probe needs, directly or through another."""
        cells = self.chapter.cells
        below = [c for c in cells[cells.index(self.exercise.cell) + 1:]
                 if c.defines and not c.exercise]
        needed, words = [], _words(self.exercise.probe.source)
        for cell in reversed(below):
            if words & names_defined(cell.solved()):
                needed.insert(0, [f"<given {self.chapter.name}:{cell.line}>", cell.solved()])
                words |= _words(cell.source)
        return needed


def _words(text):
    return set(re.findall(r"\w+", text))


def _failure(parts):
    kind, text, where = parts
    if kind not in _KINDS:
        raise Died("killed", "it sent what is no answer")
    return Failure(kind, str(text)[:4000], str(where)[:4000])


def _outcome(message):
    """An Outcome out of what a confined process claims to have found."""
    arrays = {str(name)[:200]: array for name, array in message["arrays"].items()
              if isinstance(array, np.ndarray)}
    failure = message["failure"] and _failure(message["failure"])
    return Outcome(arrays, failure=failure)
