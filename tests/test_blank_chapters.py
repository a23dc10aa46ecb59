"""What happens in a chapter that is blank, solved, or partly wrong: only what must fail, fails.

The blank chapters run under nbclient: it gives each cell's exception by name and message, and
costs half of what nbval does. That nbval, which a CI uses, comes to the same verdicts is
shown on chapter 03.
"""

import re
import subprocess
import symtable
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from course_copy import ROOT, Student, copy_course, environment

from nyang_edu.course.diagnosing import judge
from nyang_edu.course.notebooks import as_json, read_notebook
from nyang_edu.course.reference import execute, workshop
from nyang_edu.course.reporting import headline
from nyang_edu.course.source import find_chapter

CHAPTERS = sorted(path.stem for path in (ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))


def defined_and_used(source):
    """The names that a cell defines at its top level, and those it takes from outside."""
    lines = ["" if line.startswith(("%", "!")) else line for line in source.splitlines()]
    top = symtable.symtable("\n".join(lines), "cell", "exec")
    defined = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    return defined, _global_names(top)


def _global_names(table):
    module = table.get_type() == "module"
    names = {s.get_name() for s in table.get_symbols()
             if s.is_referenced() and (module or s.is_global())}
    return names.union(*map(_global_names, table.get_children()))


def cells_that_need(exercises, cells):
    """Ids of the cells that use a blank exercise, at once or through what it should have made."""
    blank, needing = set(), {}
    for cell in cells:
        defined, used = defined_and_used(cell["source"])
        if cell["id"].startswith("exercise-"):
            name = cell["id"].removeprefix("exercise-")
            blank = blank - defined | ({name} & exercises)
            continue
        if used & blank:
            needing[cell["id"]] = used & blank
            blank |= defined
        else:
            blank -= defined
    return needing


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return copy_course(tmp_path_factory.mktemp("course"))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_in_a_blank_chapter_only_what_needs_an_exercise_fails(course, chapter):
    exercises = set(find_chapter(chapter).exercises)
    student = Student(course, chapter, NYANG_PROGRESS="off")
    needing = cells_that_need(exercises, student.cells)
    with student.kernel():
        ran = student.run_all()
    failed = {id_: r for id_, r in ran.items() if r.error}
    on_purpose = {c["id"] for c in student.cells
                  if "raises-exception" in c["metadata"].get("tags", [])}
    surprises = {id_: (r.error, r.message) for id_, r in failed.items()
                 if id_ not in on_purpose and not _follows(r, needing.get(id_, ()))}
    assert not surprises
    for name in exercises:
        verdict = failed[f"check-{name}"]
        assert verdict.error == "CheckFailed"
        assert verdict.traceback == verdict.message  # outside JupyterLab there is no card
        first_line = verdict.message.splitlines()[0]
        blank = re.fullmatch(r"not yet  (\w+) (is still blank\. To do: \S.*|"
                             r"needs (\w+), which is still blank)", first_line)
        assert blank, first_line
        assert blank[1] == name
        assert blank[3] is None or blank[3] in exercises - {name}
    finished = ran[student.cell(f'finish("{chapter}")')["id"]]
    assert f"0 of {len(exercises)} exercises pass" in finished.text
    assert "nothing is exported" in finished.text


def _follows(ran, blank_names):
    """True where a cell's error comes from the blank names that it uses."""
    if ran.error == "NameError":
        return re.search(r"name '(\w+)'", ran.message)[1] in blank_names
    return bool(blank_names) and ran.error in ("NotImplementedError", "CheckFailed")


def test_a_check_names_the_blank_exercise_that_it_needs():
    chapter, namespace = find_chapter("03_linear"), {"__name__": "student"}
    for cell in (c for c in chapter.cells if c.defines):
        source = cell.blank() if cell.exercise == "Memory" else cell.solved()
        execute(source, namespace, f"<cell {cell.line}>")
    shop = workshop(chapter.exercises["Linear"])
    report = judge(shop, namespace["Linear"], given=namespace)
    assert headline(report) == "not yet  Linear needs Memory, which is still blank"


# ---- chapter 03 under nbval ---------------------------------------------------------------

WRONG, BLANK = "broken_gradient", "gradient_errors"


def filled(course, chapter, but=()):
    """The chapter's notebook with the reference in every exercise but those named."""
    source = find_chapter(chapter)
    book = read_notebook(course / "chapters" / f"{chapter}.ipynb")
    for cell in book["cells"]:
        name = cell["metadata"].get("nyang", {}).get("exercise")
        if name and name not in but:
            cell["source"] = source.exercises[name].cell.solved()
    return book


def nbval(course, *books):
    """Run notebooks under ``pytest --nbval-lax``; for each the ids of its red cells."""
    paths = [course / "chapters" / f"attempt_{number}.ipynb" for number in range(len(books))]
    for path, book in zip(paths, books, strict=True):
        path.write_text(as_json(book), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q",
               "-o", "addopts=", "-p", "no:cacheprovider", "--junitxml=verdicts.xml", *paths]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=200,
                          env=environment(course, NYANG_PROGRESS="off"))
    for path in paths:
        path.unlink()
    assert done.returncode in (0, 1), done.stdout + done.stderr
    cases = list(ElementTree.parse(course / "verdicts.xml").iter("testcase"))
    return [_red_cells(book, [c for c in cases if path.stem in c.get("classname")])
            for path, book in zip(paths, books, strict=True)]


def _red_cells(book, cases):
    """The ids of the failed cells, with their messages; every code cell must have run."""
    ids = [cell["id"] for cell in book["cells"] if cell["cell_type"] == "code"]
    assert len(cases) == len(ids)
    red = {}
    for case in cases:
        verdict = [child for child in case if child.tag in ("failure", "error", "skipped")]
        if verdict:
            red[ids[int(case.get("name").split()[-1])]] = verdict[0].text
    return red


def test_nbval_is_green_on_right_answers_and_red_at_exactly_the_others(course):
    right, partly = filled(course, "03_linear"), filled(course, "03_linear", {WRONG, BLANK})
    wrong = next(c for c in partly["cells"] if c["id"] == f"exercise-{WRONG}")
    prompt = re.search(r"raise NotImplementedError\(.*\)", wrong["source"])[0]
    wrong["source"] = wrong["source"].replace(prompt, "return dout1.T @ x1 + dout2.T @ x2")
    uses = next(c["id"] for c in partly["cells"] if c["source"].startswith("layer = Linear(5, 3"))

    green, red = nbval(course, right, partly)

    assert green == {}
    assert set(red) == {f"check-{WRONG}", f"check-{BLANK}", uses}
    assert f"{BLANK} is still blank" in red[f"check-{BLANK}"]
    assert "known mistake: this is what the right layer computes" in red[f"check-{WRONG}"]
    assert "NotImplementedError" in red[uses]


def test_the_copy_is_what_ran(course):
    """Without this, every test here could be passing on the originals."""
    student = Student(course, "03_linear", NYANG_PROGRESS="off")
    with student.kernel():
        seen = student.execute("import nyang_edu.course.files as f; print(f.__file__)\n"
                               "print(f.course_root(), f.is_test_run())").text.splitlines()
    assert Path(seen[0]).is_relative_to(course)
    assert seen[1] == f"{course.resolve()} True"
