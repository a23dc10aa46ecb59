"""Grade one student's files: what ``nyang grade`` does with each submission.

``grade`` needs nothing but its arguments, which are plain data: it runs in a process of its
own, here or on another machine, and gives back plain data.
"""

import ast
import contextlib
import datetime
import hashlib
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..course.diagnosing import LIMIT
from ..course.files import course_root
from ..course.source import chapter_paths, find_chapter, load_chapter
from .confinement import Limits, confinement
from .coursebox import build_box
from .hand_ins import HandIn, Unreadable, chapter_named, recognise
from .records import FORMAT, exercise_record
from .rerun import rerun
from .sandbox import Sandbox
from .scoring import Scored, Scorer


@dataclass(frozen=True)
class Options:
    """How to grade: which chapters (all where empty), with nbval or not, under which limits.

    ``boxes`` is a folder for copies of the package, ``hidden`` are folders that no submission
    may see: those of all the others.
    """

    boxes: str
    chapters: tuple = ()
    nbval: bool = True
    limit: float = LIMIT  # seconds for an exercise, where its own limit is not shorter
    limits: Limits = Limits()
    hidden: tuple = ()


@dataclass
class Work:
    """One student's submission as plain data: ``files`` are those of ``Submission.files()``."""

    id: str
    name: str
    files: list = field(default_factory=list)


@dataclass
class Book:
    """A notebook that was recognised: its File, its chapter, and what was read of it."""

    file: object
    chapter: object
    hand_in: HandIn


def grade(work, options):
    """The results of one submission, one dict for each chapter; see ``records``."""
    asked = [find_chapter(key) for key in options.chapters]
    books, troubles = _read(work, asked or [load_chapter(path) for path in chapter_paths()])
    hints = _hints(work)
    results = [_grade_chapter(work, book, options, hints) for book in books.values()]
    results += [_trouble(work, *trouble) for trouble in troubles
                if not asked or trouble[1] != "unknown"]  # what else lies there was not asked for
    found = {result["chapter"] for result in results}
    results += [_trouble(work, chapter, "missing", "", f"there is no notebook of {chapter.name}")
                for chapter in asked if chapter.name not in found]
    return results or [_trouble(work, None, "missing", "", "there is no notebook")]


def _read(work, chapters):
    """({chapter: its Book}, [(chapter or None, state, file, why)]); one Book for each chapter."""
    books, troubles = {}, []
    for file in work.files:
        if file.name.endswith("progress.json"):
            continue
        try:
            if file.data is None:
                raise Unreadable(file.note)
            hand_in = HandIn(file.data)
        except Unreadable as error:
            named = chapter_named(file.name, chapters)
            troubles.append((named, "unreadable", file.name, str(error)))
            continue
        chapter = recognise(hand_in, file.name, chapters)
        if chapter is None:
            troubles.append((None, "unknown", file.name, "no chapter is recognised in it"))
            continue
        book = Book(file, chapter, hand_in)
        books[chapter.name] = _better(books.get(chapter.name), book)
    return dict(sorted(books.items())), list(_unnoted(books, troubles))


def _unnoted(books, troubles):
    """The troubles that are no mere note on a notebook of the same chapter."""
    for chapter, *trouble in troubles:
        if chapter and chapter.name in books:
            books[chapter.name].hand_in.notes.append(f"{trouble[1]} was ignored: {trouble[2]}")
        else:
            yield chapter, *trouble


def _better(old, new):
    """Of two notebooks of one chapter the one that is called like it, else the last one."""
    if old is None:
        return new
    exact = old.file.name.rsplit("/", 1)[-1] == f"{old.chapter.name}.ipynb"
    kept, other = (old, new) if exact else (new, old)
    kept.hand_in.notes.append(f"another notebook of this chapter was ignored: {other.file.name}")
    return kept


def _hints(work):
    """{exercise: hints used} as the submission's own progress file says, {} without one."""
    for file in work.files:
        if file.name.endswith("progress.json") and file.data and len(file.data) < 1 << 20:
            try:
                entries = json.loads(file.data)
                return {str(name): int(entry["hints"]) for name, entry in entries.items()}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
    return {}


def _grade_chapter(work, book, options, hints):
    chapter, start = book.chapter, time.monotonic()
    limit = min(options.limit, LIMIT)
    with Sandbox(confinement(), box_of(chapter, options.boxes), preload_of(chapter), options.limits,
                 options.hidden) as sandbox:
        scored = Scorer(chapter, sandbox, limit).score(book.hand_in.answers(chapter))
    result = _result(work, chapter, book.file.name)
    result["notes"] = book.hand_in.notes
    result["exercises"] = [exercise_record(one, hints.get(name)) for name, one in scored.items()]
    result["points"] = sum(entry["points"] for entry in result["exercises"])
    if options.nbval:
        result["nbval"] = rerun(chapter, book.hand_in, result["exercises"],
                                box_of(chapter, options.boxes), options)
    result["seconds"] = round(time.monotonic() - start, 2)
    return result


def _result(work, chapter, source):
    name = chapter.name if chapter else f"x{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    have = confinement()
    return {"format": FORMAT, "submission": f"{work.id}--{name}", "student_id": work.id,
            "student": _clean(work.name), "source": _clean(source),
            "chapter": chapter and chapter.name, "title": chapter.title if chapter else "",
            "state": "ok", "reason": "", "notes": [], "points": 0,
            "max": chapter.points if chapter else 0, "seconds": 0.0,
            "graded_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "course": fingerprint_of(chapter) if chapter else "",
            "confinement": {"level": have.level, "missing": have.missing},
            "nbval": None, "exercises": []}


def _clean(text):
    return text.encode("utf-8", "replace").decode("utf-8")[:500]


def _trouble(work, chapter, state, source, why):
    """The result where nothing could be graded: no points, and the reason."""
    exercises = chapter.exercises.values() if chapter else ()
    return _result(work, chapter, source) | {
        "state": state, "reason": _clean(why),
        "exercises": [exercise_record(Scored(exercise)) for exercise in exercises]}


def set_aside(work, why):
    """The result of a submission that cannot be graded at all."""
    return [_trouble(work, None, "set-aside", "", why)]


def fingerprint_of(chapter):
    """A short hash of a chapter's source."""
    text = "\0".join(cell.source for cell in chapter.cells)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def box_of(chapter, boxes):
    """The folder with the package for a chapter, made below ``boxes`` where it is not there."""
    place = Path(boxes) / chapter.name
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=boxes, prefix=".") as folder:
            made = build_box(Path(folder) / "box", chapter)
            with contextlib.suppress(OSError):  # another process was faster
                made.rename(place)
    return place


def preload_of(chapter):
    """The modules that the chapter's own cells import: loaded once, before any student's code."""
    names = []
    for cell in chapter.cells:
        if cell.defines:
            for node in ast.walk(ast.parse(cell.solved())):
                if isinstance(node, ast.Import):
                    names += [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names.append(node.module)
    return list(dict.fromkeys(names))


def hidden_folders(*folders):
    """What no submission may see: the course, and everybody's work."""
    return tuple(str(Path(f).resolve()) for f in [course_root(), *folders])
