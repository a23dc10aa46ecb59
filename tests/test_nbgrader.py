"""nbgrader itself, on a released chapter: a right, a wrong and a blank submission.

Its points must equal those of our own check of the same notebooks. Skipped where nbgrader is not
installed: pip install -e ".[classroom]".
"""

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from course_copy import environment
from tinycourse import REPO

from nyang_edu.classroom.release import release
from nyang_edu.course.answers import check_answers, read_answers
from nyang_edu.course.notebooks import as_json, read_notebook
from nyang_edu.course.source import find_chapter

CHAPTER = "03_linear"
NO_BIAS = "#| export\ndef linear_forward(x, weight, bias):\n    return x @ weight.T\n"
WRONG_GUESS = ("def broken_gradient(x1, x2, dout1, dout2):\n"
               "    return dout1.T @ x1 + dout2.T @ x2\n")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None,
    reason='nbgrader is not installed: pip install -e ".[classroom]"')


def nbgrader(root, *arguments):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # for alembic
    variables = environment(root, JUPYTER_CONFIG_DIR=str(root / "jupyter"), PATH=path)
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=root, env=variables,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def hand_in(root, student, answers):
    """What a student of nbgrader's own release hands in: ``answers`` in its exercise cells."""
    book = read_notebook(root / "release" / CHAPTER / f"{CHAPTER}.ipynb")
    for cell in book["cells"]:
        name = cell.get("id", "").removeprefix("exercise-")
        cell["source"] = answers.get(name, cell["source"])
    path = root / "submitted" / student / CHAPTER / f"{CHAPTER}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(as_json(book), encoding="utf-8")
    return path


def ours(chapter, path):
    answers = check_answers(chapter, read_answers(chapter, path))
    return sum(chapter.exercises[name].points for name, a in answers.items() if a.passed)


def theirs(root):
    """{student: points} out of nbgrader's gradebook."""
    query = ("select work.student_id, sum(grade.auto_score) from grade "
             "join submitted_notebook as book on grade.notebook_id = book.id "
             "join submitted_assignment as work on work.id = book.assignment_id "
             "group by work.student_id")
    with sqlite3.connect(root / "gradebook.db") as database:
        return dict(database.execute(query).fetchall())


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A release that is also nbgrader's course folder, with its assignment generated."""
    root = tmp_path_factory.mktemp("nbgrader") / "course"
    release([find_chapter(CHAPTER, REPO)], root, solutions=False)
    (root / "source" / CHAPTER).mkdir(parents=True)
    shutil.copy(root / "chapters" / f"{CHAPTER}.ipynb", root / "source" / CHAPTER)
    nbgrader(root, "generate_assignment", CHAPTER)
    return root


def test_nbgrader_keeps_the_exercises_as_they_are(course):
    handed_out, released = (
        [(c["id"], c["source"]) for c in read_notebook(course / folder)["cells"]] for folder in (
            f"chapters/{CHAPTER}.ipynb", f"release/{CHAPTER}/{CHAPTER}.ipynb"))
    assert released == handed_out
    assert "NotImplementedError" in json.dumps(released)


def test_nbgrader_gives_the_same_points_as_we_do(course):
    """But where ``Linear`` runs on a wrong ``linear_forward``, for which we have put ours."""
    chapter = find_chapter(CHAPTER, REPO)
    right = {name: e.cell.solved() for name, e in chapter.exercises.items()}
    handed_in = {"blank": {}, "right": right,
                 "wrong": {**right, "broken_gradient": WRONG_GUESS},
                 "early": {**right, "linear_forward": NO_BIAS}}
    points = {student: ours(chapter, hand_in(course, student, answers))
              for student, answers in handed_in.items()}
    assert points == {"blank": 0, "right": 20, "wrong": 20 - 1, "early": 20 - 2}
    nbgrader(course, "autograde", CHAPTER, "--create")
    assert theirs(course) == {**points, "early": 20 - 2 - 4}
