"""The repository as a whole: one list of dependencies, one home per name, one way of imports."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tinycourse import REPO, SOURCES

import nyang_edu
from nyang_edu.course.files import CourseError
from nyang_edu.course.modules import package_init, public_names
from nyang_edu.course.source import load_chapter

MODULES = sorted((REPO / "nyang_edu").rglob("*.py"))
TOOLS = {"course", "classroom"}
FRAMEWORK = [p for p in MODULES if not TOOLS & set(p.relative_to(REPO).parts)]


def tracked():
    """The files that Git knows or would add; all but hidden ones where there is no Git.

    Hostile submissions are left out: being in bad form is what some of them are for.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=REPO, capture_output=True
    )
    if listing.returncode == 0:
        paths = [REPO / name for name in listing.stdout.decode().split("\0") if name]
    else:
        paths = [
            p
            for p in REPO.rglob("*")
            if not any(part.startswith((".", "__")) for part in p.relative_to(REPO).parts)
        ]
    return [p for p in paths if p.is_file() and p.parent.name != "hostile"]


def is_text(path):
    return b"\0" not in path.read_bytes()[:4096]


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower()


def test_conda_and_pip_install_the_same_packages():
    pip = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    listed = re.findall(
        r"^  - ([\w.-]+[^\n:]*)$",
        (REPO / "environment.yml").read_text("utf-8").split("dependencies:")[1],
        re.MULTILINE,
    )
    conda = {name_of(line).replace("matplotlib-base", "matplotlib") for line in listed}
    assert conda - {"python", "pip"} == {name_of(line) for line in pip}
    assert "numpy" in conda and len(conda) > 5


def test_conda_and_pip_agree_on_versions():
    pip = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    text = (REPO / "environment.yml").read_text("utf-8").replace("matplotlib-base", "matplotlib")
    for line in pip:
        assert f"  - {line.replace('==', '=')}\n" in text


def test_each_public_name_and_module_comes_from_one_chapter():
    homes = {}
    for path in SOURCES:
        chapter = load_chapter(path)
        for module, cells in chapter.modules().items():
            names = public_names("\n".join(cell.solved() for cell in cells))
            for name in [module, *names]:
                homes.setdefault(name, set()).add(chapter.name)
    assert len(homes) > 10
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}
    assert package_init(
        [load_chapter(path) for path in SOURCES]
    )  # raises where a name has two homes


def test_a_module_written_by_hand_joins_the_public_api_through_its_all(tmp_path):
    room = tmp_path / "nyang_edu" / "data"
    room.mkdir(parents=True)
    (room / "digits.py").write_text("__all__ = ['load']\n\n\ndef load():\n    def no(): ...\n")
    (room / "quiet.py").write_text("def helper(): ...\n")
    text = package_init([], tmp_path)
    assert '"load": "data.digits"' in text and "helper" not in text
    (room / "second.py").write_text("__all__ = ['load']\n")
    with pytest.raises(CourseError, match="load is exported by data.digits and data.second"):
        package_init([], tmp_path)


def test_each_exercise_name_is_used_once_in_the_course():
    names = [name for path in SOURCES for name in load_chapter(path).exercises]
    assert len(names) > 10
    assert {name for name in names if names.count(name) > 1} == set()


def test_every_name_of_the_public_api_resolves():
    assert len(nyang_edu.__all__) > 10
    for name in nyang_edu.__all__:
        found = getattr(nyang_edu, name)
        assert getattr(found, "__name__", name) == name
    assert set(nyang_edu.__all__) <= set(dir(nyang_edu))
    with pytest.raises(AttributeError, match="no_such_name"):
        nyang_edu.no_such_name  # noqa: B018


def imports(path):
    """(module, names) of each import statement; a relative module with its leading dots."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]


@pytest.mark.parametrize(
    "statement, found",
    [
        ("import nyang_edu.course.cli", ("nyang_edu.course.cli", [])),
        ("from nyang_edu import course, x", ("nyang_edu", ["course", "x"])),
        ("def f():\n    from ..course import check", ("..course", ["check"])),
        ("from numpy import *", ("numpy", ["*"])),
    ],
)
def test_every_form_of_import_is_seen(tmp_path, statement, found):
    path = tmp_path / "x.py"
    path.write_text(statement, "utf-8")
    assert list(imports(path)) == [found]


@pytest.mark.parametrize("path", FRAMEWORK, ids=lambda p: p.relative_to(REPO).as_posix())
def test_the_framework_never_imports_the_course(path):
    for module, names in imports(path):
        assert "course" not in module.split(".") and "course" not in names


ALLOWED = {
    "utility": {"utility"},
    "data": {"utility", "data"},
    "model": {"model", "utility"},
    "training": {"training", "evaluation", "model", "data", "utility"},
    "evaluation": {"evaluation", "model", "data", "utility"},
}


@pytest.mark.parametrize(
    "path",
    [p for p in FRAMEWORK if p.parent.name in ALLOWED],
    ids=lambda p: p.relative_to(REPO).as_posix(),
)
def test_imports_inside_the_framework_run_one_way(path):
    room = path.relative_to(REPO / "nyang_edu").parts[0]
    for module, _ in imports(path):
        if module.startswith("nyang_edu."):
            assert module.split(".")[1] in ALLOWED[room], f"{room} imports {module}"


def test_there_are_no_star_imports():
    python = [p for p in tracked() if p.suffix == ".py"]
    assert len(python) > 20
    assert [p for p in python if any("*" in names for _, names in imports(p))] == []


HEAVY = {
    "matplotlib",
    "IPython",
    "albumentations",
    "cv2",
    "nbformat",
    "nbclient",
    "ipywidgets",
    "PIL",
    "torch",
    "mlxtend",
    "pandas",
}


@pytest.mark.parametrize("statement", ["import nyang_edu", "import nyang_edu.course"])
def test_importing_the_package_loads_nothing_heavy(statement):
    code = f"import sys, json; {statement}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert "nyang_edu" in loaded and loaded & HEAVY == set()


def test_the_check_for_heavy_modules_would_see_one():
    code = "import sys, json, matplotlib; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "matplotlib" in {name.split(".")[0] for name in json.loads(done.stdout)} & HEAVY


HOSTS = re.compile(
    r"pypi\.(?:org|python)|pythonhosted\.|(?:repo|conda)\.anaconda\.|anaconda\.org|npmjs\.|"
    r"npmmirror|registry\.yarn|artifactory|jfrog|crates\.io|--(?:extra-)?index-url|"
    r"(?:^|\W)(?:nexus|devpi)\.",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "text, found",
    [
        ("https://" + "pypi" + ".org/simple", True),
        ("https://files." + "pythonhosted" + ".org/x", True),
        ("pip install --index-" + "url x", True),
        ("channels: conda-forge", False),
        ("pip install -e .", False),
    ],
)
def test_the_pattern_of_registry_hosts(text, found):
    assert bool(HOSTS.search(text)) == found


def test_no_file_names_a_registry_host():
    texts = {
        p: p.read_text("utf-8") for p in tracked() if is_text(p) and p != Path(__file__).resolve()
    }
    assert len(texts) > 30
    assert {p.name: HOSTS.search(text)[0] for p, text in texts.items() if HOSTS.search(text)} == {}


def flaw(data):
    """What is wrong with a text file's bytes, or None."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"
    if b"\r" in data or data.startswith(b"\xef\xbb\xbf"):
        return "CR or byte order mark"
    return "no line end at the end" if data and not data.endswith(b"\n") else None


@pytest.mark.parametrize("data", [b"a\r\n", b"\xef\xbb\xbfa\n", b"a", b"\xe4\n"])
def test_a_flawed_text_file_is_seen(data):
    assert flaw(data) and not flaw("Größe\n".encode()) and not flaw(b"")


def test_every_text_file_is_utf_8_with_lf():
    assert {
        p.name: flaw(p.read_bytes()) for p in tracked() if is_text(p) and flaw(p.read_bytes())
    } == {}


def test_hand_written_files_have_at_most_300_lines():
    written = [p for p in tracked() if p.suffix == ".py" and p.parent.name in {*TOOLS, "tests"}]
    assert len(written) > 20
    assert {p.name: n for p in written if (n := len(p.read_text("utf-8").splitlines())) > 300} == {}


def test_functions_of_the_course_have_at_most_30_lines():
    lengths = {
        f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1
        for tool in TOOLS
        for path in (REPO / "nyang_edu" / tool).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(lengths) > 100
    assert {name: n for name, n in lengths.items() if n > 30} == {}


@pytest.mark.skipif(
    not (shutil.which("ruff") or (Path(sys.executable).parent / "ruff").exists()),
    reason="ruff is not installed",
)
def test_ruff_finds_nothing():
    ruff = shutil.which("ruff") or str(Path(sys.executable).parent / "ruff")
    command = [ruff, "check", "--no-cache", "."]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
