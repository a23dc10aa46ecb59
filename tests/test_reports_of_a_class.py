"""The pages and tables that a grading leaves: right counts, nothing hostile, nothing merged."""

import csv
import json
import re
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from graded import SCRIPT, entry, hand_in, small_class, stored

from nyang_edu.classroom.classpage import ClassCounts, class_page
from nyang_edu.classroom.gradebook import safe
from nyang_edu.classroom.pages import clean
from nyang_edu.classroom.reports import MAIN, write_reports
from nyang_edu.course import cli
from nyang_edu.course.files import CourseError

VOID = {"meta", "br"}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = small_class(tmp_path_factory.mktemp("graded"))
    assert write_reports(folder) == [folder / name for name in MAIN]
    return folder


def table(path):
    return list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))


class Page(HTMLParser):
    """The tags and the text of a page; raises where tags are not closed in order."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(path.read_text("utf-8"))
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def pages(out):
    return [out / "class.html", out / "students.html", *sorted((out / "feedback").iterdir())]


def test_every_exercise_has_its_row(out):
    rows = table(out / "grades.csv")
    assert len(rows) == 5 * 3 + 1
    wrong = next(r for r in rows if r["student id"] == "kim-33" and r["verdict"] == "wrong")
    assert wrong == {
        "student": "김민지 🐱", "chapter": "03_linear", "exercise": "linear_backward",
        "points": "0", "maximum": "3", "verdict": "wrong", "hints used": "2", "seconds": "0.08",
        "diagnosis": "dweight is averaged over the batch", "student id": "kim-33",
        "seed": "123456"}
    assert [(r["verdict"], r["points"]) for r in rows if r["student id"] == "zoe-66"] == [
        ("unreadable", "0")]
    assert sum(int(r["points"]) for r in rows if r["student id"] == "ada-11") == 9


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+2", "@SUM(1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(text):
    assert safe(text).startswith("'")
    assert safe("a" + text) == clean("a" + text)


def test_numbers_and_the_sign_for_no_grade_stay_as_they_are(out):
    assert safe(-1.5) == -1.5 and safe("-") == "-" and safe(None) == ""
    for path in (out / "grades.csv", out / "gradebook/canvas.csv", out / "gradebook/moodle.csv"):
        cells = [c for r in csv.reader(path.read_text("utf-8-sig").splitlines()) for c in r]
        assert [c for c in cells if c.startswith(("=", "+", "@", "-")) and c != "-"] == []
        assert any(c.startswith("'=HYPERLINK") for c in cells)


def test_hostile_text_is_text(out):
    for path in pages(out):
        page = Page(path)
        assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "form"}
        assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    shown = Page(out / "feedback" / "eve-44.html").text
    assert shown.count(SCRIPT) >= 3 and "\u202e" not in shown


def test_pages_are_complete_in_themselves(out):
    for path in pages(out):
        page = Page(path)
        outside = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
        assert all((path.parent / target).exists() for target in outside), outside
        assert "url(" not in path.read_text("utf-8")


def test_feedback_names_the_mistake_draws_it_and_says_how_to_repeat_it(out):
    page = Page(out / "feedback" / "kim-33.html")
    assert "known mistake: dweight is averaged over the batch" in page.text
    assert page.text.count("The loss divides by N already.") == 1
    assert page.text.count("check(linear_backward, seed=123456)") == 1
    assert "the file is UTF-16" in page.text and "2 hints used" in page.text
    assert "cells that ran: 21, that failed: 2" in page.text
    assert [tag for tag, _ in page.tags].count("svg") == 6  # got, expected, difference; twice
    assert "[2, 3] = 6" in page.text and "[2, 3] = 1.5" in page.text


def test_the_class_page_counts_each_mistake_once_a_student(out):
    text = Page(out / "class.html").text
    assert "5 submissions graded" in text and "1 × The notebook could not be read." in text
    assert "No bubblewrap: the network is open. (1 submission)" in text
    assert "80 % passed" in text and "20 % passed" in text and "40 % passed" in text
    assert re.search(r"<td class=\"number\">2</td>.{0,300}dweight is averaged", (
        out / "class.html").read_text("utf-8"), re.DOTALL)
    assert "3.8 of 9 points on average" in text


def test_two_students_of_one_name_stay_two(out):
    rows = table(out / "gradebook" / "canvas.csv")
    assert {r["Student"]: r["03_linear"] for r in rows if r["Student"].startswith("ada")} == {
        "ada-11": "9", "ada-22": "2"}
    text = Page(out / "students.html").text
    assert "ada-22" in text and "bob-55" not in text
    assert "The notebook could not be read." in text


def test_canvas_and_moodle_find_their_columns(out):
    lines = list(csv.reader((out / "gradebook/canvas.csv").read_text("utf-8").splitlines()))
    assert lines[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "03_linear"]
    assert lines[1] == ["    Points Possible", "", "", "", "", "9"]
    assert ["Zoë", "", "", "Zoë", "", ""] in lines  # nothing was graded: Canvas changes nothing
    moodle = {r["Username"]: r for r in table(out / "gradebook" / "moodle.csv")}
    assert moodle["Bob"]["03_linear"] == "0" and moodle["Zoë"]["03_linear"] == "-"
    assert moodle["김민지 🐱"]["03_linear (feedback)"] == (
        "linear_backward: dweight is averaged over the batch")


ROSTERS = {
    "canvas": ('Student,ID,SIS User ID,SIS Login ID,Section\n"    Points Possible",,,,\n'
               '"Ada, B.",19,,ada,A\n김민지,17,2026-5,minji,A\nBob,18,,bob,A\n'),
    "moodle": ("First name;Last name;Username;ID number;Email address\n"
               "Ada;;ada;19;ada@x.org\n;;김민지;2026-5;minji@x.org\nBob;Bee;bob;18;bob@x.org\n")}


@pytest.mark.parametrize("kind, column, found", [
    ("canvas", "ID", {"17": "6", "18": "0"}),
    ("moodle", "Email address", {"minji@x.org": "6", "bob@x.org": "0"})])
def test_a_roster_says_whose_grades_are_whose(tmp_path, capsys, kind, column, found):
    out = small_class(tmp_path / "out")
    roster = tmp_path / "class.csv"
    roster.write_text(ROSTERS[kind], encoding="utf-8-sig")
    assert cli.main(["report", str(out), "--roster", str(roster)]) == 0
    rows = table(out / "gradebook" / f"{kind}.csv")
    assert {r[column]: r["03_linear"] for r in rows if r[column]} == found
    left = (out / "gradebook" / "not_on_the_roster.txt").read_text("utf-8").split()
    assert left == ["ada-11", "ada-22", "eve-44", "zoe-66"]  # two Adas: neither for certain
    assert "not_on_the_roster.txt" in capsys.readouterr().out
    write_reports(out)
    assert not (out / "gradebook" / "not_on_the_roster.txt").exists()


def test_reports_come_out_the_same_again_and_without_results_say_so(out, tmp_path):
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write_reports(out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(CourseError, match="nyang grade"):
        write_reports(tmp_path)


@pytest.mark.parametrize("data, words", [
    (b"Student\n", "names nobody"), ("Student\n김민지\n".encode("cp949"), "is not UTF-8"),
    (None, "cannot be read")])
def test_a_roster_that_is_none_is_refused(out, tmp_path, capsys, data, words):
    roster = tmp_path / "class.csv"
    if data is not None:
        roster.write_bytes(data)
    assert cli.main(["report", str(out), "--roster", str(roster)]) == 2
    assert words in capsys.readouterr().err


def test_a_result_that_is_no_result_is_skipped(tmp_path, capsys):
    out = small_class(tmp_path)
    (out / "results" / "half--03.json").write_text('{"format": 1, "stu', encoding="utf-8")
    write_reports(out)
    assert len(table(out / "grades.csv")) == 16
    assert "half--03.json is skipped" in capsys.readouterr().err


def peak(out):
    """The most memory that writing the reports took, in bytes."""
    tracemalloc.start()
    write_reports(out)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_class(tmp_path):
    """A further student costs a file's name and a number, not the 20 kB of a result."""
    few, many = tmp_path / "few", tmp_path / "many"
    picture = {"name": "out", "kind": "value", "text": "", "got": stored(np.ones((4, 250))),
               "want": stored(np.zeros((4, 250)))}
    answers = [entry("linear_forward", 2, "wrong", differences=[picture] * 2)]
    for out, students in ((few, 5), (many, 105)):
        for number in range(students):
            hand_in(out, f"s-{number:04}", f"Student {number}", answers)
    sizes = [path.stat().st_size for path in (many / "results").iterdir()]
    write_reports(few)
    assert peak(many) - peak(few) < 100 * 1000 and min(sizes) > 20_000


def test_a_class_page_without_anything_is_still_a_page(tmp_path):
    path = Path(tmp_path / "class.html")
    path.write_text(class_page(ClassCounts()), encoding="utf-8")
    assert "0 submissions graded" in Page(path).text
    assert json.loads(json.dumps(MAIN))[0] == path.name
