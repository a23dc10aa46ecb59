"""Read a notebook that somebody handed in: bounded, and tolerant of what editors do to it.

Nothing in it is trusted or obeyed: out come the texts of code cells, and notes on what was
odd. What cannot be read raises Unreadable, with words for the report.
"""

import codecs
import json
import re

from ..course.answers import find_answers

MOST_BYTES, MOST_CELLS, MOST_SOURCE = 20 << 20, 5000, 200_000
_MARKS = [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"),
          (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16")]


class Unreadable(Exception):
    """Why a notebook cannot be graded."""


class HandIn:
    """A notebook's code cells as dicts with ``id`` and ``source``, and ``notes`` on it."""

    def __init__(self, data):
        self.notes = []
        book = self._parsed(self._decoded(data))
        self.cells = list(self._cells(book))

    def _decoded(self, data):
        if len(data) > MOST_BYTES:
            raise Unreadable(f"the file is larger than {MOST_BYTES >> 20} MB")
        if not data.strip():
            raise Unreadable("the file is empty")
        for mark, name in _MARKS:
            if data.startswith(mark):
                self.notes.append(f"the file begins with a byte-order mark ({name})")
                data = data[len(mark):] if name == "utf-8" else data
                return self._as_text(data, name)
        if b"\0" in data[:2]:
            self.notes.append("the file is UTF-16")
            return self._as_text(data, "utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
        return self._as_text(data, "utf-8")

    def _as_text(self, data, encoding):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            self.notes.append(f"some bytes are no {encoding} and were replaced")
            return data.decode(encoding, errors="replace")

    def _parsed(self, text):
        try:
            book = json.loads(text)
        except RecursionError:
            raise Unreadable("its JSON is nested too deep") from None
        except ValueError as error:
            raise Unreadable(f"it is no JSON: {error}"[:300]) from None
        if not isinstance(book, dict):
            raise Unreadable("it is JSON, but no notebook")
        version = book.get("nbformat", 4)
        if version not in (3, 4):
            raise Unreadable(f"its notebook format is {version!r:.20}; 3 and 4 can be read")
        if version == 3:
            self.notes.append("the notebook format is 3")
        return book

    def _cells(self, book):
        for number, cell in enumerate(_raw_cells(book)):
            if number >= MOST_CELLS:
                self.notes.append(f"only the first {MOST_CELLS} cells were read")
                return
            if not isinstance(cell, dict) or cell.get("cell_type") != "code":
                continue
            source = _text_of(cell.get("source", cell.get("input")))
            if source is None or len(source) > MOST_SOURCE:
                self.notes.append(f"cell {number + 1} was left out: it holds no text, or too much")
                continue
            id_ = cell.get("id")
            yield {"id": id_ if isinstance(id_, str) else None, "source": source}

    def answers(self, chapter):
        """The student's answers to a chapter's exercises, by name."""
        return find_answers(chapter, self.cells)


def _raw_cells(book):
    cells = book.get("cells")
    if cells is None and isinstance(book.get("worksheets"), list):
        cells = [cell for sheet in book["worksheets"] if isinstance(sheet, dict)
                 for cell in sheet.get("cells") or []]
    if not isinstance(cells, list):
        raise Unreadable("it has no list of cells")
    return cells


def _text_of(source):
    """A cell's text with plain line ends, or None where it is none."""
    if isinstance(source, list):
        if not all(isinstance(line, str) for line in source):
            return None
        source = "".join(source)
    if not isinstance(source, str):
        return None
    source = source.encode("utf-8", "replace").decode("utf-8")  # halves of surrogate pairs
    return re.sub(r"\r\n?", "\n", source)


def recognise(hand_in, name, chapters):
    """The chapter that a notebook belongs to, by its cells and then by its file name; or None."""
    ids = {cell["id"] for cell in hand_in.cells}
    defined = set(re.findall(r"^(?:def|class) +(\w+)",
                             "\n".join(cell["source"] for cell in hand_in.cells), re.MULTILINE))

    def found(chapter):
        return sum(f"exercise-{e}" in ids or e in defined for e in chapter.exercises)

    best = max(chapters, key=found, default=None)
    if best is not None and found(best):
        return best
    return chapter_named(name, chapters)


def chapter_named(name, chapters):
    """The chapter that a file is called after, or None."""
    stem = name.rsplit("/", 1)[-1].removesuffix(".ipynb")
    return next((chapter for chapter in chapters if chapter.name in stem), None)
