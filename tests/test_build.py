"""nyang build: the same bytes each time, all or nothing, and nothing a student must not see."""

import nbformat
import pytest
from tinycourse import TINY, make_course, renamed, write_source

from nyang_edu.course import building
from nyang_edu.course.cli import main
from nyang_edu.course.files import CourseError, read_text
from nyang_edu.course.source import END, find_chapter, load_chapter

SECOND = (
    renamed(TINY, double="twice", centre="middle", Box="Crate", guess="predict", tiny="small")
    .replace("utility.box", "utility.crate")
    .replace("01 · Tiny", "02 · Small")
    .replace("01_tiny", "02_small")
)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny course whose solutions are not executed: kernels have a test of their own."""
    monkeypatch.setattr(building, "execute", lambda book, folder, chapter: book)
    return make_course(tmp_path, monkeypatch)


def build(*names):
    return main(["build", *(names or ["1"])])


def snapshot(root):
    """Every file's bytes, the kept copies and the lock aside."""
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and ".nyang" not in p.parts
    }


def test_a_build_makes_notebooks_modules_and_the_package(tiny):
    build()
    assert set(snapshot(tiny)) == {
        "chapters/01_tiny.ipynb",
        "nyang_edu/__init__.py",
        "nyang_edu/model/tiny.py",
        "nyang_edu/utility/box.py",
        "solutions/01_tiny.ipynb",
        "solutions/01_tiny.py",
    }
    assert read_text(tiny / "nyang_edu/utility/box.py") == (
        '# Exported from chapter 01. Change the notebook, then export again.\n"""A box."""\n\n'
        "import numpy as np\n\n\nclass Box:\n"
        '    """Keeps one doubled value."""\n\n    def put(self, value):\n'
        '        """Keep twice the value."""\n'
        '        self.value = value * 2\n\n    def get(self):\n        """Give the value back."""\n'
        "        return self.value\n"
    )


def test_the_same_source_gives_the_same_bytes_and_writes_nothing_twice(
    tiny, tmp_path, monkeypatch, capsys
):
    build()
    first = snapshot(tiny)
    stamps = {p: (tiny / p).stat().st_mtime_ns for p in first}
    build()
    assert snapshot(tiny) == first and capsys.readouterr().out.endswith(
        "1 chapters, 0 files written\n"
    )
    assert {p: (tiny / p).stat().st_mtime_ns for p in first} == stamps
    other = make_course(tmp_path / "elsewhere", monkeypatch)
    build()
    assert snapshot(other) == first


def test_every_built_file_has_lf_line_ends_and_utf_8(tiny):
    write_source(tiny, "01_tiny", TINY.replace("\n", "\r\n"))  # as Git may check it out on Windows
    build()
    del_source = {k: v for k, v in snapshot(tiny).items() if not k.endswith("solutions/01_tiny.py")}
    assert len(del_source) == 5
    for data in del_source.values():
        assert b"\r" not in data and data.decode().endswith("\n")
    assert "01 · Tiny" in del_source["chapters/01_tiny.ipynb"].decode()


BREAK = {
    "syntax error": lambda t: t.replace("return x * 2", "return x *"),
    "missing END": lambda t: t.replace(f"    {END}\n", "", 1),
    "missing probe": lambda t: t.replace('probe="double"', ""),
    "export without a module": lambda t: t.replace("#| default_exp model.tiny\n", ""),
    "a module's name that leads out": lambda t: t.replace("model.tiny", "../../evil"),
    "an absolute path": lambda t: t.replace("model.tiny", "/tmp/evil"),
}


@pytest.mark.parametrize("case", BREAK)
def test_a_refused_chapter_leaves_every_file_as_it_was(tiny, capsys, case):
    build()
    before = snapshot(tiny)
    text = BREAK[case](
        TINY.replace("Twice each", "x").replace("x - mean, mean", "x - x.mean(), mean")
    )
    write_source(tiny, "01_tiny", text)
    assert build() == 2
    assert "01_tiny" in (said := capsys.readouterr().err) or "module's name" in said
    after = snapshot(tiny)
    assert after.pop("solutions/01_tiny.py") != before.pop("solutions/01_tiny.py")
    assert after == before


@pytest.mark.parametrize("names", [["1"], ["2"], []])
def test_a_public_name_in_two_chapters_is_refused_and_nothing_is_written(tiny, capsys, names):
    build()
    write_source(tiny, "02_small", SECOND.replace("twice", "double"))
    write_source(tiny, "01_tiny", TINY.replace("x - mean, mean", "x - x.mean(), mean"))
    before = snapshot(tiny)
    assert build(*names) == 2
    said = capsys.readouterr().err
    assert "double" in said and "model.tiny" in said and "model.small" in said
    assert snapshot(tiny) == before


def test_a_module_in_two_chapters_is_refused_and_nothing_is_written(tiny, capsys):
    build()
    write_source(tiny, "02_small", SECOND.replace("model.small", "model.tiny"))
    before = snapshot(tiny)
    assert build("2") == 2
    said = capsys.readouterr().err
    assert "model.tiny" in said and "01_tiny" in said and "02_small" in said
    assert snapshot(tiny) == before


def test_two_chapters_share_one_package(tiny):
    write_source(tiny, "02_small", SECOND)
    build("1", "2")
    init = read_text(tiny / "nyang_edu/__init__.py")
    assert '"double": "model.tiny"' in init and '"Crate": "utility.crate"' in init
    assert init.index('"Box"') < init.index('"double"') < init.index('"twice"')


def test_check_says_0_before_and_1_with_a_diff_after_an_edit(tiny, capsys):
    build()
    built = snapshot(tiny)
    assert main(["build", "--check", "1"]) == 0
    write_source(
        tiny, "01_tiny", TINY.replace("Prose with", "Words with").replace("x * 2", "2 * x")
    )
    capsys.readouterr()
    assert main(["build", "--check", "1"]) == 1
    said = capsys.readouterr().out
    assert "-    return x * 2\n+    return 2 * x" in said and "nyang_edu/model/tiny.py" in said
    assert "Words with" in said and said.endswith("3 files differ from their source\n")
    built["solutions/01_tiny.py"] = read_text(tiny / "solutions/01_tiny.py").encode()
    assert snapshot(tiny) == built


@pytest.mark.parametrize(
    "path",
    [
        "chapters/01_tiny.ipynb",
        "nyang_edu/model/tiny.py",
        "solutions/01_tiny.ipynb",
        "nyang_edu/__init__.py",
    ],
)
def test_check_finds_each_file_that_was_edited_or_lost(tiny, capsys, path):
    build()
    text = read_text(tiny / path)
    (tiny / path).write_text(text.replace("x", "y", 1).replace("Prose", "Verse"), encoding="utf-8")
    assert main(["build", "--check", "1"]) == 1
    assert path in capsys.readouterr().out
    (tiny / path).unlink()
    assert main(["build", "--check", "1"]) == 1
    assert path in capsys.readouterr().out


def test_what_a_build_replaces_is_kept(tiny):
    build()
    path = tiny / "chapters/01_tiny.ipynb"
    path.write_bytes(work := path.read_bytes().replace(b"raise NotImplementedError", b"return 1 #"))
    build()
    kept = list((tiny / ".nyang/kept").rglob("01_tiny.ipynb"))
    assert [p.read_bytes() for p in kept] == [work] and path.read_bytes() != work


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe"])
def test_a_build_makes_an_unreadable_notebook_anew_and_keeps_it(tiny, data):
    build()
    path = tiny / "chapters/01_tiny.ipynb"
    whole = path.read_bytes()
    path.write_bytes(data)
    assert build() == 0
    assert path.read_bytes() == whole
    assert [p.read_bytes() for p in (tiny / ".nyang/kept").rglob("01_tiny.ipynb")] == [data]


def test_the_solution_notebook_is_executed_and_the_chapter_is_not(tmp_path, monkeypatch):
    root = make_course(tmp_path, monkeypatch)
    assert build() == 0
    solution = nbformat.read(root / "solutions/01_tiny.ipynb", as_version=4)
    nbformat.validate(solution)
    printed = "".join(o.text for c in solution.cells for o in c.get("outputs", []))
    assert "printed by the solution" in printed and printed.count("passed  ") == 4
    assert "printed by" not in read_text(root / "chapters/01_tiny.ipynb").replace(
        'print(\\"printed by', ""
    )
    assert main(["build", "--check", "1"]) == 0


def test_a_changed_text_keeps_the_outputs_and_changed_code_does_not(tmp_path, monkeypatch):
    root = make_course(tmp_path, monkeypatch)
    build()
    source, path = root / "solutions/01_tiny.py", root / "solutions/01_tiny.ipynb"
    before = read_text(path)
    with monkeypatch.context() as patch:
        patch.setattr(building, "execute", None)  # calling it would raise
        source.write_text(TINY.replace("01 · Tiny", "01 · Very small"))
        assert build() == 0
        assert read_text(path).replace("Very small", "Tiny").count('"output_type"') == before.count(
            '"output_type"'
        )
        assert "Very small" in read_text(path)
        source.write_text(TINY.replace('print("printed by', 'print("now printed by'))
        with pytest.raises(TypeError):
            build()


def test_a_solution_that_raises_is_refused_with_its_error(tmp_path, monkeypatch, capsys):
    make_course(
        tmp_path,
        monkeypatch,
        c01_tiny=TINY.replace('print("printed by', 'print(1 / 0, "printed by'),
    )
    assert build() == 2
    said = capsys.readouterr().err
    assert "01_tiny does not run" in said and "ZeroDivisionError" in said


def test_an_unknown_chapter_is_refused_with_the_names_there_are(tiny):
    with pytest.raises(CourseError, match="'9'.*There are: 01_tiny"):
        find_chapter("9")
    assert (
        load_chapter(tiny / "solutions/01_tiny.py").name == find_chapter("tiny").name == "01_tiny"
    )
