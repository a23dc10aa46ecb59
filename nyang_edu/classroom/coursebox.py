"""The package as a confined process sees it: what the chapter gives, and none of its answers.

Earlier chapters are there as the course wrote them. Of the chapter itself every exercise is
blank, later chapters are absent, and so is everything that knows the sources.
"""

import shutil
from pathlib import Path

import nyang_edu

from ..course.files import read_text
from ..course.modules import module_text
from ..course.sealing import SEALED_CODE
from ..course.source import chapter_paths, load_chapter

BLANK = "# blank"
_ENGINE = ("course/probing.py", "course/limits.py", "classroom/__init__.py",
           "classroom/wire.py", "classroom/worker.py", "classroom/inside.py",
           "classroom/guard.py")
_COURSE = '''"""What a notebook calls; here the answers are judged from outside."""

import json
from pathlib import Path

_PATH = Path(__file__).with_name("verdicts.json")
_VERDICTS = json.loads(_PATH.read_text("utf-8")) if _PATH.exists() else {}


class CheckFailed(AssertionError):
    """An exercise did not pass; its message stands where a traceback would."""

    def _render_traceback_(self):
        return [str(self)]


def check(implementation, seed=None):
    """Repeat what the grader has found."""
    name = getattr(implementation, "__name__", implementation)
    passed, text = _VERDICTS.get(name, (True, ""))
    if not passed:
        raise CheckFailed(text)
    print(text)


def hint(name):
    """Nothing: a graded run needs no hints."""


def finish(chapter):
    """Nothing: a graded run exports nothing."""
'''


def build_box(folder, chapter, root=None):
    """Lay the package out in ``folder`` for grading one chapter; the folder's Path."""
    target = Path(folder) / "nyang_edu"
    source = Path(nyang_edu.__file__).parent
    shutil.copytree(source, target, ignore=_no_framework)
    drop_sealed(target)
    for path in chapter_paths(root):
        for module, text in _modules(load_chapter(path), chapter):
            _write(target.joinpath(*module.split(".")).with_suffix(".py"), text)
    for name in _ENGINE:
        _write(target / name, read_text(source / name))
    _write(target / "course" / "__init__.py", _COURSE)
    for path in [target.parent, *target.parent.rglob("*")]:  # whoever runs inside is somebody else
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target.parent


def _no_framework(folder, names):
    """What a box must not hold: the engine, and whatever is no Python (a key, say)."""
    return [name for name in names if name in ("__pycache__", "course", "classroom")
            or not (name.endswith(".py") or (Path(folder) / name).is_dir())]


def drop_sealed(folder):
    """Remove the modules that hold answers in compressed form, as a handed-out course has them.

    Those of chapters whose source is there are written afresh, as far as they may be seen.
    """
    for path in folder.rglob("*.py"):
        if SEALED_CODE in read_text(path):
            path.unlink()


def _modules(other, chapter):
    """Yield (module, text or None) of what another chapter exports, as this one may see it."""
    for module, cells in other.modules().items():
        if other.number > chapter.number:
            yield module, None
        elif other.number < chapter.number:
            yield module, module_text(other, cells)
        else:
            blanks = {cell.exercise: (cell.blank(), BLANK) for cell in cells if cell.exercise}
            yield module, module_text(other, cells, blanks)


def _write(path, text):
    if text is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
