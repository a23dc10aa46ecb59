"""A class of students for the tiny course, handed in as a teacher has it."""

import shutil

import pytest
from tinycourse import RIGHT, hand_in, make_course


@pytest.fixture
def school(tmp_path, monkeypatch):
    """A tiny course, a class folder, and a way to hand in: school(name, answers)."""
    root = make_course(tmp_path / "course", monkeypatch)
    folder = tmp_path / "class"

    def hand(student, answers=RIGHT, **how):
        path = folder / student / "01_tiny.ipynb"
        path.parent.mkdir(parents=True)
        shutil.copy(hand_in(root, answers, **how), path)
        return path

    hand.folder, hand.out, hand.root = folder, tmp_path / "out", root
    return hand


def points(result):
    """The points of each exercise of a result."""
    return {entry["name"]: entry["points"] for entry in result["exercises"]}
