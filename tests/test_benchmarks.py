"""The benchmarks' own claims: the README shows what was measured, a drawn class is what it says."""

import pytest
from graded import entry, hand_in
from tinycourse import SOURCES

from benchmarks.a_class import Student, answers_with_mistakes, enrol
from benchmarks.grading import check_truth
from benchmarks.records import README, SECTIONS, filled
from nyang_edu.classroom.reports import write_reports
from nyang_edu.course.diagnosing import judge
from nyang_edu.course.files import read_text
from nyang_edu.course.markdown import replace_section
from nyang_edu.course.reference import execute, workshop
from nyang_edu.course.source import find_chapter, load_chapter


def test_the_readme_shows_what_was_measured():
    text = read_text(README)
    assert filled(text) == text, "python -m benchmarks readme brings it up to date"
    for name in SECTIONS:
        assert filled(replace_section(text, name, "| another | figure |")) == text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_who_hands_a_known_mistake_in_is_told_its_name(path):
    handed = 0
    for exercise in load_chapter(path).exercises.values():
        shop = workshop(exercise)
        for mistake, source in answers_with_mistakes(exercise).items():
            namespace = dict(shop.namespace)  # a cell of its own, as a student has it
            execute(source, namespace, "<answer>")
            report = judge(shop, namespace[exercise.name], 0)
            assert [known.name for known, _ in report.named] == [mistake]
            handed += 1
    assert handed >= 3


def test_in_a_drawn_class_every_mistake_of_the_chapter_can_be_made():
    for exercise in find_chapter("03").exercises.values():
        made = answers_with_mistakes(exercise)
        assert list(made) == [mistake.name for mistake in workshop(exercise).mistakes]


def test_a_class_has_its_shares_and_knows_its_points(tmp_path):
    students = enrol(tmp_path, find_chapter("03"), 20)
    kinds = [student.kind for student in students]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "right": 6, "wrong": 10, "blank": 2, "hostile": 2}
    assert {one.name for one in students} == {path.name for path in tmp_path.iterdir()}
    assert {one.points for one in students} == {0, 17, 18, 20}


@pytest.mark.parametrize("points, mistake, true", [
    (0, "dx is wrong", True), (3, "dx is wrong", False), (0, "dx is right", False)])
def test_what_differs_from_the_planted_class_is_found(tmp_path, capsys, points, mistake, true):
    found = entry("f", 3, "wrong", mistakes=[{"name": "dx is wrong", "hint": "", "arrays": []}])
    hand_in(tmp_path, "1", "wrong 0001", [found])
    write_reports(tmp_path)
    assert check_truth([Student("wrong 0001", "wrong", points, "f", mistake)], tmp_path) is true
    assert ("NOT as planted" in capsys.readouterr().out) is not true
