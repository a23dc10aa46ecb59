"""Export never loses anything: restored, kept, locked, atomic, and unmoved by broken files."""

import os
import subprocess
import sys

import pytest
from tinycourse import RIGHT, hand_in, make_course

from nyang_edu.course.cli import main
from nyang_edu.course.exporting import export_chapter, restore_chapter
from nyang_edu.course.files import CourseError, locked, read_text
from nyang_edu.course.modules import marks


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny course with the reference's modules in place."""
    root = make_course(tmp_path, monkeypatch)
    restore_chapter("1", root)
    return root


def module(root):
    return read_text(root / "nyang_edu/model/tiny.py")


def test_restore_brings_back_the_reference_byte_for_byte(tiny):
    reference = {p: p.read_bytes() for p in (tiny / "nyang_edu").rglob("*.py")}
    assert len(reference) == 2
    hand_in(tiny, RIGHT)
    export_chapter("1", tiny)
    assert all(p.read_bytes() != text for p, text in reference.items())
    assert main(["restore", "1"]) == 0
    assert {p: p.read_bytes() for p in (tiny / "nyang_edu").rglob("*.py")} == reference
    assert restore_chapter("1", tiny) == []


def test_whatever_is_overwritten_is_kept(tiny):
    path = tiny / "nyang_edu/model/tiny.py"
    path.write_text("# my own experiment\n", encoding="utf-8")
    hand_in(tiny, RIGHT)
    export_chapter("1", tiny)
    first = path.read_bytes()
    restore_chapter("1", tiny)
    kept = {p.read_bytes() for p in (tiny / ".nyang/kept").rglob("tiny.py")}
    assert kept == {b"# my own experiment\n", first}


def test_the_notebook_is_never_written(tiny):
    data = hand_in(tiny, RIGHT).read_bytes()
    for command in (["check", "1"], ["export", "1"], ["restore", "1"], ["status"]):
        main(command)
    assert (tiny / "chapters/01_tiny.ipynb").read_bytes() == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"<<<<<<< HEAD\n{}",
        b"[]",
        b"{}",
        b'{"cells": [{}]}',
        b'{"cells": [{"source": "x"}]}',
        b'{"cells": [{"cell_type": "code", "source": null}]}',
        b"\xff\xfe\x00",
        b'{"cells": {"a": 1}}',
        None,
    ],
)
@pytest.mark.parametrize("command", ["check", "export", "status"])
def test_an_unreadable_notebook_is_refused_in_one_line_and_nothing_changes(
    tiny, capsys, data, command
):
    path = hand_in(tiny, {})
    path.unlink() if data is None else path.write_bytes(data)
    modules = module(tiny)
    assert main([command, "1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("nyang: ") and "01_tiny.ipynb" in said and said.count("\n") == 1
    assert module(tiny) == modules


def test_two_exports_at_once_leave_whole_files(tiny):
    hand_in(tiny, RIGHT)
    command = [sys.executable, "-m", "nyang_edu.course.cli", "export", "1"]
    env = {k: v for k, v in os.environ.items() if k != "NYANG_PROGRESS"}
    runs = [
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    ends = [(*run.communicate(timeout=60), run.returncode) for run in runs]
    assert [code for _, _, code in ends] == [0, 0, 0], ends
    assert marks(tiny / "nyang_edu/model/tiny.py") == (2, 0) and "return x + x  # mine" in module(
        tiny
    )
    assert not list(tiny.rglob(".tiny.py.*"))
    assert sum("exported: nyang_edu" in out for out, _, _ in ends) == 1


@pytest.mark.parametrize("command", ["export", "restore", "build"])
def test_a_command_that_writes_waits_for_its_turn(tiny, monkeypatch, capsys, command):
    hand_in(tiny, RIGHT)
    before = module(tiny)
    monkeypatch.setattr(locked.__wrapped__, "__defaults__", (0.1,))  # seconds to wait
    with locked(tiny):
        assert main([command, "1"]) == 2
    assert "Another nyang command" in capsys.readouterr().err and module(tiny) == before


def test_a_write_that_fails_leaves_the_old_file(tiny, monkeypatch):
    hand_in(tiny, RIGHT)
    before = module(tiny)
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        export_chapter("1", tiny)
    assert module(tiny) == before and not list(tiny.rglob(".tiny.py.*"))


def test_ctrl_c_stops_an_export(tiny):
    hand_in(tiny, {"double": "raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt):
        export_chapter("1", tiny)


def test_export_of_no_chapter_is_refused():
    with pytest.raises(CourseError, match="No chapter is called 'nine'"):
        export_chapter("nine")
