"""Submissions are found in the layouts that teachers have, under names that are safe."""

import io
import os
import stat
import zipfile

import pytest
from tinycourse import RIGHT, hand_in, make_course

from nyang_edu.classroom.archives import unpack
from nyang_edu.classroom.submissions import find_submissions
from nyang_edu.course.files import CourseError


def lay_out(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


def found(folder):
    return {one.name: [file.name for file in one.files()] for one in find_submissions(folder)}


def zipped(*names, content=b"{}"):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return data.getvalue()


def test_nbgraders_folders(tmp_path):
    lay_out(tmp_path, "submitted/anna/03_linear/03_linear.ipynb", "submitted/ben/03_linear/x.ipynb",
            "source/03_linear/03_linear.ipynb", "gradebook.db")
    assert found(tmp_path) == {"anna": ["anna/03_linear/03_linear.ipynb"],
                               "ben": ["ben/03_linear/x.ipynb"]}


def test_one_folder_for_each_student(tmp_path):
    lay_out(tmp_path, "anna/03_linear.ipynb", "ben/deep/er/03_linear.ipynb", "empty/notes.txt",
            "anna/.ipynb_checkpoints/03_linear-checkpoint.ipynb")
    assert found(tmp_path) == {"anna": ["anna/03_linear.ipynb"], "empty": [],
                               "ben": ["ben/deep/er/03_linear.ipynb"]}


def test_clones_of_github_classroom(tmp_path):
    lay_out(tmp_path, "linear-anna/chapters/03_linear.ipynb", "linear-anna/.git/x.ipynb",
            "linear-anna/solutions/03_linear.ipynb", "linear-anna/.nyang/progress.json")
    assert found(tmp_path) == {"linear-anna": ["linear-anna/.nyang/progress.json",
                                               "linear-anna/chapters/03_linear.ipynb"]}


def test_loose_notebooks_as_canvas_names_them(tmp_path):
    lay_out(tmp_path, "annalee_4711_815_03_linear.ipynb", "ben_LATE_4712_816_03_linear-1.ipynb")
    assert set(found(tmp_path)) == {"annalee", "ben"}


def test_a_single_notebook_belongs_to_its_folder(tmp_path):
    lay_out(tmp_path, "anna/03_linear.ipynb")
    assert found(tmp_path / "anna") == {"anna": ["03_linear.ipynb"]}


def test_a_zip_from_moodle(tmp_path):
    path = tmp_path / "CS1-Linear-2026.zip"
    path.write_bytes(zipped("Anna Lee_11_assignsubmission_file_/03_linear.ipynb",
                            "김민지_12_assignsubmission_file_/03_linear.ipynb",
                            "김민지_12_assignsubmission_file_/essay.pdf"))
    shown = found(path)
    assert set(shown) == {"Anna Lee", "김민지"} and len(shown["김민지"]) == 1


def test_a_zip_of_zips_and_a_wrapping_folder(tmp_path):
    path = tmp_path / "all.zip"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("class/anna/work.zip", zipped("chapters/03_linear.ipynb"))
        archive.writestr("class/ben/03_linear.ipynb", b"{}")
    path.write_bytes(data.getvalue())
    assert found(path) == {
        "anna": ["all.zip!/class/anna/work.zip!/chapters/03_linear.ipynb"],
        "ben": ["all.zip!/class/ben/03_linear.ipynb"]}


def test_archives_beside_folders_do_not_merge_with_them(tmp_path):
    lay_out(tmp_path, "kim/03_linear.ipynb")
    (tmp_path / "kim.zip").write_bytes(zipped("03_linear.ipynb"))
    ids = [one.id for one in find_submissions(tmp_path)]
    assert len(set(ids)) == 2


def test_old_korean_names_in_a_zip_are_read(tmp_path):
    name = "김민지/03_linear.ipynb"
    data = zipped("x" * len(name.encode("cp949")))
    raw = data.replace(b"x" * len(name.encode("cp949")), name.encode("cp949"))
    (tmp_path / "a.zip").write_bytes(raw)
    assert [n for n, _, _ in unpack(tmp_path / "a.zip")] == [name]


@pytest.mark.parametrize("name", ["Anna Lee", "김민지", "cat 🐱", "a..b", "-rf", "con", "x" * 200,
                                  "<script>", "=1+1", "per%cent", "quote'\""])
def test_every_name_makes_a_safe_and_unique_id(tmp_path, name):
    lay_out(tmp_path, f"{name}/03_linear.ipynb", f"{name} /03_linear.ipynb")
    ids = [one.id for one in find_submissions(tmp_path)]
    assert len(set(ids)) == 2
    for id_ in ids:
        assert set(id_) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(id_) <= 60


def test_names_in_archives_never_lead_out(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped("../../evil.ipynb", "/etc/evil.ipynb",
                                            "..\\evil.ipynb", "C:/evil.ipynb", "ok.ipynb"))
    entries = list(unpack(tmp_path / "a.zip"))
    assert [name for name, data, _ in entries if data is not None] == ["ok.ipynb"]
    assert all(note for _, data, note in entries if data is None)
    assert all(".." not in one.id for one in find_submissions(tmp_path / "a.zip"))


def test_links_in_archives_and_folders_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert next(unpack(tmp_path / "a.zip"))[1:] == (None, "it is a link or a device, no file")
    (tmp_path / "anna").mkdir()
    os.symlink("/etc/passwd", tmp_path / "anna" / "03_linear.ipynb")
    anna = next(one for one in find_submissions(tmp_path) if one.name == "anna")
    assert [file.data for file in anna.files()] == [None]


def test_a_broken_archive_has_a_reason(tmp_path):
    (tmp_path / "kim.zip").write_bytes(b"PK\3\4 half an archive")
    one, = find_submissions(tmp_path)
    file, = one.files()
    assert file.data is None and "cannot be read" in file.note


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(CourseError, match="neither a folder nor an archive"):
        find_submissions(tmp_path / "nothing")


def test_the_solved_notebook_of_a_tiny_course_is_found(tmp_path, monkeypatch):
    root = make_course(tmp_path / "course", monkeypatch)
    hand_in(root, RIGHT)
    assert found(root / "chapters") == {"chapters": ["01_tiny.ipynb"]}
