"""``nyang grade`` on a class of a tiny course: points, resuming, naming students, odd files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tinycourse import RIGHT, WRONG_DOUBLE, hand_in
from tinyschool import points

from nyang_edu.classroom.command import grade_all
from nyang_edu.classroom.confinement import (
    LIMITS,
    Confinement,
    Limits,
    _python_folders,
    confinement,
)
from nyang_edu.classroom.pool import Pool
from nyang_edu.classroom.records import array_from, read_results
from nyang_edu.course.cli import main
from nyang_edu.course.files import CourseError

SLOW = "#| export\ndef double(x):\n    import time\n    time.sleep(0.03)\n    return x * 2\n"


def graded(school, **options):
    grade_all(school.folder, school.out, **{"nbval": False, **options})
    return {result["student"]: result for result in read_results(school.out)}


def entry(result, name):
    return next(entry for entry in result["exercises"] if entry["name"] == name)


def test_right_wrong_and_blank(school):
    school("anna")
    school("ben", {**RIGHT, "double": WRONG_DOUBLE})
    school("cem", {})
    results = graded(school)
    assert [results[name]["points"] for name in ("anna", "ben", "cem")] == [7, 5, 0]
    wrong = entry(results["ben"], "double")
    assert wrong["verdict"] == "wrong" and wrong["mistakes"][0]["name"] == "x is tripled"
    assert f"seed={wrong['seed']}" in "\n".join(wrong["message"])
    shown = wrong["differences"][0]
    assert array_from(shown["got"]).shape == array_from(shown["want"]).shape == (3, 4)
    assert {e["verdict"] for e in results["cem"]["exercises"]} == {"blank"}


def test_a_prediction_is_not_given_away(school):
    school("anna", {**RIGHT, "guess": "def guess():\n    return np.array([1.0, 2.0, 3.0])\n"})
    graded(school)
    text = next((school.out / "results").iterdir()).read_text("utf-8")
    assert '"guess"' in text and "222" not in text and "333" not in text


def test_the_second_grading_gives_the_same_points(school):
    school("anna", {**RIGHT, "double": WRONG_DOUBLE})
    first = graded(school)["anna"]
    again = graded(school, regrade=True)["anna"]
    assert points(first) == points(again) and first["graded_at"] <= again["graded_at"]


def test_what_is_done_is_left_alone_until_it_changes(school):
    path = school("anna", {})
    school("ben")
    assert grade_all(school.folder, school.out, nbval=False) == (2, 0)
    assert grade_all(school.folder, school.out, nbval=False) == (0, 2)
    shutil.copy(hand_in(school.root, RIGHT), path)
    os.utime(path, (1, 1))
    assert grade_all(school.folder, school.out, nbval=False) == (1, 1)
    assert grade_all(school.folder, school.out, regrade=True, nbval=False) == (2, 0)


def test_only_some_students(school):
    school("anna")
    school("김민지")
    assert set(graded(school, only=["김민지"])) == {"김민지"}
    with pytest.raises(CourseError, match="No submission is called zoe"):
        graded(school, only=["zoe"])


def test_a_chapter_that_was_asked_for_and_is_not_there(school):
    (school.folder / "anna").mkdir(parents=True)
    result = graded(school, chapters=("01",))["anna"]
    assert result["state"] == "missing" and result["max"] == 7
    assert {e["verdict"] for e in result["exercises"]} == {"missing"}


def test_odd_notebooks_have_a_row_with_a_reason(school):
    school("anna").write_text('{"cells": [')
    school("ben").write_text('{"cells": [], "nbformat": 4}')
    (school.folder / "cem").mkdir()
    results = graded(school)
    assert {name: r["state"] for name, r in results.items()} == {
        "anna": "unreadable", "ben": "ok", "cem": "missing"}
    assert results["anna"]["reason"] and results["ben"]["points"] == 0


def test_hints_come_from_the_submission(school):
    path = school("anna")
    (path.parent / ".nyang").mkdir()
    (path.parent / ".nyang" / "progress.json").write_text('{"double": {"hints": 3}}')
    result = graded(school)["anna"]
    assert [entry(result, name)["hints"] for name in ("double", "centre")] == [3, None]


def test_helpers_and_lost_ids_count(school):
    helper = {"cell_type": "code", "id": "mine", "metadata": {}, "outputs": [],
              "execution_count": None, "source": "#| export\ndef twice(x):\n    return 2 * x\n"}
    uses = "#| export\ndef double(x):\n    return twice(x)\n"

    def change(cells):
        for cell in cells:
            del cell["id"]
        return [helper, *cells]

    school("anna", {**RIGHT, "double": uses}, change=change)
    assert graded(school)["anna"]["points"] == 7


def test_a_killed_run_goes_on_where_it_was(school):
    for number in range(4):
        school(f"student {number}", {**RIGHT, "double": SLOW})
    command = [sys.executable, "-m", "nyang_edu.course.cli", "grade", str(school.folder),
               "--out", str(school.out), "-j", "1", "--no-nbval"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    done = school.out / "done"
    while not any(done.glob("*.json")):  # a file that is half written has another name
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = list(done.glob("*.json"))
    graded_now, left = grade_all(school.folder, school.out, nbval=False, limit=10.0)
    assert 1 <= left == len(before) and graded_now == 4 - left
    assert [r["state"] for r in read_results(school.out)] == ["ok"] * 4


def test_the_command_says_what_came_of_it(school, capsys):
    school("anna")
    assert main(["grade", str(school.folder), "--out", str(school.out), "--no-nbval"]) == 0
    assert "1 graded, 0 as they were" in capsys.readouterr().out
    assert main(["grade", str(school.folder / "nowhere"), "--out", str(school.out)]) == 2


def test_without_bubblewrap_it_grades_and_says_what_is_missing(school, monkeypatch, capsys):
    weak = Confinement(LIMITS, ["no wall here"])
    for module in ("command", "grading"):
        monkeypatch.setattr(f"nyang_edu.classroom.{module}.confinement", lambda: weak)
    monkeypatch.setattr("nyang_edu.classroom.command.Pool", Inline)
    school("anna", {**RIGHT, "double": "import os\nos._exit(3)\ndef double(x):\n    return x\n"})
    result = graded(school)["anna"]
    assert result["points"] == 5 and entry(result, "double")["verdict"] == "killed"
    assert result["confinement"] == {"level": "limits", "missing": ["no wall here"]}
    assert "no wall here" in capsys.readouterr().err


class Inline(Pool):
    """Does the work in this process, so that what a test has replaced stays replaced."""

    def run(self, tasks, load, give_up):
        for task in tasks:
            yield task, self.function(load(task))


def shaky(work):
    """Kills its process for the work "poison", and for "unlucky" the first time."""
    marker = work.get("marker")
    if work["name"] == "poison" or marker and not os.path.exists(marker):
        open(marker or os.devnull, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return work["name"].upper()


def test_a_dead_process_loses_nothing_and_poison_is_set_aside(tmp_path):
    tasks = [{"name": "a"}, {"name": "poison"}, {"name": "b"},
             {"name": "unlucky", "marker": str(tmp_path / "m")}]
    results = dict((task["name"], result) for task, result in Pool(shaky, 2).run(
        tasks, load=lambda task: task, give_up=lambda task, why: f"set aside: {why}"))
    assert [results[name] for name in ("a", "b", "unlucky")] == ["A", "B", "UNLUCKY"]
    assert results["poison"].startswith("set aside: its grading process died")


@pytest.mark.skipif(not confinement().full, reason="a graded kernel needs bubblewrap here")
def test_nbval_runs_the_rebuilt_notebook_for_the_report_only(school):
    def change(cells):
        hostile = {**cells[1], "id": "x", "source": "while True: pass", "cell_type": "code",
                   "outputs": [], "execution_count": None}
        return [*cells[:1], hostile, *cells[1:]]

    school("anna", {**RIGHT, "double": WRONG_DOUBLE}, change=change)
    result = graded(school, nbval=True, limit=1.0)["anna"]
    assert result["points"] == 5
    assert result["nbval"]["failed"] >= 1, result["nbval"]
    assert json.dumps(result) and (school.out / result["nbval"]["junit"]).exists()


def test_an_unreadable_notebook_counts_for_the_chapter_that_it_is_called_after(school):
    school("anna").write_text("{")
    result = graded(school, chapters=("01",))["anna"]
    assert (result["state"], result["chapter"], result["max"]) == ("unreadable", "01_tiny", 7)


MANY = """#| export
import os
import time


def double(x):
    for _ in range(4):
        if os.fork() == 0:
            hoard = np.ones(10**7)
            time.sleep(100)
    time.sleep(100)
"""


@pytest.mark.skipif(not confinement().full, reason="memory is counted where bubblewrap works")
def test_processes_that_use_too_much_memory_together_are_stopped(school):
    school("anna", {**RIGHT, "double": MANY})
    result = graded(school, limits=Limits(memory_in_all=200 << 20), chapters=("01",))["anna"]
    assert result["points"] == 5
    assert "too much memory together" in entry(result, "double")["headline"]


@pytest.mark.skipif(not confinement().full, reason="there is no wall without bubblewrap")
def test_an_environment_below_tmp_is_seen_inside_and_nothing_else_there(tmp_path, monkeypatch):
    environment, box = tmp_path / "venv", tmp_path / "box"
    for folder in (environment, box):
        folder.mkdir()
    (environment / "package.txt").write_text("here")
    (tmp_path / "secret.txt").write_text("not for you")
    folders = _python_folders()
    monkeypatch.setattr("nyang_edu.classroom.confinement._python_folders",
                        lambda: [*folders, str(environment)])
    script = ("from pathlib import Path; print(Path('package.txt').read_text(), "
              "sorted(path.name for path in Path('..').iterdir()))")
    command = confinement().command(["-c", f"import os; os.chdir({str(environment)!r}); {script}"],
                                    box, Limits())
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "here ['venv']\n", done.stderr
