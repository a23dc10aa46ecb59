"""What a student calls from a cell: ``check``, ``hint`` and ``finish``."""

import inspect
import linecache
import os
import sys

from . import progress, reporting
from .diagnosing import judge
from .files import CourseError, is_test_run
from .limits import is_cell
from .reference import workshop
from .source import find_chapter, find_exercise


class CheckFailed(AssertionError):
    """An exercise did not pass; its message, or a short one, stands where a traceback would."""

    def __init__(self, message, short=None):
        super().__init__(message)
        self.short = short

    def _render_traceback_(self):
        return [self.short or str(self)]


def check(implementation, seed=None):
    """Check an exercise: pass its function or class, or its name as a string.

    Prints one line when it passes and raises CheckFailed when it does not. Inputs are drawn
    afresh each time; ``seed`` repeats the draw that a message names.
    """
    given = sys._getframe(1).f_globals
    exercise, implementation = _resolve(implementation, given)
    report = judge(workshop(exercise), implementation, seed, given)
    source = cell_source(implementation)
    progress.record(exercise.name, passed=report.passed,
                    fingerprint=source and progress.fingerprint(source))
    _show(report)


def _resolve(implementation, given):
    """The Exercise that is meant, and the student's object for it."""
    if isinstance(implementation, str):
        exercise = find_exercise(implementation)
        if implementation not in given:
            raise CourseError(f"{implementation} is not defined yet: run its cell first.")
        found = given[implementation]
        if not callable(found):
            raise CourseError(f"{implementation} must be a function or class, but it is "
                              f"a {type(found).__name__}: run the exercise's cell again.")
        return exercise, found
    name = getattr(implementation, "__name__", None)
    if name is None:
        raise CourseError(
            "check expects the function or class of an exercise, or its name; "
            f"received a {type(implementation).__name__}. Leave out the brackets: check(f), "
            "not check(f(x))."
        )
    return find_exercise(name), implementation


def cell_source(implementation):
    """The text of the notebook cell that defined a function or class, or None."""
    candidates = vars(implementation).values() if inspect.isclass(implementation) else [
        implementation]
    for function in filter(inspect.isfunction, candidates):
        filename = function.__code__.co_filename
        if is_cell(filename):
            return "".join(linecache.getlines(filename)) or None
    return None


def _show(report):
    """Show a report in the form that suits: a card in JupyterLab, text elsewhere."""
    rich = "JPY_SESSION_NAME" in os.environ
    if rich:
        from IPython.display import display

        display({"text/html": reporting.as_html(report),
                 "text/plain": reporting.as_text(report)}, raw=True)
    elif report.passed:
        print(reporting.as_text(report))
    if not report.passed:
        short = f"not yet  {report.exercise.name}: the card above says why" if rich else None
        raise CheckFailed(reporting.as_text(report), short)


def hint(name):
    """The next hint of an exercise: direction, formula, skeleton, and then the solution."""
    exercise = find_exercise(name if isinstance(name, str) else name.__name__)
    texts, sealed = list(exercise.hints), find_chapter(exercise.chapter).sealed
    if not sealed:
        texts.append(f"The solution:\n\n```python\n{exercise.cell.solved()}\n```")
    used = 0 if is_test_run() else progress.load().get(exercise.name, {}).get("hints", 0)
    progress.record(exercise.name, hints=min(used + 1, len(texts)))
    number = min(used, len(texts) - 1)
    last = number == len(texts) - 2 and not sealed
    warning = "\n\nThe next call shows the solution." if last else ""
    _say(f"hint {number + 1} of {len(texts)} for {exercise.name}\n\n{texts[number]}{warning}")


def _say(markdown):
    """Show Markdown: rendered in JupyterLab, as it is written elsewhere."""
    if "JPY_SESSION_NAME" in os.environ:
        from IPython.display import Markdown, display

        display(Markdown(markdown))
    else:
        print(markdown)


def finish(chapter):
    """Close a chapter: export what passes, say what is still open and what comes next."""
    from .exporting import finish_chapter

    _say(finish_chapter(chapter, sys._getframe(1).f_globals))
