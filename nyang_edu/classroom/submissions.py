"""Find what students have handed in, in the layouts that teachers have.

Known are nbgrader's ``submitted/STUDENT/ASSIGNMENT/``, one folder (or clone, or archive) for
each student, loose notebooks as Canvas names them, and one archive of all of these.
"""

import hashlib
import os
import re
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from ..course.files import CourseError
from .archives import entry_names, is_archive, unpack
from .hand_ins import MOST_BYTES

MOST_FILES, DEEPEST = 2000, 8
_SKIP = {".git", ".ipynb_checkpoints", "solutions", "node_modules", ".venv", "__pycache__"}
_CANVAS = re.compile(r"(?P<who>[^_/]+)(?:_LATE)?_(?P<id>\d+)_\d+_.+")
_MOODLE = re.compile(r"(?P<who>.+)_(?P<id>\d+)_assignsubmission_.+")


@dataclass
class File:
    """One notebook or progress file: its name as found, its bytes or None, and then why."""

    name: str
    data: bytes = None
    note: str = ""


@dataclass
class Submission:
    """All that one student has handed in. ``key`` tells students apart, ``name`` is shown."""

    key: str
    name: str
    paths: list = field(default_factory=list)  # (path, shown name, name in the archive or None)

    @property
    def id(self):
        """A safe and unique file name."""
        words = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40] or "student"
        return f"{slug}-{hashlib.sha256(self.key.encode('utf-8', 'replace')).hexdigest()[:8]}"

    def files(self):
        """Read the files, a few at a time; a File for each."""
        for path, shown, inside in self.paths:
            if is_archive(path.name):
                for name, data, note in unpack(path, only=inside):
                    yield File(f"{shown}!/{name}", data, note)
            else:
                yield _read(path, shown)


def find_submissions(folder):
    """Every Submission in a folder or archive, in order of its key."""
    folder = Path(folder)
    if folder.is_file() and is_archive(folder.name):
        return _in_archive(folder)
    if not folder.is_dir():
        raise CourseError(f"{folder} is neither a folder nor an archive with submissions.")
    if (folder / "submitted").is_dir():  # a course of nbgrader's
        folder = folder / "submitted"
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _SKIP:
            continue
        kind = path.lstat().st_mode
        if stat.S_ISDIR(kind):
            _add(found, path.name, list(_notebooks(path, folder)))
        elif is_archive(path.name) or path.suffix == ".ipynb":
            _add(found, path.name, [(path, path.name, None)], folder.resolve().name)
    return list(found.values())


def _add(found, name, paths, parent=""):
    """Enter a student by the name of a folder or, with a parent, of a loose file in that."""
    key, shown = name, name
    for pattern in (_MOODLE, _CANVAS):
        match = pattern.fullmatch(name)
        if match:
            key, shown = f"{match['who']}_{match['id']}", match["who"]
            break
    else:
        if parent:
            shown = re.sub(r"(\.ipynb|\.zip|\.tar|\.tar\.gz|\.tgz)$", "", name)
        if parent and re.fullmatch(r"\d\d_[a-z0-9_]+", shown):  # named after a chapter, no student
            key, shown = parent, parent
    found.setdefault(key, Submission(key, shown)).paths.extend(paths)


def _notebooks(student, root):
    """Yield (path, shown name) of what may be graded below a student's folder."""
    count = 0
    for folder, folders, files in os.walk(student):
        here = Path(folder)
        deep = len(here.relative_to(student).parts) >= DEEPEST
        folders[:] = [] if deep else sorted(
            f for f in folders if f not in _SKIP and not (here / f).is_symlink())
        for name in sorted(files):
            inside = name.lower().endswith(".ipynb") or is_archive(name)
            if inside or name == "progress.json" and here.name == ".nyang":
                count += 1
                if count > MOST_FILES:
                    return
                yield here / name, (here / name).relative_to(root).as_posix(), None


def _read(path, shown):
    """A file's bytes; never through a link, never from a device, never too many."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return File(shown, None, "it is a link or a device, no file")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        return File(shown, None, f"it cannot be read: {error.strerror}")
    return File(shown, data)


def _in_archive(archive):
    """The submissions of one archive: by its first folder, or by the names of loose files."""
    entries = [(name, _parts(name)) for name in entry_names(archive)]
    while _wrapped([parts for _, parts in entries]):
        entries = [(name, parts[1:]) for name, parts in entries]
    found = {}
    for name, parts in entries:
        parent = archive.name.split(".")[0] if len(parts) == 1 else ""
        _add(found, parts[0], [(archive, archive.name, name)], parent)
    return list(found.values())


def _parts(name):
    parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    return parts or ["nameless"]


def _wrapped(entries):
    """True where one folder holds the folders, or Canvas's files, of all students."""
    if len({parts[0] for parts in entries}) != 1 or min(map(len, entries)) < 2:
        return False
    inner = {parts[1] for parts in entries}
    named = all(len(parts) > 2 or _CANVAS.fullmatch(parts[1]) for parts in entries)
    return entries[0][0] == "submitted" or named and len(inner) > 1
