"""From a student's notebook into the package, exercise by exercise.

A cell that passes its check is exported; in the place of any other stands the reference's
cell, marked as such. So the package is always whole and the next chapter always runs.
"""

import ast
import linecache
import os
from dataclasses import dataclass, field
from pathlib import Path

from .diagnosing import Report, judge
from .files import CourseError, course_root, is_test_run, keep_copy, locked, write_atomic
from .modules import REFERENCE, YOURS, module_path, module_text, strip_directives
from .notebook import cell_source
from .notebooks import read_notebook
from .probing import Failure
from .progress import fingerprint, record
from .reference import execute, workshop
from .reporting import headline
from .source import chapter_paths, find_chapter, load_chapter


@dataclass
class Answer:
    """A student's cell for one exercise, the helpers before it, and its Report."""

    source: str = ""
    extras: list = field(default_factory=list)
    report: Report = None

    @property
    def passed(self):
        return bool(self.report and self.report.passed)


def notebook_path(root, chapter):
    """The student's notebook of a chapter."""
    return root / "chapters" / f"{chapter.name}.ipynb"


def read_answers(chapter, path):
    """The student's exercise cells by name, each with the exported helper cells before it.

    A cell is found by its id, and where that is gone by the name that it defines.
    """
    cells = [c for c in read_notebook(path)["cells"] if c["cell_type"] == "code"]
    by_id = {c.get("id"): c["source"] for c in cells}
    answers, known = {}, set()
    for name in chapter.exercises:
        source = by_id.get(f"exercise-{name}") or _defining(cells, name)
        if source:
            answers[name] = Answer(source)
            known.add(source)
    given = {strip_directives(cell.solved()) for cell in chapter.cells}
    pending = []
    for cell in cells:
        source = cell["source"]
        if source in known:
            owner = next(a for a in answers.values() if a.source == source)
            owner.extras, pending = pending, []
        elif source.startswith("#| export") and strip_directives(source) not in given:
            pending.append(source)
    return answers


def _defining(cells, name):
    starts = (f"def {name}(", f"class {name}(", f"class {name}:")
    found = [c["source"] for c in cells
             if any(line.startswith(starts) for line in c["source"].splitlines())]
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
    trial = {**({} if exported else _imports_before(chapter, cell)), **namespace}
    try:
        for number, extra in enumerate(answer.extras):
            execute(extra, trial, f"<cell {exercise.name} helper {number}>")
        execute(answer.source, trial, f"<cell {exercise.name}>")
        implementation = trial[exercise.name]
    except KeyError:
        return Report(exercise, 0, failure=Failure("raised", f"no {exercise.name} defined"))
    except BaseException as error:  # a cell may raise anything, SystemExit included
        text = f"{type(error).__name__}: {error}"
        return Report(exercise, 0, failure=Failure("raised", text, _cell_line(error)))
    report = judge(workshop(exercise), implementation, given=trial)
    if report.passed:
        namespace.update(trial if exported else {exercise.name: implementation})
    return report


def _imports_before(chapter, cell):
    """What the notebook has imported above a cell that stays in it: all of that may be used."""
    names = {}
    for above in chapter.cells[:chapter.cells.index(cell)]:
        if above.kind == "code" and above.role is None and "import" in above.source:
            lines = [n for n in ast.parse(above.solved()).body
                     if isinstance(n, (ast.Import, ast.ImportFrom))]
            exec(compile(ast.Module(lines, []), "<imports>", "exec"), names)  # noqa: S102
    return names


def _cell_line(error):
    """The line of the student's cell at which it stopped, a syntax error's included."""
    if isinstance(error, SyntaxError) and error.text:
        return f"line {error.lineno}:  {error.text.strip()}"
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if not trace:
        return ""
    text = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return f"line {trace.tb_lineno}:  {text.strip()}"


def check_chapter(key, root=None, path=None):
    """The Chapter and the Answers of its saved notebook, judged and recorded."""
    root = root or course_root()
    chapter = find_chapter(key, root)
    path = path or notebook_path(root, chapter)
    answers = check_answers(chapter, read_answers(chapter, path))
    for name, answer in answers.items():
        record(name, root, passed=answer.passed, fingerprint=fingerprint(answer.source))
    return chapter, answers


def export_chapter(key, root=None, path=None):
    """Write a chapter's modules from the student's notebook; (chapter, answers, paths)."""
    root = root or course_root()
    chapter, answers = check_chapter(key, root, path)
    chosen = {name: _choice(chapter, name, answers.get(name)) for name in chapter.exercises}
    texts = {module_path(root, module): module_text(chapter, cells, chosen)
             for module, cells in chapter.modules().items()}
    with locked(root):
        written = [path for path, text in texts.items() if _replace(root, path, text)]
    return chapter, answers, written


def _choice(chapter, name, answer):
    """(source, mark) of what stands in the package for one exercise."""
    if answer is None or not answer.passed:
        return chapter.exercises[name].cell.solved(), REFERENCE
    parts = [strip_directives(source) for source in [*answer.extras, answer.source]]
    return "\n\n\n".join(parts), YOURS


def _replace(root, path, text):
    if path.exists() and path.read_bytes() != text.encode():
        keep_copy(root, path)
    return write_atomic(path, text)


def restore_chapter(key, root=None):
    """Bring the reference's modules back, byte for byte; the list of changed paths."""
    root = root or course_root()
    chapter = find_chapter(key, root)
    with locked(root):
        return [
            path for path, text in (
                (module_path(root, module), module_text(chapter, cells))
                for module, cells in chapter.modules().items())
            if _replace(root, path, text)
        ]


def finish_chapter(key, namespace):
    """What ``finish`` says at a chapter's end; exports unless this is a test run."""
    root = course_root()
    chapter = find_chapter(key, root)
    session = _session_notebook()
    if is_test_run() or session and session.parent.name == "solutions":
        passed = [name for name in chapter.exercises if _passes_live(chapter, name, namespace)]
        lines = [f"{len(passed)} of {len(chapter.exercises)} exercises pass. "
                 "This is a test run: nothing is exported."]
    else:
        path = session or notebook_path(root, chapter)
        _refuse_unsaved(chapter, path, namespace)
        _, answers, paths = export_chapter(chapter.name, root, path)
        lines = describe_export(root, chapter, answers, paths)
    return "\n".join([*lines, _next_chapter(root, chapter)])


def _session_notebook():
    """The notebook that runs this kernel, or None: JupyterLab names it, nbval does not."""
    path = Path(os.environ.get("JPY_SESSION_NAME", ""))
    return path if path.suffix == ".ipynb" and path.exists() else None


def _passes_live(chapter, name, namespace):
    exercise = chapter.exercises[name]
    return name in namespace and judge(
        workshop(exercise), namespace[name], given=namespace).passed


def _refuse_unsaved(chapter, path, namespace):
    """Raise where the kernel holds other code than the notebook on disk."""
    saved = read_answers(chapter, path)
    for name in chapter.exercises:
        source = name in namespace and cell_source(namespace[name])
        if source and name in saved and fingerprint(source) != fingerprint(saved[name].source):
            raise CourseError(
                f"{name} in this kernel differs from the notebook on disk. "
                "Run its cell, save with Ctrl+S (Cmd+S), then run finish again."
            )


def describe_export(root, chapter, answers, paths):
    """Lines that say whose code the package holds now."""
    passed = [name for name in chapter.exercises if name in answers and answers[name].passed]
    points = sum(chapter.exercises[name].points for name in passed)
    total = sum(exercise.points for exercise in chapter.exercises.values())
    lines = [f"{len(passed)} of {len(chapter.exercises)} exercises pass: {points} of {total} points."]
    for name in chapter.exercises:
        if name not in passed:
            report = name in answers and answers[name].report
            why = headline(report).removeprefix("not yet  ") if report else f"{name}: no cell found"
            lines.append(f"- the reference stands in for {why}")
    names = ", ".join(path.relative_to(root).as_posix() for path in paths) or "nothing new"
    return [*lines, f"exported: {names}"]


def _next_chapter(root, chapter):
    names = [load_chapter(path) for path in chapter_paths(root)]
    later = [c for c in names if c.number > chapter.number]
    return f"next: chapter {later[0].number}, {later[0].title}" if later else "That was the last chapter."
