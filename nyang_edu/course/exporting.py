"""From a student's notebook into the package, exercise by exercise.

A cell that passes its check is exported; in the place of any other stands the reference's
cell, marked as such. So the package is always whole and the next chapter always runs.
"""

import os
from pathlib import Path

from .answers import check_answers, read_answers
from .diagnosing import judge
from .files import CourseError, course_root, is_test_run, keep_copy, locked, write_atomic
from .modules import (
    REFERENCE,
    YOURS,
    marks,
    module_path,
    module_text,
    strip_directives,
)
from .notebook import cell_source
from .progress import fingerprint, record
from .reference import workshop
from .reporting import headline
from .source import chapter_paths, find_chapter, load_chapter


def notebook_path(root, chapter):
    """The student's notebook of a chapter."""
    return root / "chapters" / f"{chapter.name}.ipynb"


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
    """Write a chapter's modules from the student's notebook: (chapter, answers, paths)."""
    root = root or course_root()
    chapter, answers = check_chapter(key, root, path)
    texts = {module_path(root, module): module_text(
                 chapter, cells, _chosen(cells, answers), chapter.sealed)
             for module, cells in chapter.modules().items()}
    with locked(root):
        written = [path for path, text in texts.items() if _replace(root, path, text)]
    return chapter, answers, written


def _chosen(cells, answers):
    """{exercise: (source, mark)} for one module; a helper stands before its first use."""
    chosen, held = {}, set()
    for cell in filter(lambda cell: cell.exercise, cells):
        answer = answers.get(cell.exercise)
        if not (answer and answer.passed):
            chosen[cell.exercise] = cell.solved(), REFERENCE
            continue
        helpers = [source for source in answer.helpers if source not in held]
        held.update(helpers)
        parts = [strip_directives(source) for source in [*helpers, answer.source]]
        chosen[cell.exercise] = "\n\n\n".join(parts), YOURS
    return chosen


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
                (module_path(root, module), module_text(chapter, cells, None, chapter.sealed))
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
    return "\n".join([*lines, "", _next_chapter(root, chapter)])


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
    total = chapter.points
    lines = [f"{len(passed)} of {len(chapter.exercises)} exercises pass: "
             f"{points} of {total} points."]
    for name, exercise in chapter.exercises.items():
        if name not in passed:
            report = name in answers and answers[name].report
            why = headline(report).removeprefix("not yet  ") if report else f"{name}: no cell found"
            exported = exercise.cell.directive("export") is not None
            lines.append(f"- {why}" + (" (the reference stands in)" if exported else ""))
    return [*lines, "", _exported_line(root, chapter, paths)]  # a blank line ends the list


def _exported_line(root, chapter, paths):
    if not any(marks(module_path(root, module))[0] for module in chapter.modules()):
        return "exported: nothing of yours yet, the package holds the reference"
    names = ", ".join(path.relative_to(root).as_posix() for path in paths)
    return f"exported: {names or 'nothing new'}"


def _next_chapter(root, chapter):
    names = [load_chapter(path) for path in chapter_paths(root)]
    later = [c for c in names if c.number > chapter.number]
    if not later:
        return "That was the last chapter."
    return f"next: chapter {later[0].number}, {later[0].title}"
