"""The notebooks that a build makes: ids, grading metadata, and nothing of the author's."""

import json
import re

import nbformat
import pytest
from tinycourse import REPO, TINY, sources_of

from nyang_edu.course.files import read_text
from nyang_edu.course.notebooks import notebook
from nyang_edu.course.source import find_chapter, parse_cells, parse_chapter

BUILT = [
    REPO / "chapters" / f"{p.stem}.ipynb"
    for p in sorted((REPO / "solutions").glob("*.py"))
    if (REPO / "chapters" / f"{p.stem}.ipynb").exists()
]


def ids(text):
    return [c["id"] for c in notebook(parse_chapter("01_tiny", text), solved=False)["cells"]]


def test_ids_are_unique_and_survive_an_inserted_cell():
    before = ids(TINY)
    after = ids(
        TINY.replace("# %%\ncheck(double)", "# %% [markdown]\n# New.\n\n# %%\ncheck(double)")
    )
    assert len(set(before)) == len(before) and len(after) == len(before) + 1
    assert [i for i in after if i in before] == before


def test_equal_cells_get_different_ids():
    twice = TINY.replace("# %%\ncheck(double)", "# %%\nx = 1\n\n# %%\nx = 1\n\n# %%\ncheck(double)")
    assert len(set(ids(twice))) == len(ids(twice)) == len(ids(TINY)) + 2


def test_ids_of_exercise_and_check_are_their_names_whatever_they_hold():
    assert {"exercise-double", "check-double"} <= set(ids(TINY.replace("x * 2", "2 * x")))


def test_nbgrader_metadata_is_schema_3_with_points_on_the_locked_check():
    cells = {c["id"]: c for c in notebook(parse_chapter("01_tiny", TINY), solved=False)["cells"]}
    graded = [c["metadata"]["nbgrader"] for c in cells.values() if "nbgrader" in c["metadata"]]
    assert len({g["grade_id"] for g in graded}) == len(graded) == 8
    assert cells["exercise-double"]["metadata"]["nbgrader"] == {
        "schema_version": 3,
        "grade_id": "double",
        "solution": True,
        "grade": False,
        "locked": False,
        "task": False,
    }
    assert cells["check-double"]["metadata"]["nbgrader"] == {
        "schema_version": 3,
        "grade_id": "check_double",
        "grade": True,
        "locked": True,
        "points": 2,
        "solution": False,
        "task": False,
    }
    assert cells["check-double"]["metadata"]["editable"] is False
    assert "points" not in cells["exercise-double"]["metadata"]["nbgrader"]


@pytest.mark.parametrize("path", BUILT, ids=lambda p: p.stem)
def test_a_built_chapter_holds_nothing_of_its_author(path):
    """No solution, probe, mistake, hint or output; valid notebook format with unique ids."""
    book = json.loads(read_text(path))
    nbformat.validate(book)
    assert len({c["id"] for c in book["cells"]}) == len(book["cells"])
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in book["cells"])
    text = "\n".join(sources_of(path))
    secrets = list(author_secrets(find_chapter(path.stem, REPO)))
    assert len(secrets) > 10
    assert [s for s in secrets if s in text] == []


@pytest.mark.parametrize("path, later", zip(BUILT, [*BUILT[1:], None], strict=True),
                         ids=lambda p: p.stem if p else "end")
def test_a_finished_chapter_leads_to_the_next(path, later):
    """What the executed notebook shows at its end, though chapters were added since."""
    book = json.loads(read_text(REPO / "solutions" / path.name))
    shown = "".join(text for cell in book["cells"] if "".join(cell["source"]).startswith("finish(")
                    for output in cell["outputs"] for text in output.get("text", ()))
    words = f"next: chapter {later.stem[:2]}, " if later else "That was the last chapter."
    assert words in shown, "nyang build --execute brings it up to date"


def author_secrets(chapter):
    """Whole solutions, the author's cells, and the mistakes' names."""
    for exercise in chapter.exercises.values():
        for region in re.findall(
            r"BEGIN SOLUTION.*\n((?:.*\n)*?)[ \t]*### END", exercise.cell.source
        ):
            if region.count("\n") > 1 or len(region.strip()) > 30:
                yield region.strip("\n")
        yield from [exercise.probe.source, exercise.mistakes.source, *exercise.hints]
        yield from re.findall(r'mistake\("([^"]+)"', exercise.mistakes.source)


def test_cells_of_the_built_chapter_are_those_of_the_source_without_the_authors():
    chapter = parse_chapter("01_tiny", TINY)
    shown = [c for c in parse_cells(TINY) if c.role is None]
    cells = notebook(chapter, solved=False)["cells"]
    assert ["".join(c["source"]) for c in cells] == [c.blank() for c in shown]
    assert sum("NotImplementedError" in "".join(c["source"]) for c in cells) == 4
