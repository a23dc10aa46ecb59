"""``nyang build``: from each chapter's source to its notebooks and modules."""

import contextlib
import difflib
import json
import os

from .files import CourseError, course_root, keep_copy, locked, read_text, write_atomic
from .markdown import replace_section, table
from .modules import module_path, module_text, package_init
from .notebooks import as_json, execute, notebook, read_notebook, skeleton, with_outputs_of
from .source import chapter_paths, load_chapter


def build(chapters, check=False, execute_all=False, say=print):
    """Build the chapters; with ``check`` change nothing and say what would change.

    Returns the number of files that differ from what the sources make.
    """
    root = course_root()
    if any(chapter.sealed for chapter in chapters):
        raise CourseError("These chapters came without their solutions: there is nothing to build. "
                          "Notebooks and modules are built where the course is written.")
    if check:
        return sum(_differs(root, path, text, say) for path, text in planned(root, chapters))
    with locked(root):
        files = list(planned(root, chapters))  # a refusal comes before the first write
        written = sum(_write(root, path, text, say) for path, text in files)
    with _as_test_run():  # may take minutes: other commands need not wait
        return written + sum(_build_solution(root, chapter, execute_all, say)
                             for chapter in chapters)


def planned(root, chapters):
    """Each file that the sources make, as (path, text); solutions without outputs."""
    for chapter in chapters:
        for module, cells in chapter.modules().items():
            yield module_path(root, module), module_text(chapter, cells)
        book = notebook(chapter, solved=False)
        yield root / "chapters" / f"{chapter.name}.ipynb", as_json(book)
        yield _solution_path(root, chapter), as_json(notebook(chapter, solved=True))
    everything = [load_chapter(path) for path in chapter_paths(root)]
    yield root / "nyang_edu" / "__init__.py", package_init(everything, root)
    readme = root / "README.md"
    if readme.exists():
        shown = chapter_table(everything)
        yield readme, replace_section(read_text(readme), "chapters", shown)


def _solution_path(root, chapter):
    return root / "solutions" / f"{chapter.name}.ipynb"


def _write(root, path, text, say):
    """Write one planned file, keeping a copy of what it replaces."""
    if path.parent.name == "solutions":
        return 0
    if path.exists() and path.read_bytes() != text.encode() and path.name != "README.md":
        kept = keep_copy(root, path)
        say(f"kept     {kept.relative_to(root)}")
    changed = write_atomic(path, text)
    if changed:
        say(f"written  {path.relative_to(root)}")
    return changed


def _build_solution(root, chapter, execute_all, say):
    """Execute the solution's notebook unless the stored one has the same code."""
    path = _solution_path(root, chapter)
    book = notebook(chapter, solved=True)
    if path.exists() and not execute_all:
        old = read_notebook(path)
        if skeleton(old) == skeleton(book):
            return 0
        if (kept := with_outputs_of(book, old)) is not None:  # only text has changed
            say(f"written  {path.relative_to(root)}")
            return write_atomic(path, as_json(kept))
    say(f"running  {path.relative_to(root)}")
    return write_atomic(path, as_json(execute(book, path.parent, chapter)))


@contextlib.contextmanager
def _as_test_run():
    """Let the kernels that a build starts leave the student's progress alone."""
    before = os.environ.get("NYANG_PROGRESS")
    os.environ["NYANG_PROGRESS"] = "off"
    try:
        yield
    finally:
        del os.environ["NYANG_PROGRESS"]
        if before is not None:
            os.environ["NYANG_PROGRESS"] = before


def _differs(root, path, text, say):
    """Compare one planned file with the disk; print a diff where they differ."""
    have = read_text(path) if path.exists() else ""
    if path.parent.name == "solutions" and have:
        have, text = _without_outputs(path), _sources(skeleton(json.loads(text)))
    if have == text:
        return 0
    name = path.relative_to(root).as_posix()
    diff = difflib.unified_diff(have.splitlines(), text.splitlines(), name, f"{name} (built)",
                                lineterm="", n=1)
    say("\n".join(list(diff)[:60]))
    return 1


def _without_outputs(path):
    return _sources(skeleton(read_notebook(path)))


def _sources(cells):
    return "\n".join(f"{id_} {kind} {meta}\n{source}" for id_, kind, source, meta in cells)


def chapter_table(chapters):
    """The README's table of chapters."""
    rows = []
    for chapter in chapters:
        modules = ", ".join(f"`{m.replace('.', '/')}.py`" for m in chapter.modules())
        rows.append([chapter.number, f"[{chapter.title}](chapters/{chapter.name}.ipynb)", modules,
                     len(chapter.exercises), chapter.points])
    return table(["#", "chapter", "you export", "exercises", "points"], rows, texts=3)
