"""A copy of the course, and a student who works in it with real kernels.

Tests that write or export do it in a copy: the course itself must never notice them.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from nyang_edu.course.notebooks import as_json, read_notebook

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("chapters", "solutions", "nyang_edu", "pyproject.toml", "conftest.py")
NOT_OURS = ("JPY_SESSION_NAME", "NYANG_PROGRESS", "MPLBACKEND", "PYTEST_ADDOPTS")


def copy_course(target, parts=PARTS):
    """Copy the course's files to ``target`` and return it; nobody has worked there yet.

    A chapter that is being written, with a source and no notebook yet, stays out.
    """
    leave_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for part in parts:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part, ignore=leave_out)
        elif (ROOT / part).exists():
            shutil.copy(ROOT / part, target / part)
    for source in (target / "solutions").glob("[0-9][0-9]_*.py"):
        if not (target / "chapters" / f"{source.stem}.ipynb").exists():
            source.unlink()
    return target


def environment(root, **more):
    """The variables under which a process sees the copy, and nothing of this test run.

    One BLAS thread: on a busy machine, threads that wait for each other cost tenfold.
    """
    kept = {key: value for key, value in os.environ.items() if key not in NOT_OURS}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "NYANG_ROOT": str(root),
            "PYTHONPATH": str(root), **more}


def nyang(root, *arguments, code=0):
    """Run a ``nyang`` command in the copy as a student would; what it printed."""
    command = [sys.executable, "-m", "nyang_edu.course.cli", *arguments]
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@dataclass
class Ran:
    """What one cell showed: printed text, HTML, pictures, and the error that ended it."""

    text: str = ""
    html: str = ""
    pictures: int = 0
    error: str = ""  # the exception's class, "" where there was none
    message: str = ""
    traceback: str = ""


def _ran(outputs):
    ran = Ran()
    for output in outputs:
        if output["output_type"] == "stream" and output["name"] == "stdout":
            ran.text += output["text"]
        elif output["output_type"] == "error":
            ran.error, ran.message = output["ename"], output["evalue"]
            ran.traceback = _plain("\n".join(output["traceback"]))
        for kind, content in output.get("data", {}).items():
            ran.pictures += kind == "image/png"
            ran.html += content if kind == "text/html" else ""
            ran.text += content if kind == "text/markdown" else ""
    return ran


def _plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Student:
    """Opens a chapter of a copy, writes into its cells, saves, and runs cells.

    ``lab=True`` gives the kernel the variable by which JupyterLab names its notebook.
    """

    def __init__(self, root, chapter, lab=False, **variables):
        self.root, self.path = root, root / "chapters" / f"{chapter}.ipynb"
        self.book = read_notebook(self.path)
        self.cells = [cell for cell in self.book["cells"] if cell["cell_type"] == "code"]
        if lab:
            variables["JPY_SESSION_NAME"] = str(self.path)
        self.variables = environment(root, **variables)

    def cell(self, name):
        """The cell with this id, or the first one whose text contains ``name``."""
        found = [c for c in self.cells if c["id"] == name] or [
            c for c in self.cells if name in c["source"]]
        return found[0]

    def write(self, exercise, source):
        """Put an answer into the exercise's cell; not on disk before ``save``."""
        self.cell(f"exercise-{exercise}")["source"] = source

    def save(self):
        """What Ctrl+S does: the notebook as it stands goes to disk."""
        self.path.write_text(as_json(self.book), encoding="utf-8")

    @contextlib.contextmanager
    def kernel(self):
        """Start a kernel beside the notebook, as JupyterLab does, and stop it afterwards."""
        import nbformat
        from nbclient import NotebookClient

        where = {"metadata": {"path": str(self.path.parent)}}
        self.client = NotebookClient(nbformat.v4.new_notebook(), timeout=120, resources=where,
                                     kernel_name="python3", allow_errors=True)
        # nbclient's own Output widget writes to a channel that it also reads from, and now
        # and then misses a reply by that; without it pictures just land under their cell
        self.client.widget_registry = {}
        with self.client.setup_kernel(env=self.variables):
            yield self

    def run(self, cell):
        """Run one cell, given by itself or by its id; an error is part of what comes back."""
        return self.execute((cell if isinstance(cell, dict) else self.cell(cell))["source"])

    def execute(self, source):
        """Run any code in the kernel, as in a cell that the student adds."""
        import nbformat

        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return _ran(cell["outputs"])

    def run_all(self):
        """Run every cell in order, past errors; what each one showed, by cell id."""
        return {cell["id"]: self.run(cell) for cell in self.cells}


def stored_outputs(root, chapter):
    """The printed text of the cells that CI compares, by source, from the solved notebook."""
    book = json.loads((root / "solutions" / f"{chapter}.ipynb").read_text("utf-8"))
    return {
        "".join(cell["source"]): "".join("".join(o.get("text", "")) for o in cell["outputs"])
        for cell in book["cells"]
        if "nbval-check-output" in cell["metadata"].get("tags", [])
    }
