"""Find a student's answers in a saved notebook, and judge them cell by cell."""

import ast
import re
import traceback
from dataclasses import dataclass, field

from .diagnosing import LIMIT, Report, judge
from .limits import TooSlow, is_cell, time_limit
from .modules import module_text, names_defined, names_missing, strip_directives
from .notebooks import read_notebook
from .probing import Failure, exception_text
from .reference import execute, workshop


@dataclass
class Answer:
    """A student's cell for one exercise, the exported helper cells above it, its Report."""

    source: str = ""
    extras: list = field(default_factory=list)
    report: Report = None

    @property
    def passed(self):
        """True where the check has run and found nothing."""
        return bool(self.report and self.report.passed)

    @property
    def helpers(self):
        """The cells above that the answer uses, directly or through another of them."""
        words, used = set(re.findall(r"\w+", self.source)), []
        for extra in reversed(self.extras):
            if words & names_defined(extra):
                used.insert(0, extra)
                words |= set(re.findall(r"\w+", extra))
        return used


def read_answers(chapter, path):
    """The answers in a saved notebook, by exercise name; see ``find_answers``."""
    cells = [c for c in read_notebook(path)["cells"] if c["cell_type"] == "code"]
    return find_answers(chapter, cells)


def find_answers(chapter, cells):
    """The student's exercise cells by name, each with the exported helper cells above it.

    A cell is found by its id; where that is gone, or the cell defines something else, by the
    name that it defines.
    """
    by_id = {c.get("id"): c["source"] for c in cells}
    answers = {}
    for name in chapter.exercises:
        source = by_id.get(f"exercise-{name}")
        if not (source and _defines(source, name)):
            source = _defining(cells, name) or source
        if source:
            answers[name] = Answer(source)
    given = {strip_directives(cell.solved()) for cell in chapter.cells}
    extras = []
    for source in (cell["source"] for cell in cells):
        for answer in answers.values():
            if answer.source == source:
                answer.extras = list(extras)
        if source.startswith("#| export") and strip_directives(source) not in given and not any(
                _defines(source, name) for name in chapter.exercises):
            extras.append(source)
    return answers


def _defines(source, name):
    starts = (f"def {name}(", f"class {name}(", f"class {name}:")
    return any(line.startswith(starts) for line in source.splitlines())


def _defining(cells, name):
    found = [c["source"] for c in cells if _defines(c["source"], name)]
    return found[-1] if found else None


def check_answers(chapter, answers):
    """Judge every answer in order; a failed one is replaced by the reference for the next."""
    namespace = {"__name__": f"student_{chapter.name}"}
    for cell in chapter.cells:
        if not cell.defines:
            continue
        answer = answers.get(cell.exercise)
        if answer:
            answer.report = _judge_cell(chapter, cell, answer, namespace)
        if not (answer and answer.passed):
            execute(cell.solved(), namespace, f"<reference {chapter.name}:{cell.line}>")
    return answers


def _judge_cell(chapter, cell, answer, namespace):
    """Run one student's cell on top of what passed so far, and judge what it defines."""
    exercise = chapter.exercises[cell.exercise]
    exported = cell.directive("export") is not None
    trial = {**({} if exported else _imported(imports_before(chapter, cell))), **namespace}
    failure = _run(exercise, answer, trial)
    if failure:
        return Report(exercise, 0, failure=failure)
    report = judge(workshop(exercise), trial[exercise.name], given=trial)
    failure = exported and report.passed and missing_in_module(chapter, cell, answer)
    if failure:
        return Report(exercise, report.seed, failure=failure)
    if report.passed:
        namespace.update(trial if exported else {exercise.name: trial[exercise.name]})
    return report


def _run(exercise, answer, trial):
    """Run an answer's cells in ``trial``; the Failure that stopped them or None."""
    limit = exercise.cell.meta.get("limit", LIMIT)
    try:
        with time_limit(limit):
            for number, helper in enumerate(answer.helpers):
                execute(helper, trial, f"<cell {exercise.name} helper {number}>")
            execute(answer.source, trial, f"<cell {exercise.name}>")
    except KeyboardInterrupt:
        raise
    except TooSlow:
        return Failure("slow", f"{limit:g}")
    except BaseException as error:  # a cell may raise anything, SystemExit included
        return Failure("raised", exception_text(error), _cell_line(error))
    if exercise.name not in trial:
        return Failure("raised", f"no {exercise.name} defined")
    return None


def missing_in_module(chapter, cell, answer):
    """The Failure of an answer that uses what its module will not hold, or None.

    A notebook sees all of its names; a module sees only its own cells and imports.
    """
    module, cells = next((m, c) for m, c in chapter.modules().items() if cell in c)
    whole = [module_text(chapter, cells), *answer.helpers, answer.source]
    names = sorted(names_missing("\n".join(whole)))
    if not names:
        return None
    where = f"nyang_edu/{module.replace('.', '/')}.py holds only its own cells and imports"
    return Failure("raised", f"NameError: name {names[0]!r} is not defined in its module", where)


def imports_before(chapter, cell):
    """What the notebook has imported above a cell that stays in it: all of that may be used."""
    lines = []
    for above in chapter.cells[:chapter.cells.index(cell)]:
        if above.kind == "code" and above.role is None and "import" in above.source:
            lines += [ast.unparse(n) for n in ast.parse(above.solved()).body
                      if isinstance(n, (ast.Import, ast.ImportFrom))]
    return lines


def _imported(lines):
    names = {}
    exec(compile("\n".join(lines), "<imports>", "exec"), names)  # noqa: S102
    return names


def _cell_line(error):
    """The line of the student's cell at which it stopped, a syntax error's included."""
    if isinstance(error, SyntaxError) and error.text:
        return f"line {error.lineno}:  {error.text.strip()}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_cell(f.filename)]
    return f"line {frames[-1].lineno}:  {frames[-1].line}" if frames else ""
