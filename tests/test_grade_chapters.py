"""Every chapter through the whole grading path: the blank earns 0, the reference all points.

And no process that grades a chapter can see an answer to it, or to a later one.
"""

import ast

import pytest
from own_code import own_answer
from tinycourse import SOURCES

from nyang_edu.classroom.coursebox import build_box, drop_sealed
from nyang_edu.classroom.grading import Options, Work, grade
from nyang_edu.classroom.submissions import File
from nyang_edu.course.modules import module_text, strip_directives
from nyang_edu.course.notebooks import as_json, notebook
from nyang_edu.course.source import load_chapter

NAMES = [path.stem for path in SOURCES]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    return tmp_path_factory.mktemp("boxes")


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_blank_earns_nothing_the_reference_and_own_words_everything(path, boxes):
    chapter, options = load_chapter(path), Options(str(boxes), (path.stem,), nbval=False)
    blank, reference, own = (notebook(chapter, solved) for solved in (False, True, True))
    for cell in own["cells"]:
        name = cell["id"].removeprefix("exercise-")
        if name in chapter.exercises:
            cell["source"] = own_answer(chapter.exercises[name])
    for book, earned in [(blank, 0), (reference, chapter.points), (own, chapter.points)]:
        file = File("a.ipynb", as_json(book).encode())
        result, = grade(Work("x", "x", [file]), options)
        said = [e["headline"] for e in result["exercises"] if bool(e["points"]) != bool(earned)]
        assert (result["points"], result["max"]) == (earned, chapter.points), said


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_answer_can_be_seen_where_a_chapter_is_graded(path, tmp_path):
    chapter = load_chapter(path)
    box = build_box(tmp_path, chapter)
    later = [load_chapter(other) for other in SOURCES if other.stem >= path.stem]
    blanks = {name: strip_directives(exercise.cell.blank())
              for other in later for name, exercise in other.exercises.items()}
    for module in box.rglob("*.py"):
        text = module.read_text("utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in blanks:
                assert blanks[node.name] in text, f"{module.relative_to(box)} shows {node.name}"
    assert not list(box.rglob("*.ipynb")) and not (box / "solutions").exists()


def test_answers_in_compressed_form_do_not_come_along(tmp_path):
    chapter = load_chapter(SOURCES[3])
    for module, cells in chapter.modules().items():
        path = tmp_path / f"{module}.py"
        path.write_text(module_text(chapter, cells, sealed=True), "utf-8")
    (tmp_path / "given.py").write_text("x = 1\n")
    drop_sealed(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["given.py"]
