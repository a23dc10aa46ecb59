"""A class of hostile students: each file in ``hostile/`` is what one of them hands in.

A ``.py`` file is one hostile cell of chapter 03; the header says which exercise it answers and
what may catch it. Its author has two right answers too, whose points must arrive.
"""

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from nyang_edu.course.notebooks import as_json
from nyang_edu.course.source import find_chapter

HERE = Path(__file__).parent / "hostile"
RIGHT = {"linear_forward": ("linear_backward", "numerical_gradient"),
         "numerical_gradient": ("linear_forward", "linear_backward"),
         "Memory": ("linear_forward", "Linear"), "Linear": ("linear_forward", "Memory")}
UNREADABLE = {"format_99", "format_is_text", "nested_deep", "cut_off", "no_json", "empty",
              "cells_are_no_list", "too_large", "a_link_to_another", "a_pipe_without_end",
              "zip_in_zip"}
ELSEWHERE = {"forged_by_its_neighbour": ("Memory", {"linear_forward"}),
             "forged_by_its_helper": ("Memory", {"linear_forward"})}
REFUSED_ENTRIES = {"zip_slip": 3, "zip_with_links": 2, "zip_bomb": 50, "zip_in_zip": 1}


@dataclass
class Case:
    """One hostile submission, and what it may earn."""

    name: str
    exercise: str = "linear_forward"
    caught: set = field(default_factory=set)  # the verdicts that may be found
    earns: set = field(default_factory=lambda: {"linear_backward"})
    state: str = "ok"


def cases():
    """Every Case, in order."""
    found = [_of_cell(path) for path in sorted(HERE.glob("*.py"))]
    found += [Case(path.stem) for path in sorted(HERE.glob("*.ipynb"))]
    found += [Case(path.stem) for path in sorted(HERE.glob("*.zip"))]
    found += [Case(name) for name in ("too_large", "a_link_to_another", "a_pipe_without_end")]
    for case in found:
        case.exercise, case.earns = ELSEWHERE.get(case.name, (case.exercise, case.earns))
        if case.name in UNREADABLE:
            case.state, case.earns = "unreadable", set()
    return found


def _of_cell(path):
    text = path.read_text("utf-8")
    fields = dict(re.findall(r"^# (exercise|caught|earns): (.+)$", text, re.MULTILINE))
    exercise = fields.get("exercise", "linear_forward")
    caught = set(fields.get("caught", "wrong raised").split())
    earns = {*RIGHT[exercise], *fields.get("earns", "").split()}
    return Case(path.stem, exercise, {"passed"} if exercise in earns else caught, earns)


def enrol(folder, course):
    """Lay out what the whole class hands in; one folder or archive for each student."""
    for path in sorted(HERE.iterdir()):
        if path.suffix == ".py":
            _save(folder / path.stem, _notebook(path, course))
        elif path.suffix == ".ipynb":
            (folder / path.stem).mkdir()
            shutil.copy(path, folder / path.stem / "03_linear.ipynb")
        elif path.suffix == ".zip":
            shutil.copy(path, folder / path.name)
    _odd_files(folder)
    return folder


def _odd_files(folder):
    _save(folder / "too_large", '{"cells": []}' + " " * (21 << 20))
    (folder / "a_link_to_another").mkdir()
    other = folder / "utf_16" / "03_linear.ipynb"
    os.symlink(other, folder / "a_link_to_another" / "03_linear.ipynb")
    (folder / "a_pipe_without_end").mkdir()
    os.mkfifo(folder / "a_pipe_without_end" / "03_linear.ipynb")


def _save(folder, text):
    folder.mkdir()
    (folder / "03_linear.ipynb").write_text(text, "utf-8")


def _notebook(path, course):
    """The notebook of a hostile cell and its right neighbours."""
    chapter, case = find_chapter("03"), _of_cell(path)
    source = path.read_text("utf-8").replace("COURSE", repr(str(course)))
    source = source.replace("DEEP", "-" * 50_000 + "1").replace("# NULL", "\0")
    cells = [_cell(name, chapter.exercises[name].cell.solved()) for name in RIGHT[case.exercise]]
    cells.insert(0, _cell(case.exercise, f"#| export\n{source}"))
    return as_json({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def _cell(name, source):
    return {"cell_type": "code", "id": f"exercise-{name}", "metadata": {}, "source": source,
            "execution_count": None, "outputs": []}
