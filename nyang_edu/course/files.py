"""Where the course lives on disk, and how it is written to.

A student's work must survive everything: every write is atomic, every file that is about
to be replaced by something else is copied first, and two commands at once take turns.
"""

import contextlib
import datetime
import os
import tempfile
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


class CourseError(Exception):
    """Something the user can mend; shown as one message, without a traceback."""

    def _render_traceback_(self):
        return [str(self)]


def course_root():
    """The folder that holds ``chapters/`` and ``solutions/``, as a Path.

    ``NYANG_ROOT`` wins; then the folder above the package (an editable install); then the
    working directory and its parents.
    """
    named = os.environ.get("NYANG_ROOT")
    package_parent = Path(__file__).resolve().parents[2]
    here = Path.cwd().resolve()
    for folder in [Path(named)] if named else [package_parent, here, *here.parents]:
        if (folder / "solutions").is_dir() and (folder / "chapters").is_dir():
            return folder.resolve()
    raise CourseError(
        "The course needs its folders chapters/ and solutions/; "
        f"none beside {named or package_parent}. "
        "Install with `pip install -e .` from the course's folder, or set NYANG_ROOT."
    )


def is_test_run():
    """True where nothing of the student's may change: under pytest and ``nyang build``."""
    return os.environ.get("NYANG_PROGRESS", "") == "off"


def read_text(path):
    """A file's text as UTF-8; CRLF becomes LF, so that sources compare on every system."""
    return Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")


def write_atomic(path, text):
    """Write UTF-8 text with LF line ends: all of it or nothing. False if already equal."""
    path = Path(path)
    data = text.encode("utf-8")
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def keep_copy(root, path):
    """Copy a file that is about to be replaced into ``.nyang/kept/``; its new Path."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = Path(path)
    for number in range(1000):
        folder = root / ".nyang" / "kept" / f"{stamp}-{number:03d}"
        kept = folder / path.resolve().relative_to(root)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(path.read_bytes())
            return kept
    raise CourseError(f"No free name for a copy of {path} in {root / '.nyang' / 'kept'}.")


@contextlib.contextmanager
def locked(root, timeout=30.0):
    """Hold the course's lock; a second command waits up to ``timeout`` seconds for it."""
    folder = root / ".nyang"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "a+b") as file:
        deadline = time.monotonic() + timeout
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise CourseError(
                    f"Another nyang command has been writing for {timeout:.0f} s. "
                    "Wait until it ends, then run this one again."
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            _unlock(file)


def _try_lock(file):
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        return True
    except OSError:
        return False


def _unlock(file):
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_UN)
    else:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
