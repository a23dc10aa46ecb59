"""Grades as tables: every exercise in ``grades.csv``, every chapter for Canvas and Moodle.

A name in a table can be a formula to a spreadsheet. So every cell of text that begins like one
gets an apostrophe in front, which spreadsheets take as "this is text".
"""

import csv

from .pages import clean

GRADES = ("student", "chapter", "exercise", "points", "maximum", "verdict", "diagnosis",
          "hints used", "seconds", "student id", "seed")
NO_GRADE = "-"  # Moodle's sign; by itself it is no formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe(value):
    """A cell that no spreadsheet runs; numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return value
    text = clean(value)
    return "'" + text if text.startswith(_FORMULA) and text != NO_GRADE else text


class Table:
    """A CSV file that is written row by row, beginning with its rows of headings."""

    def __init__(self, file, *head):
        self._writer = csv.writer(file, lineterminator="\n")
        for cells in head:
            self.write(cells)

    def write(self, cells):
        """Add one row."""
        self._writer.writerow([safe(cell) for cell in cells])


def grade_rows(result):
    """The rows of ``grades.csv`` for one result; one without exercises still gets a row."""
    who, chapter, key = result["student"], result["chapter"], result["student_id"]
    if not result["exercises"]:
        yield (who, chapter, "", result["points"], result["max"], result["state"],
               result["reason"], None, result["seconds"], key, None)
    for entry in result["exercises"]:
        yield (who, chapter, entry["name"], entry["points"], entry["max"], entry["verdict"],
               diagnosis(entry), entry["hints"], round(entry["seconds"], 3), key, entry["seed"])


def diagnosis(entry):
    """In a few words: the mistakes by name, or the first line of what the check said."""
    if entry["verdict"] == "passed":
        return ""
    named = [mistake["name"] for mistake in entry["mistakes"]]
    return "; ".join(named) or entry["headline"].removeprefix("not yet  ")


def canvas_head(chapters):
    """Canvas's first two rows: the columns it looks for, and the points possible."""
    blank = ["", "", "", ""]
    return (["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *chapters],
            ["    Points Possible", *blank, *(chapter.most for chapter in chapters.values())])


def canvas_row(results, chapters, person):
    """One student for Canvas; a chapter that was not graded stays empty: nothing changes there."""
    identity = [person.get(key, "") for key in ("ID", "SIS User ID", "SIS Login ID", "Section")]
    return [person.get("Student", results[0]["student"]), *identity,
            *(graded(results, chapter, "") for chapter in chapters)]


def moodle_head(chapters):
    """Moodle lets the teacher map columns; a grade and its feedback for each chapter."""
    columns = [name for chapter in chapters for name in (chapter, f"{chapter} (feedback)")]
    return ["Full name", "Username", "ID number", "Email address", *columns]


def moodle_row(results, chapters, person):
    """One student for Moodle, where "-" stands for no grade."""
    cells = [person.get("Full name", results[0]["student"])]
    cells += [person.get(key, "") for key in ("Username", "ID number", "Email address")]
    for chapter in chapters:
        cells += [graded(results, chapter, NO_GRADE), _summary(results, chapter)]
    return cells


def graded(results, chapter, absent):
    """The points of one chapter, or ``absent`` where there was nothing to grade."""
    return next((result["points"] for result in results
                 if result["chapter"] == chapter and result["state"] == "ok"), absent)


def _summary(results, chapter):
    """What is open in a chapter, in one line."""
    found = [result for result in results if result["chapter"] == chapter]
    if not found or found[0]["state"] != "ok":
        return found[0]["reason"] if found else ""
    open_ = [entry for entry in found[0]["exercises"] if entry["verdict"] != "passed"]
    words = [f"{entry['name']}: {diagnosis(entry)}" if entry["mistakes"] else
             f"{entry['name']}: {entry['verdict']}" for entry in open_]
    return "; ".join(words) or "every exercise passes"
