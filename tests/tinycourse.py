"""A course of one tiny chapter in a temporary folder, for the tests of the engine.

The chapter (tiny_chapter.txt) has four exercises: `double` and `centre` in model.tiny, the
class `Box` with two holes in utility.box, and `guess`, a prediction that must not be revealed.
"""

import re
from pathlib import Path

import numpy as np

from nyang_edu.course.files import read_text
from nyang_edu.course.notebook import CheckFailed, check
from nyang_edu.course.notebooks import as_json, notebook, read_notebook
from nyang_edu.course.reference import execute
from nyang_edu.course.source import find_chapter, load_chapter

REPO = Path(__file__).resolve().parents[1]
TINY = read_text(Path(__file__).parent / "tiny_chapter.txt")
SOURCES = sorted((REPO / "solutions").glob("[0-9][0-9]_*.py"))

RIGHT = {
    "double": "#| export\ndef double(x):\n    return x + x  # mine\n",
    "centre": "#| export\ndef centre(x):\n    m = x.sum() / len(x)\n    return x - m, m\n",
    "Box": "#| export utility.box\nclass Box:\n    def put(self, value):\n"
    "        self.value = value + value\n\n    def get(self):\n        return self.value\n",
    "guess": "def guess():\n    return np.array([111.0, 222.0, 333.0])\n",
}
WRONG_DOUBLE = "#| export\ndef double(x):\n    return x * 3\n"


def make_course(folder, monkeypatch, **sources):
    """Lay out a course with solutions/NN_name.py for each keyword `c01_tiny=text`."""
    for name in ("chapters", "solutions", "nyang_edu"):
        (folder / name).mkdir(parents=True)
    for name, text in (sources or {"c01_tiny": TINY}).items():
        write_source(folder, name.removeprefix("c"), text)
    monkeypatch.setenv("NYANG_ROOT", str(folder))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return folder


def write_source(root, name, text):
    (root / "solutions" / f"{name}.py").write_bytes(text.encode())
    load_chapter.__globals__["_cached_chapter"].cache_clear()


def renamed(text, **names):
    """The chapter's text with whole words exchanged: to make a second chapter of the first."""
    for old, new in names.items():
        text = re.sub(rf"\b{old}\b", new, text)
    return text


def hand_in(root, answers, chapter="01_tiny", change=lambda cells: cells):
    """Save a student's notebook: the blank one with `answers` in the exercise cells.

    `change` may rearrange the list of cells before it is saved.
    """
    book = notebook(find_chapter(chapter, root), solved=False)
    for cell in book["cells"]:
        name = cell["id"].removeprefix("exercise-")
        cell["source"] = answers.get(name, "".join(cell["source"]))
    book["cells"] = change(book["cells"])
    path = root / "chapters" / f"{chapter}.ipynb"
    path.write_bytes(as_json(book).encode())
    return path


def cell_of(cells, id_):
    return next(cell for cell in cells if cell["id"] == id_)


def code_cell(source, id_="extra"):
    return {
        "cell_type": "code",
        "id": id_,
        "metadata": {},
        "source": source,
        "execution_count": None,
        "outputs": [],
    }


def define(source, name):
    """The object that a student's cell defines, with file name and lines as in a notebook."""
    namespace = {"np": np, "__name__": "__main__"}
    execute(source, namespace, f"<cell {name}>")
    return namespace[name]


def message(source, name, seed=0):
    """What check says about a student's cell, or None where it passes."""
    try:
        check(define(source, name), seed=seed)
    except CheckFailed as failed:
        return str(failed)
    return None


def sources_of(path):
    return [cell["source"] for cell in read_notebook(path)["cells"]]
