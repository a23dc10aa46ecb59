"""finish, status, hints and the progress file: what is recorded, and when it still counts."""

import json
import re
import threading

import pytest
from tinycourse import RIGHT, WRONG_DOUBLE, define, hand_in, make_course

from nyang_edu.course import progress
from nyang_edu.course.cli import main
from nyang_edu.course.exporting import finish_chapter, restore_chapter
from nyang_edu.course.files import CourseError, locked, read_text
from nyang_edu.course.notebook import CheckFailed, check, finish, hint


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny course in which progress is recorded, as for a student."""
    monkeypatch.delenv("NYANG_PROGRESS", raising=False)
    root = make_course(tmp_path, monkeypatch)
    restore_chapter("1", root)
    return root


def status(capsys):
    """What `nyang status` prints: the first line, and {exercise: the rest of its line}."""
    capsys.readouterr()
    assert main(["status", "1"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    return first, {line.split()[0]: re.split(r" points? +", line)[1] for line in rest}


def test_status_of_a_fresh_course(tiny, capsys):
    hand_in(tiny, {})
    assert status(capsys) == (
        "01_tiny  0 of 7 points  package: reference",
        dict.fromkeys(RIGHT, "blank"),
    )


def test_status_knows_passed_not_passed_edited_blank_and_missing(tiny, capsys):
    hand_in(tiny, {**RIGHT, "double": WRONG_DOUBLE})
    main(["export", "1"])
    assert status(capsys) == (
        "01_tiny  5 of 7 points  package: 2 of 3 exported exercises are yours",
        {"double": "not passed", "centre": "passed", "Box": "passed", "guess": "passed"},
    )
    hand_in(
        tiny,
        {"double": WRONG_DOUBLE, "centre": RIGHT["centre"] + "# later\n"},
        change=lambda cells: [c for c in cells if c["id"] != "exercise-Box"],
    )
    assert status(capsys) == (
        "01_tiny  0 of 7 points  package: 2 of 3 exported exercises are yours",
        {
            "double": "not passed",
            "centre": "edited, not checked",
            "Box": "cell not found",
            "guess": "blank",
        },
    )


def test_a_pass_counts_again_once_the_cell_is_what_it_was(tiny, capsys):
    hand_in(tiny, RIGHT)
    main(["check", "1"])
    hand_in(tiny, {**RIGHT, "double": RIGHT["double"].replace("x + x", "x - x")})
    assert status(capsys)[1]["double"] == "edited, not checked"
    hand_in(tiny, {**RIGHT, "double": RIGHT["double"].replace("(x):\n", "(x):   \n") + "\n"})
    assert status(capsys)[1]["double"] == "passed"


def test_a_live_check_is_recorded_under_the_cell_that_it_ran(tiny, capsys):
    check(define(RIGHT["double"], "double"))
    hand_in(tiny, {"double": RIGHT["double"]})
    assert status(capsys)[1]["double"] == "passed"
    with pytest.raises(CheckFailed):
        check(define(WRONG_DOUBLE, "double"))
    assert status(capsys)[1]["double"] == "edited, not checked"
    entry = progress.load(tiny)["double"]
    assert entry["tries"] == 2 and entry["passed"] is False


def test_code_that_came_from_no_cell_earns_no_pass_for_the_notebook(tiny, capsys):
    def double(x):
        return x * 2

    check(double)
    hand_in(tiny, {"double": RIGHT["double"]})
    assert status(capsys)[1]["double"] == "edited, not checked"


def test_a_test_run_records_and_exports_nothing(tiny, monkeypatch, capsys):
    monkeypatch.setenv("NYANG_PROGRESS", "off")
    before = read_text(tiny / "nyang_edu/model/tiny.py")
    hand_in(tiny, RIGHT)
    check(define(RIGHT["double"], "double"))
    hint("double")
    namespace = {name: define(source, name) for name, source in RIGHT.items()}
    said = finish_chapter("01_tiny", {**namespace, "double": define(WRONG_DOUBLE, "double")})
    assert "3 of 4 exercises pass" in said and "nothing is exported" in said
    assert read_text(tiny / "nyang_edu/model/tiny.py") == before
    assert not (tiny / ".nyang/progress.json").exists()


def test_hints_go_on_from_direction_to_the_solution_and_are_counted(tiny, capsys):
    hand_in(tiny, {})
    said = []
    for _ in range(5):
        hint("double")
        said.append(capsys.readouterr().out)
    heads = [text.splitlines()[0] for text in said]
    assert heads == [f"hint {n} of 4 for double" for n in (1, 2, 3, 4, 4)]
    assert ["Direction" in said[0], "Formula" in said[1], "Skeleton" in said[2]] == [True] * 3
    assert "return x * 2" in said[3] and not any("x * 2" in text for text in said[:3])
    assert "### " not in said[3]
    assert status(capsys)[1]["double"] == "blank  hints used: 4"
    assert status(capsys)[1]["centre"] == "blank"


def test_hint_takes_the_function_too_and_the_command_line(tiny, capsys):
    hint(define(RIGHT["double"], "double"))
    main(["hint", "double"])
    said = capsys.readouterr().out
    assert "hint 1 of 4" in said and "hint 2 of 4" in said
    assert main(["hint", "nothing"]) == 2
    assert "No exercise is called 'nothing'" in capsys.readouterr().err


def test_finish_exports_what_passes_and_says_what_does_not(tiny, capsys):
    hand_in(tiny, {**RIGHT, "double": WRONG_DOUBLE})
    finish("01_tiny")
    said = capsys.readouterr().out
    assert "3 of 4 exercises pass: 5 of 7 points." in said
    assert "- double: " in said and "(the reference stands in)" in said
    assert "That was the last chapter." in said
    assert "x.sum() / len(x)" in read_text(tiny / "nyang_edu/model/tiny.py")


@pytest.mark.parametrize(
    "kernel, saved, refused",
    [
        (RIGHT["double"], WRONG_DOUBLE, True),
        (WRONG_DOUBLE, RIGHT["double"], True),
        (RIGHT["double"], RIGHT["double"], False),
        (RIGHT["double"] + "\n\n", RIGHT["double"], False),
        ("double = 3\n", RIGHT["double"], False),
    ],
)
def test_finish_refuses_a_notebook_that_is_not_saved(tiny, kernel, saved, refused):
    hand_in(tiny, {**RIGHT, "double": saved})
    before = read_text(tiny / "nyang_edu/model/tiny.py")
    namespace = {"double": define(kernel, "double")}
    if refused:
        with pytest.raises(CourseError, match="double in this kernel differs.*Ctrl.S"):
            finish_chapter("01_tiny", namespace)
    else:
        assert "4 of 4 exercises pass" in finish_chapter("01_tiny", namespace)
    assert (read_text(tiny / "nyang_edu/model/tiny.py") == before) == refused


def test_finish_in_jupyterlab_reads_the_notebook_that_runs_it(tiny, monkeypatch):
    copy = hand_in(tiny, RIGHT).rename(tiny / "chapters/my copy.ipynb")
    hand_in(tiny, {})
    monkeypatch.setenv("JPY_SESSION_NAME", str(copy))
    assert "4 of 4 exercises pass" in finish_chapter("01_tiny", {})


@pytest.mark.parametrize("data", [b"{ half", b"", b"[]", b"\xff", b'{"double": 3}'])
def test_a_damaged_progress_file_is_set_aside_and_begun_anew(tiny, capsys, data):
    path = tiny / ".nyang/progress.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    hand_in(tiny, RIGHT)
    assert main(["check", "1"]) == 0
    assert status(capsys)[1]["double"] == "passed"
    assert [p.read_bytes() for p in (tiny / ".nyang").glob("*unreadable*")] == [data]


def test_progress_of_other_exercises_survives_a_record(tiny):
    progress.record("centre", tiny, hints=2)
    progress.record("double", tiny, passed=True, fingerprint="f")
    stored = json.loads(read_text(tiny / ".nyang/progress.json"))
    assert stored["centre"]["hints"] == 2 and stored["double"]["passed"] is True
    assert (stored["centre"]["tries"], stored["double"]["tries"]) == (0, 1)


def test_records_of_many_threads_are_all_kept(tiny):
    threads = [
        threading.Thread(target=progress.record, args=(f"e{n}", tiny), kwargs={"passed": True})
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(progress.load(tiny)) == {f"e{n}" for n in range(8)}


def test_a_lock_that_is_held_is_waited_for_and_then_refused(tiny):
    with locked(tiny), pytest.raises(CourseError, match="Another nyang command"):
        with locked(tiny, timeout=0.2):
            raise AssertionError("two commands hold one lock")
    with locked(tiny, timeout=0.2):
        pass


@pytest.mark.parametrize("wrong", [[], ["fly"], ["check"], ["check", "9"], ["hint"]])
def test_wrong_use_of_the_command_ends_with_2(tiny, wrong):
    try:
        assert main(wrong) == 2
    except SystemExit as stop:  # argparse
        assert stop.code == 2
