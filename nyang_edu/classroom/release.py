"""``nyang release``: a folder that a teacher hands out as it is.

It holds the chosen chapters, the package, a README, a GitHub workflow and a setting for nbgrader,
and installs by itself. Notebooks and modules are made afresh from the sources, so that a teacher
who has worked in the chapters does not hand out their answers.
"""

import shutil
from pathlib import Path

from ..course.files import CourseError, course_root, read_text, write_atomic
from ..course.modules import module_path, module_text
from ..course.notebooks import as_json, notebook
from ..course.sealing import SEALED, seal
from ..course.source import chapter_paths, load_chapter, source_path
from .handout import NBGRADER, readme, workflow

AS_THEY_ARE = ("LICENSE", "environment.yml", ".gitignore", "conftest.py")


def release(chapters, target, solutions=True):
    """Write the folder ``target`` with these chapters; the number of files in it."""
    root, target = course_root(), Path(target).resolve()
    if any(chapter.sealed for chapter in chapters):
        raise CourseError("These chapters came without their solutions. "
                          "A release is made where the course is written.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CourseError(f"{target} is not empty: name a new folder, so that nothing is lost.")
    shutil.copytree(root / "nyang_edu", target / "nyang_edu",
                    ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in AS_THEY_ARE:
        if (root / name).exists():
            shutil.copyfile(root / name, target / name)
    texts = {**_modules(target, chapters, solutions), **_pages(root, target, chapters, solutions)}
    for path, text in texts.items():
        write_atomic(path, text)
    for chapter in chapters:
        _hand_out_source(root, target, chapter, solutions)
    return sum(path.is_file() for path in target.rglob("*"))


def _modules(target, chapters, solutions):
    """The course's own modules; from the first chapter on sealed where solutions stay back."""
    first = min(chapter.number for chapter in chapters)
    return {module_path(target, module):
            module_text(chapter, cells, None, not solutions and chapter.number >= first)
            for chapter in map(load_chapter, chapter_paths())
            for module, cells in chapter.modules().items()}


def _pages(root, target, chapters, solutions):
    """Everything else that is text: notebooks, README, workflow, settings."""
    books = {target / "chapters" / f"{chapter.name}.ipynb":
             as_json(notebook(chapter, solved=False)) for chapter in chapters}
    settings = read_text(root / "pyproject.toml").replace(
        'testpaths = ["tests", "solutions"]', 'testpaths = ["chapters"]')
    return {**books,
            target / "README.md": readme(chapters, solutions),
            target / ".github" / "workflows" / "grade.yml": workflow(chapters),
            target / "nbgrader_config.py": NBGRADER,
            target / "pyproject.toml": settings}


def _hand_out_source(root, target, chapter, solutions):
    source, folder = source_path(chapter.name), target / "solutions"
    folder.mkdir(exist_ok=True)
    if not solutions:
        (folder / f"{chapter.name}{SEALED}").write_bytes(seal(read_text(source)))
        return
    for path in (source, source.with_suffix(".ipynb")):
        if path.exists():
            shutil.copyfile(path, folder / path.name)
