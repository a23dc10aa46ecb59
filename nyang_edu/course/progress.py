"""Remember what a student has passed and which hints were used, in ``.nyang/progress.json``.

A pass is stored with a fingerprint of the cell that earned it: once the cell changes, the
entry no longer counts, so that nothing shown is older than the code it speaks of.
"""

import hashlib
import json
import time

from .files import course_root, is_test_run, locked, read_text, write_atomic


def fingerprint(source):
    """A short hash of a cell's text, blind to trailing blanks."""
    text = "\n".join(line.rstrip() for line in source.strip().splitlines())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(root=None):
    """The progress as {"exercise": {"passed", "fingerprint", "hints", "tries", "when"}}."""
    path = (root or course_root()) / ".nyang" / "progress.json"
    if not path.exists():
        return {}
    try:
        entries = json.loads(read_text(path))
        return {name: dict(entry) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError):  # half a file from a crashed disk, say
        path.replace(path.with_suffix(".unreadable.json"))
        return {}


def record(name, root=None, **changes):
    """Store what is known about one exercise; does nothing in a test run."""
    if is_test_run():
        return
    root = root or course_root()
    with locked(root):
        progress = load(root)
        entry = progress.setdefault(name, {"hints": 0, "tries": 0})
        entry["tries"] += "passed" in changes
        entry.update(changes, when=int(time.time()))
        text = json.dumps(progress, indent=1, sort_keys=True, ensure_ascii=False)
        write_atomic(root / ".nyang" / "progress.json", text + "\n")
