"""Write what a grading found: pages for students and teacher, tables for gradebooks.

Results are read one at a time, twice; no list grows with the number of students. Each file
appears whole or not at all.
"""

import contextlib
import os
from itertools import groupby
from pathlib import Path

from ..course.files import CourseError, write_atomic
from .classpage import ClassCounts, class_page
from .feedback import STATES, feedback_page
from .gradebook import (
    GRADES,
    Table,
    canvas_head,
    canvas_row,
    grade_rows,
    moodle_head,
    moodle_row,
)
from .pages import element, escape, name_of, page, row
from .records import read_results
from .roster import Roster

MAIN = ("class.html", "students.html", "grades.csv", "gradebook/canvas.csv",
        "gradebook/moodle.csv")
_GAP = "<!-- rows -->"


def write_reports(out, roster=None):
    """Write every report of the results in ``out`` afresh; the list of main Paths."""
    out = Path(out)
    if not (out / "results").is_dir():
        raise CourseError(f"{out} holds no results: run nyang grade SUBMISSIONS --out {out} first.")
    counts = _write_grades(out)
    write_atomic(out / "class.html", class_page(counts))
    strangers = _write_students(out, counts, Roster(roster) if roster else None)
    return [*(out / name for name in MAIN),
            *_write_strangers(out / "gradebook" / "not_on_the_roster.txt", strangers)]


def _write_grades(out):
    """Write ``grades.csv`` and count the class on the way."""
    counts = ClassCounts()
    with _whole_file(out / "grades.csv", "utf-8-sig") as file:
        grades = Table(file, GRADES)
        for result in read_results(out):
            counts.add(result)
            for cells in grade_rows(result):
                grades.write(cells)
    counts.chapters = dict(sorted(counts.chapters.items()))
    return counts


def _write_students(out, counts, roster):
    """Write a page for each student, the list of them, and the gradebooks.

    Returns the ids of those who are not on the roster, or not for certain.
    """
    strangers, chapters = [], counts.chapters
    before, after = _list_of_students(chapters)
    with (_whole_file(out / "students.html") as listing,
          _whole_file(out / "gradebook" / "canvas.csv") as canvas_file,
          _whole_file(out / "gradebook" / "moodle.csv") as moodle_file):
        canvas = Table(canvas_file, *canvas_head(chapters))
        moodle = Table(moodle_file, moodle_head(chapters))
        listing.write(before)
        for results in _students(out):
            key = results[0]["student_id"]
            write_atomic(out / "feedback" / f"{key}.html", feedback_page(results))
            listing.write(_student_row(results, counts))
            person = _person(results, counts, roster)
            if person is None:
                strangers.append(key)
            else:
                canvas.write(canvas_row(results, chapters, person))
                moodle.write(moodle_row(results, chapters, person))
        listing.write(after)
    return strangers


def _write_strangers(path, strangers):
    """List who got no row in the gradebooks; no file where everyone has one."""
    path.unlink(missing_ok=True)
    if strangers:
        write_atomic(path, "\n".join(strangers) + "\n")
    return [path] if strangers else []


def _students(out):
    """Each student's results, as a list; a student's files stand side by side."""
    for _, results in groupby(read_results(out), key=lambda result: result["student_id"]):
        yield list(results)


def _person(results, counts, roster):
    """The roster's entry of a student, or None; without a roster the name is all that is known.

    A name that two students bear is replaced by what tells them apart.
    """
    name, key = results[0]["student"], results[0]["student_id"]
    if roster:
        return None if counts.shared(name) else roster.claim(name)
    name = key if counts.shared(name) else name
    return {"Student": name, "SIS Login ID": name, "Full name": name, "Username": name}


def _list_of_students(chapters):
    """The page of all students, before and after its rows."""
    names = [escape(f"{name.partition('_')[0]} {chapter.title}")
             for name, chapter in chapters.items()]
    head = row(["student", *names, "points", "not graded"], "th", range(1, len(names) + 2))
    body = (element("h1", "Every student") + element("p", '<a href="class.html">the class</a>')
            + f"<table>{head}{_GAP}</table>")
    return page("Every student", body).split(_GAP)


def _student_row(results, counts):
    points = {result["chapter"]: str(result["points"]) for result in results
              if result["state"] == "ok"}
    others = ", ".join(sorted({STATES.get(result["state"], result["state"]) for result in results
                               if result["state"] != "ok"}))
    name, key = results[0]["student"], results[0]["student_id"]
    link = element("a", name_of(name), href=f"feedback/{key}.html")
    if counts.shared(name):
        link += " " + element("span", escape(key), class_="soft")
    total = sum(result["points"] for result in results)
    cells = [link, *(escape(points.get(name, "")) for name in counts.chapters), str(total)]
    return row([*cells, escape(others)], numbers=range(1, len(cells))) + "\n"


@contextlib.contextmanager
def _whole_file(path, encoding="utf-8"):
    """A text file for writing that takes its name only once everything is in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "w", encoding=encoding, newline="") as file:
        yield file
    os.replace(temporary, path)
