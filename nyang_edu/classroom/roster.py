"""Who is who: a list of the class as Canvas or Moodle exports it, matched to submissions.

A learning platform finds people by its own numbers, and a folder of submissions has only names.
A name that fits two people fits nobody: nobody may get another's grade.
"""

import csv
import io
import re
import unicodedata

from ..course.files import CourseError, read_text

KEYS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Full name", "Username", "ID number",
        "Email address")


class Roster:
    """The people of a class; each is handed out to one submission only."""

    def __init__(self, path):
        self._people, self._given = {}, set()  # name or number, simplified → row, or None
        text = _read(path)
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        for cells in csv.DictReader(io.StringIO(text), delimiter=delimiter):
            person = {key.strip(): value.strip() for key, value in cells.items() if key and value}
            if "Points Possible" not in person.get("Student", ""):
                self._enter(person)
        if not self._people:
            raise CourseError(f"{path} names nobody: export the class from Canvas or Moodle, "
                              f"with one of the columns {', '.join(KEYS)}.")

    def _enter(self, person):
        first, last = person.get("First name"), person.get("Last name")
        if first and last:
            person.setdefault("Full name", f"{first} {last}")
        words = {simple(person[key]) for key in KEYS if key in person}
        if "," in person.get("Student", ""):  # "Kim, Minji"
            last, first = person["Student"].split(",", 1)
            words.add(simple(first + last))
        for word in words - {""}:
            self._people[word] = None if word in self._people else person

    def claim(self, name):
        """The person whom a submission's name fits, or None where that is not certain."""
        person = self._people.get(simple(name))
        if person is None or id(person) in self._given:
            return None
        self._given.add(id(person))
        return person


def _read(path):
    try:
        return read_text(path)
    except UnicodeDecodeError:
        raise CourseError(f"{path} is not UTF-8: save it as \"CSV UTF-8\".") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}.") from None


def simple(name):
    """Letters and digits alone, in one case: what survives a file name."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name)).casefold()
