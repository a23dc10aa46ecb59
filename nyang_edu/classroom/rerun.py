"""Run the rebuilt notebook under nbval, confined: for the report, not for points.

Every cell is the course's, but for the student's answers and extra cells. A check in it repeats
what the grader has found, so the JUnit file shows each exercise as it was judged.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ..course.notebooks import as_json, notebook
from .confinement import confinement, identity, variables

MOST_SECONDS, MOST_XML = 300, 5 << 20
_RUN = """
import os, sys, tempfile
report, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)
identity = {identity!r}
if identity is not None:
    os.setgroups([]); os.setgid(identity); os.setuid(identity)
try:
    import resource
    for name, value in {limits!r}.items():
        resource.setrlimit(getattr(resource, name), (value, value))
except ImportError:
    pass
os.environ["PYTHONPATH"] = {box!r}
os.chdir(tempfile.mkdtemp())
with open({box!r} + "/notebook.ipynb", "rb") as file, open("notebook.ipynb", "wb") as copy:
    copy.write(file.read())
import pytest
pytest.main(["-q", "--color=no", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env",
             "--nbval-cell-timeout={seconds}", "-o", "addopts=", "--rootdir=.",
             "--junitxml=junit.xml", "notebook.ipynb"])
with open("junit.xml", "rb") as file:
    os.write(report, file.read())
"""


def rebuilt(chapter, hand_in):
    """The course's notebook with the student's answers and extra cells, as a dict."""
    book = notebook(chapter, solved=False)
    answers = hand_in.answers(chapter)
    for cell in book["cells"]:
        name = cell["id"].removeprefix("exercise-")
        if cell["id"].startswith("exercise-") and name in answers:
            cell["source"] = answers[name].source
    known = {cell["id"] for cell in book["cells"]}
    taken = {answer.source for answer in answers.values()}
    after, extras = None, {}
    for number, cell in enumerate(hand_in.cells):
        if cell["id"] in known:
            after = cell["id"]
        elif cell["source"] not in taken and not _repeats(cell, book):
            extras.setdefault(after, []).append(_extra(number, cell["source"]))
    book["cells"] = [*extras.get(None, []), *(
        one for cell in book["cells"] for one in [cell, *extras.get(cell["id"], [])])]
    return book


def _extra(number, source):
    return {"cell_type": "code", "id": f"extra-{number}", "metadata": {}, "source": source,
            "execution_count": None, "outputs": []}


def _repeats(cell, book):
    """True for a cell of the course that has lost its id."""
    return any("".join(own["source"]) == cell["source"] for own in book["cells"])


def rerun(chapter, hand_in, exercises, box, options):
    """Counts of nbval's run: {"passed", "failed", "skipped", "errors", "seconds", "xml", …}."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nyang-nbval-") as folder:
        box = shutil.copytree(box, Path(folder) / "box")
        verdicts = {e["name"]: [e["verdict"] == "passed", "\n".join([e["headline"], *e["message"]])]
                    for e in exercises}
        path = box / "nyang_edu" / "course" / "verdicts.json"
        path.write_text(json.dumps(verdicts), "utf-8")
        os.chmod(folder, 0o755)
        (box / "notebook.ipynb").write_text(as_json(rebuilt(chapter, hand_in)), "utf-8")
        counts = _counts(_run(box, options))
    return counts | {"seconds": round(time.monotonic() - start, 1)}


def _run(box, options):
    """Run it to its end or to the limit: the bytes of its report, b"" where there is none."""
    inside, limits = confinement(), options.limits
    code = _RUN.format(
        identity=identity() if inside.full else None, seconds=max(1, int(3 * options.limit)),
        box=inside.place(box), limits={
            "RLIMIT_AS": 2 * limits.memory, "RLIMIT_FSIZE": limits.file_size, "RLIMIT_CORE": 0,
            "RLIMIT_CPU": MOST_SECONDS})
    process = subprocess.Popen(
        inside.command(["-c", code], box, limits, options.hidden), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables(),
        start_new_session=True)
    stop = threading.Timer(MOST_SECONDS, _end, [process])
    stop.start()
    try:
        return process.stdout.read(MOST_XML + 1)
    finally:
        stop.cancel()
        _end(process)


def _end(process):
    if os.name == "nt":
        process.kill()
    elif process.poll() is None:
        os.killpg(process.pid, 9)
    process.wait()


def _counts(data):
    """The counts in a JUnit file, and its text; a student's code may have had a hand in it."""
    counts = {"passed": 0, "failed": 0, "skipped": 0, "errors": 0, "xml": "", "reason": ""}
    text = re.sub(r"#x1B\[[0-9;]*m", "", data.decode("utf-8", "replace"))  # IPython's colours
    if not text or len(data) > MOST_XML:
        return counts | {"reason": "nbval has left no report, or one that is too long"}
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return counts | {"reason": "its report is no JUnit file"}
    try:
        for case in ElementTree.fromstring(text).iter("testcase"):
            kinds = {child.tag for child in case}
            kind = next((k for k in ("failure", "error", "skipped") if k in kinds), "passed")
            counts[{"failure": "failed", "error": "errors"}.get(kind, kind)] += 1
    except ElementTree.ParseError as error:
        return counts | {"reason": f"its report is no JUnit file: {error}"}
    return counts | {"xml": text}
