"""Judge an implementation: same probe, same seed, on it and on the reference.

Where arrays differ, the known mistakes run too. A mistake whose array equals the student's
is named, array by array, so that two mistakes made at once both get their names.
"""

import secrets
from dataclasses import dataclass, field

import numpy as np

from .comparing import compare
from .files import CourseError
from .limits import TooSlow, time_limit
from .probing import Failure, Outcome, run_rounds

LIMIT = 10.0  # seconds for a whole check; a reference needs a few milliseconds
STOPPED = "how it stopped"  # the entry that stands for an exception


@dataclass
class Report:
    """What a check found; ``differences`` and ``named`` are empty where it passed."""

    exercise: object
    seed: int
    passed: bool = False
    failure: Failure = None
    differences: list = field(default_factory=list)
    right: list = field(default_factory=list)
    named: list = field(default_factory=list)  # (Mistake, [array names])
    proven: str = ""

    @property
    def failure_kind(self):
        """The kind of the failure that ended it, "" where none did."""
        return self.failure.kind if self.failure else ""


def new_seed():
    """A seed that a student can type again: at most six digits."""
    return secrets.randbelow(10**6)


def judge(workshop, implementation, seed=None, given=None):
    """Check an implementation against the reference; a Report."""
    seed = new_seed() if seed is None else int(seed)
    wanted = wanted_outcomes(workshop, seed)
    return judge_outcomes(workshop, seed, _student_outcomes(
        workshop, implementation, seed, given, wanted))


def wanted_outcomes(workshop, seed):
    """What the reference makes of the probe; a CourseError where it stops itself."""
    wanted = workshop.outcomes(workshop.reference, seed)
    for outcome in wanted:
        if outcome.failure:
            raise CourseError(f"The course's own solution of {workshop.exercise.name} stops on "
                              f"the draw seed={seed} ({outcome.failure}). That is a fault of the "
                              "course, not yours: run the check again.")
    return wanted


def judge_outcomes(workshop, seed, got):
    """Judge what a probe yielded, wherever it ran; a Report."""
    exercise, wanted = workshop.exercise, wanted_outcomes(workshop, seed)
    report = Report(exercise, seed)
    report.failure = next((o.failure for o in got if o.failure), None)
    if report.failure and report.failure.kind == "blank":
        report.failure = _whose_blank(workshop, report.failure)
    verdicts = _verdicts(got, wanted, _conditioning(exercise))
    report.differences = [v for v in verdicts.values() if v]
    report.right = [name for name, verdict in verdicts.items() if not verdict]
    report.passed = not report.differences and report.failure is None
    if report.passed:
        report.proven = _proven(exercise, wanted)
    elif report.failure is None or report.failure.kind not in ("blank", "needs", "slow"):
        report.named = name_mistakes(workshop, seed, got, wanted)
    return report


def _whose_blank(workshop, failure):
    """The same failure, or one that names the other exercise in which the blank stands."""
    if failure.text in workshop.exercise.cell.prompts:
        return failure
    others = (exercise.name for exercise in workshop.chapter.exercises.values()
              if failure.text in exercise.cell.prompts)
    name = next(others, None)
    return Failure("needs", name) if name else failure


def _conditioning(exercise):
    return exercise.cell.meta.get("conditioning", 1.0)


def _student_outcomes(workshop, implementation, seed, given, wanted):
    limit = workshop.exercise.cell.meta.get("limit", LIMIT)
    probe = workshop.probe(given)
    try:
        with time_limit(limit):
            return run_rounds(probe, implementation, seed, [o.calls for o in wanted])
    except TooSlow:
        return [Outcome(failure=Failure("slow", f"{limit:g}"))]


def _entries(outcome):
    """The arrays of an outcome, and how it stopped as one more of them."""
    entries = dict(outcome.arrays)
    if outcome.failure:
        entries[STOPPED] = np.array(str(outcome.failure))
    return entries


def _verdicts(got, wanted, conditioning):
    """The first Difference of each array over all rounds, None where it is always right."""
    verdicts = dict.fromkeys(wanted[0].arrays)
    for student, reference in zip(got, wanted, strict=False):
        for name, want in reference.arrays.items():
            if verdicts.get(name) is None:
                verdicts[name] = compare(
                    name, student.arrays.get(name), want, reference.size, conditioning)
    return verdicts


def name_mistakes(workshop, seed, got, wanted):
    """The fewest known mistakes that explain the wrong arrays, each with those arrays."""
    conditioning = _conditioning(workshop.exercise)
    names = wrong_names(workshop, got, wanted)
    entries = [_entries(outcome) for outcome in got]
    candidates = []
    for mistake in workshop.mistakes:
        made = workshop.outcomes(mistake.implementation, seed)
        wrong = wrong_of_mistake(workshop, mistake, seed)
        explained = wrong & _agreeing(names, made, entries, wanted, conditioning)
        excess = wrong - explained
        if len(explained) > len(excess):  # else more speaks against it than for it
            candidates.append((mistake, explained, len(excess)))
    return _cover(candidates, names)


def wrong_names(workshop, got, wanted):
    """The names of all wrong arrays, with STOPPED where a run did not finish."""
    verdicts = _verdicts(got, wanted, _conditioning(workshop.exercise))
    wrong = {name for name, verdict in verdicts.items() if verdict and verdict.kind != "missing"}
    return wrong | ({STOPPED} if any(o.failure for o in got) else set())


def wrong_of_mistake(workshop, mistake, seed):
    """The names of the arrays that a known mistake gets wrong; worked out once per seed."""
    return workshop.remember(("wrong", mistake.name, seed), lambda: wrong_names(
        workshop, workshop.outcomes(mistake.implementation, seed),
        workshop.outcomes(workshop.reference, seed)))


def _agreeing(names, made, entries, wanted, conditioning):
    """Those of the wrong names whose array in a mistake equals the student's in every round."""
    left = set(names)
    for mine, theirs, reference in zip(map(_entries, made), entries, wanted, strict=False):
        for name in list(left):
            a, b = mine.get(name), theirs.get(name)
            same = a is b if a is None or b is None else compare(
                name, a, b, reference.size, conditioning) is None
            if not same:
                left.discard(name)
    return left


def _cover(candidates, names):
    """Greedy: most arrays explained first, then the fewest wrongly predicted."""
    named, left = [], set(names)
    while True:
        useful = [(len(explained & left), -excess, -order)
                  for order, (_, explained, excess) in enumerate(candidates)]
        if not useful or max(useful)[0] == 0:
            return named
        mistake, explained, _ = candidates[-max(useful)[2]]
        named.append((mistake, sorted(explained & left)))
        left -= explained


def _proven(exercise, wanted):
    """What a pass has shown: which results, on how many draws, and up to which size."""
    names = list(wanted[0].arrays)
    if not exercise.cell.meta.get("reveal", True):
        return f"{', '.join(names)}: right"
    biggest = max((a for o in wanted for a in o.arrays.values()), key=lambda a: a.size)
    shape = f", up to shape {biggest.shape}" if biggest.ndim else ""
    verb = "equals" if len(names) == 1 else "equal"
    if len(names) > 4:
        names = [*names[:3], f"{len(names) - 3} more results"]
    return f"{', '.join(names)} {verb} the reference on {len(wanted)} random draws{shape}"
