"""Make notebooks out of a chapter's cells, as plain JSON; run one; read a student's."""

import hashlib
import json

from .files import CourseError, read_text

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def notebook(chapter, solved):
    """The notebook of a chapter as a dict: the solved one, or the student's with blanks."""
    cells, used = [], set()
    for cell in chapter.cells:
        if cell.role is None:
            cells.append(_notebook_cell(chapter, cell, solved, used))
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _notebook_cell(chapter, cell, solved, used):
    source = cell.solved() if solved else cell.blank()
    made = {"cell_type": cell.kind, "id": cell_id(cell, used),
            "metadata": _metadata(chapter, cell, solved), "source": _lines(source)}
    if cell.kind == "code":
        made |= {"execution_count": None, "outputs": []}
    return made


def cell_id(cell, used):
    """A stable id: the exercise's name, or a hash of the text, so that cells may move."""
    if cell.exercise:
        base = f"exercise-{cell.exercise}"
    elif cell.checks:
        base = f"check-{cell.checks}"
    else:
        base = hashlib.sha256(f"{cell.kind}\n{cell.source}".encode()).hexdigest()[:12]
    name, number = base, 1
    while name in used:
        number += 1
        name = f"{base}-{number}"
    used.add(name)
    return name


def _metadata(chapter, cell, solved):
    """Tags (those on stored outputs only where there are any); nbgrader's fields, schema 3."""
    tags = [tag for tag in cell.meta.get("tags", []) if solved or tag != "nbval-check-output"]
    metadata = {"tags": tags} if tags else {}
    if cell.exercise:
        exercise = chapter.exercises[cell.exercise]
        metadata["nyang"] = {"exercise": cell.exercise, "stars": exercise.stars}
        metadata["nbgrader"] = _nbgrader(cell.exercise, solution=True)
    elif cell.checks in chapter.exercises:
        points = chapter.exercises[cell.checks].points
        grade_id = f"check_{cell.checks}"
        metadata["nbgrader"] = _nbgrader(grade_id, grade=True, locked=True, points=points)
        metadata |= {"deletable": False, "editable": False}
    return metadata


def _nbgrader(grade_id, **fields):
    return {"schema_version": 3, "grade_id": grade_id, "grade": False, "solution": False,
            "locked": False, "task": False, **fields}


def _lines(source):
    return source.splitlines(keepends=True)


def as_json(book):
    """Notebook JSON as nbformat writes it: one blank indent, sorted keys, UTF-8."""
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def read_notebook(path):
    """A notebook as a dict whose cells' sources are strings; refuses what is none."""
    try:
        book = json.loads(read_text(path))
        for cell in book["cells"]:
            cell |= {"source": "".join(cell["source"]), "cell_type": cell["cell_type"]}
    except FileNotFoundError:
        raise CourseError(f"There is no notebook {path}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CourseError(f"{path} is no readable notebook: {error!r}. `nyang build "
                          f"{path.stem}` makes it anew; .nyang/kept/ keeps this one.") from None
    return book


def skeleton(book):
    """What two builds must agree on: sources and metadata, not the outputs."""
    return [(c["id"], c["cell_type"], "".join(c["source"]), c["metadata"])
            for c in book["cells"]]


def with_outputs_of(book, old):
    """The book with the outputs of an executed one of the same code; None if it differs."""
    ours, theirs = ([c for c in b["cells"] if c["cell_type"] == "code"] for b in (book, old))
    if [(c["source"], c["metadata"]) for c in theirs] != [
            ("".join(c["source"]), c["metadata"]) for c in ours]:
        return None
    for cell, executed in zip(ours, theirs, strict=True):
        cell |= {name: executed[name] for name in ("execution_count", "outputs")}
    return book


def execute(book, folder, chapter):
    """Run a notebook in a fresh kernel and return it with its outputs."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    node = nbformat.reads(as_json(book), as_version=4)
    client = NotebookClient(node, timeout=600, kernel_name="python3", record_timing=False,
                            resources={"metadata": {"path": str(folder)}})
    client.widget_registry = {}  # its own Output widget can miss a reply and wait for ever
    try:
        client.execute()
    except CellExecutionError as error:
        raise CourseError(f"{chapter.name} does not run:\n{error}") from None
    done = json.loads(nbformat.writes(node))
    for cell in done["cells"]:
        cell["outputs"] = [o for o in cell.get("outputs", []) if not _is_widget(o)]
        if cell["cell_type"] == "markdown":
            del cell["outputs"]
    done["metadata"] = book["metadata"]
    return done


def _is_widget(output):
    """Widgets need a kernel; what they show is stored as a static figure beside them."""
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
