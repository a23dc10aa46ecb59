"""A release works by itself, in a fresh clone; without solutions it shows none and still checks."""

import re
import shutil
import subprocess
import sys

import pytest
from course_copy import environment, nyang
from tinycourse import REPO, TINY, hand_in, make_course

from nyang_edu.classroom.release import release
from nyang_edu.course.exporting import export_chapter
from nyang_edu.course.files import CourseError, read_text
from nyang_edu.course.notebook import hint
from nyang_edu.course.notebooks import as_json, read_notebook
from nyang_edu.course.sealing import read_source, seal, sealed_code
from nyang_edu.course.source import BEGIN, END, chapter_paths, find_chapter, load_chapter

FIRST, CHAPTER = "00_start_here", "03_linear"


def fill_in(root, chapter, *names):
    """Put the course's own answers into a release's notebook."""
    path = root / "chapters" / f"{chapter.name}.ipynb"
    book = read_notebook(path)
    for cell in book["cells"]:
        name = cell["id"].removeprefix("exercise-")
        if name in names:
            cell["source"] = chapter.exercises[name].cell.solved()
    path.write_text(as_json(book), encoding="utf-8")


def holes(chapter):
    """What stands between the markers: the text that a student must not meet."""
    for exercise in chapter.exercises.values():
        for part in exercise.cell.source.split(BEGIN)[1:]:
            yield exercise.name, part.split(END)[0].partition("\n")[2].strip()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    target = tmp_path_factory.mktemp("release") / "handed out"
    release([find_chapter(CHAPTER, REPO)], target, solutions=False)
    return target


def test_no_solution_of_this_or_a_later_chapter_can_be_read(sealed):
    texts = [read_text(path) for path in sealed.rglob("*")
             if path.suffix in (".py", ".ipynb", ".md")]
    later = [load_chapter(p) for p in chapter_paths(REPO) if p.stem >= CHAPTER]
    solutions = [(name, text) for chapter in later for name, text in holes(chapter)
                 if len(text) > 40]
    assert len(solutions) > 60 and len(texts) > 60
    assert [name for name, text in solutions if any(text in t for t in texts)] == []
    assert list((sealed / "solutions").iterdir()) == [sealed / "solutions" / f"{CHAPTER}.key"]


def test_every_name_of_the_package_still_works(sealed):
    works(sealed)


def works(root):
    """Every public name of the package in this folder is there, and a layer computes."""
    code = ("import nyang_edu, numpy as np\n"
            "for name in nyang_edu.__all__: getattr(nyang_edu, name)\n"
            "layer = nyang_edu.Linear(3, 4, rng=np.random.default_rng(0))\n"
            "print(layer(np.ones((2, 3), np.float32)).shape, nyang_edu.__file__)")
    done = subprocess.run([sys.executable, "-c", code], env=environment(root), cwd=root,
                          capture_output=True, text=True)
    assert done.stdout == f"(2, 4) {root / 'nyang_edu' / '__init__.py'}\n", done.stderr


def test_the_handed_out_chapter_checks_exports_and_hints(sealed, tmp_path):
    root, chapter = shutil.copytree(sealed, tmp_path / "mine"), find_chapter(CHAPTER, REPO)
    fill_in(root, chapter, "linear_forward")
    said = nyang(root, "check", "03", code=1)
    assert "passed  linear_forward: out, out in float32 equal the reference" in said
    assert "not yet  linear_backward is still blank" in said
    assert f"{CHAPTER}  2 of 20 points" in nyang(root, "status")
    nyang(root, "export", "03")
    module = read_text(root / "nyang_edu" / "model" / "linear.py")
    assert "# yours\ndef linear_forward(" in module and "<sealed linear_backward>" in module
    assert "dout.T @ x" not in module
    works(root)
    nyang(root, "restore", "03")
    assert (root / "nyang_edu/model/linear.py").read_bytes() == (
        sealed / "nyang_edu/model/linear.py").read_bytes()
    assert "nothing to build" in nyang_error(root, "build")


def nyang_error(root, *arguments):
    command = [sys.executable, "-m", "nyang_edu.course.cli", *arguments]
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True,
                          text=True)
    assert done.returncode == 2
    return done.stderr


def steps(root):
    """What the workflow runs, but for the installation."""
    text = read_text(root / ".github" / "workflows" / "grade.yml")
    found = [line.strip() for line in re.findall(r"^        run: (.+)$", text, re.MULTILINE)]
    assert found.pop(0) == "pip install -e ." and "://" not in text
    return found


def test_the_workflow_grades_a_fresh_clone(tmp_path):
    origin, clone, chapter = tmp_path / "origin", tmp_path / "clone", find_chapter(FIRST, REPO)
    release([chapter], origin, solutions=False)
    fill_in(origin, chapter, *chapter.exercises)
    for command in (["init", "-q"], ["add", "."],
                    ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "Begin"]):
        subprocess.run(["git", *command], cwd=origin, check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(clone)], check=True)
    assert [run(clone, step)[0] for step in steps(clone)] == [0, 0, 0]
    assert f"{FIRST}  5 of 5 points" in run(clone, steps(clone)[-1])[1]
    assert (clone / "nbval.xml").exists()


def run(root, step):
    """One step in a shell, with the commands that an installation puts on the PATH."""
    step = step.replace("nyang ", f"{sys.executable} -m nyang_edu.course.cli ").replace(
        "python -m pytest", f"{sys.executable} -m pytest -q")
    done = subprocess.run(["bash", "-c", step], cwd=root, env=environment(root),
                          capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_a_blank_release_is_red_in_the_workflow(sealed):
    check, _, points = steps(sealed)
    assert run(sealed, check)[0] == 1
    assert f"{CHAPTER}  0 of 20 points" in run(sealed, points)[1]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    root = make_course(tmp_path / "course", monkeypatch, c01_tiny=TINY)
    (root / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    return root


def test_with_solutions_everything_lies_open(tiny, tmp_path, monkeypatch, capsys):
    (tiny / "chapters" / "01_tiny.ipynb").write_text("the teacher's own answers", "utf-8")
    release([find_chapter("01")], tmp_path / "out")
    monkeypatch.setenv("NYANG_ROOT", str(tmp_path / "out"))
    assert read_text(tmp_path / "out/solutions/01_tiny.py") == TINY
    assert "return x * 2" in read_text(tmp_path / "out/nyang_edu/model/tiny.py")
    book = read_notebook(tmp_path / "out/chapters/01_tiny.ipynb")
    assert "return x * 2" not in as_json(book)
    monkeypatch.delenv("NYANG_PROGRESS")
    for _ in range(4):
        hint("double")
    assert "The solution:" in capsys.readouterr().out


def test_sealed_hints_end_with_the_last_hint(tiny, tmp_path, monkeypatch, capsys):
    release([find_chapter("01")], tmp_path / "out", solutions=False)
    monkeypatch.setenv("NYANG_ROOT", str(tmp_path / "out"))
    monkeypatch.delenv("NYANG_PROGRESS")
    for _ in range(5):
        hint("double")
    said = capsys.readouterr().out
    assert said.count("hint 3 of 3") == 3 and "Skeleton of double" in said
    assert "solution" not in said and "x * 2" not in said


def test_a_fallback_is_exported_sealed(tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    release([find_chapter("01")], out, solutions=False)
    monkeypatch.setenv("NYANG_ROOT", str(out))
    hand_in(out, {})
    export_chapter("01", out)
    module = read_text(out / "nyang_edu/model/tiny.py")
    assert "# reference: yours does not pass its check yet\nexec(" in module
    namespace = {}
    exec(module, namespace)  # noqa: S102
    assert namespace["double"](4) == 8


def test_what_cannot_be_released_is_refused(tiny, tmp_path, monkeypatch):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(CourseError, match="not empty"):
        release([find_chapter("01")], tmp_path / "used")
    release([find_chapter("01")], tmp_path / "out", solutions=False)
    monkeypatch.setenv("NYANG_ROOT", str(tmp_path / "out"))
    with pytest.raises(CourseError, match="without their solutions"):
        release([find_chapter("01")], tmp_path / "again")


def test_a_seal_keeps_every_letter_and_says_when_it_is_broken(tmp_path):
    path = tmp_path / "01_tiny.key"
    path.write_bytes(seal(TINY + "# 끝\n"))
    assert read_source(path) == TINY + "# 끝\n"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CourseError, match="damaged"):
        read_source(path)
    namespace = {}
    exec(sealed_code("def f():\n    return '끝'", "f"), namespace)  # noqa: S102
    assert namespace["f"]() == "끝" and max(map(len, sealed_code(TINY, "f").splitlines())) < 100
