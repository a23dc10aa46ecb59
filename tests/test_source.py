"""Chapters' sources: what parses, what is refused and how, and that jupytext agrees."""

import textwrap

import jupytext
import pytest
from tinycourse import SOURCES, TINY

from nyang_edu.course.files import CourseError, read_text
from nyang_edu.course.source import parse_cells, parse_chapter

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def parse(text):
    return parse_chapter("01_tiny", text)


def line_of(text, piece):
    """The number of the first line that holds `piece`."""
    return next(n for n, line in enumerate(text.splitlines(), 1) if piece in line)


def test_cells_have_kind_source_and_line():
    text = "dropped\n# %% [markdown]\n# # Title\n#\n# text\n\n# %%\nx = 1\n\ny = 2\n\n\n# %%\nz = 3"
    cells = parse_cells(text)
    assert [c.kind for c in cells] == ["markdown", "code", "code"]
    assert [c.source for c in cells] == ["# Title\n\ntext", "x = 1\n\ny = 2", "z = 3"]
    assert [c.line for c in cells] == [2, 7, 13]


def test_a_line_that_only_resembles_a_header_stays_in_its_cell():
    assert [c.source for c in parse_cells("# %%\n# %%time\n#%%\n    # %%")] == [
        "# %%time\n#%%\n    # %%"
    ]


@pytest.mark.parametrize(
    "header, meta",
    [
        ('exercise="f" points=2 stars=3', {"exercise": "f", "points": 2, "stars": 3}),
        ('tags=["a", "b=1"] reveal=false', {"tags": ["a", "b=1"], "reveal": False}),
        ("conditioning=1e7 limit=0.5", {"conditioning": 1e7, "limit": 0.5}),
        ('a="x=1 y=2" b=null', {"a": "x=1 y=2", "b": None}),
        ("", {}),
    ],
)
def test_metadata_of_a_header_is_json(header, meta):
    assert parse_cells(f"# %% {header}\nx")[0].meta == meta


@pytest.mark.parametrize(
    "source, name, value",
    [
        ("#| export", "export", ""),
        ("#| export model.core", "export", "model.core"),
        ("x = 1\n#|  default_exp   a.b  ", "default_exp", "a.b"),
        ("#| exported", "export", None),
        ("# | export", "export", None),
        ("  #| export", "export", None),
    ],
)
def test_directives(source, name, value):
    assert parse_cells(f"# %%\n{source}")[0].directive(name) == value


HOLES = f"""# %% exercise="f"
def f(a):
    {BEGIN} the "first" hole, θ
    a += 1

    a += 2
    {END}
    b = 3
    if b:
        {BEGIN} second
        a -= 1
        {END}
    return a
"""


def test_solved_keeps_the_solutions_and_drops_every_marker():
    assert parse_cells(HOLES)[0].solved() == textwrap.dedent("""\
        def f(a):
            a += 1

            a += 2
            b = 3
            if b:
                a -= 1
            return a""")


def test_blank_raises_each_prompt_in_place_of_its_hole():
    assert parse_cells(HOLES)[0].blank() == textwrap.dedent("""\
        def f(a):
            raise NotImplementedError("the \\"first\\" hole, θ")
            b = 3
            if b:
                raise NotImplementedError("second")
            return a""")


def test_blank_of_a_prompt_is_python_that_says_the_prompt():
    namespace = {}
    exec(parse_cells(HOLES)[0].blank(), namespace)
    with pytest.raises(NotImplementedError, match='the "first" hole, θ'):
        namespace["f"](1)


def test_a_complete_chapter_holds_exercises_with_all_their_parts():
    chapter = parse(TINY)
    assert list(chapter.exercises) == ["double", "centre", "Box", "guess"]
    assert [e.points for e in chapter.exercises.values()] == [2, 1, 3, 1]
    assert [e.stars for e in chapter.exercises.values()] == [2, 2, 3, 1]
    assert all(
        e.probe.role == "probe" and e.mistakes.role == "mistakes"
        for e in chapter.exercises.values()
    )
    assert chapter.exercises["double"].hints == [
        "Direction of double.",
        "Formula of double.",
        "Skeleton of double.",
    ]
    assert (chapter.number, chapter.title) == ("01", "Tiny things")


def test_modules_collect_exported_cells_under_default_and_named_targets():
    modules = parse(TINY).modules()
    assert {m: [c.exercise for c in cells] for m, cells in modules.items()} == {
        "model.tiny": [None, "double", "centre"],
        "utility.box": [None, "Box"],
    }


def swapped(old, new):
    assert TINY.count(old) >= 1, old
    return TINY.replace(old, new, 1)


REFUSALS = {
    "solution without END": (
        "    return x * 2\n    ### END SOLUTION\n",
        "    return x * 2\n",
        "needs its ### END SOLUTION",
        'exercise="double"',
    ),
    "END before BEGIN": (
        "    ### BEGIN SOLUTION twice each element\n    return x * 2\n    ### END SOLUTION",
        "    ### END SOLUTION\n    return x * 2\n    ### BEGIN SOLUTION twice",
        "needs its ### END SOLUTION",
        'exercise="double"',
    ),
    "no solution at all": (
        "    ### BEGIN SOLUTION twice each element\n    return x * 2\n    ### END SOLUTION\n",
        "    return x * 2\n",
        "double has no ### BEGIN SOLUTION",
        'exercise="double"',
    ),
    "syntax error": ("return x * 2", "return x *", "syntax error", 'exercise="double"'),
    "syntax error in a probe": (
        'yield "out", double(x)',
        'yield "out" double(x)',
        "syntax error",
        'probe="double"',
    ),
    "missing probe": (
        '# %% probe="double"',
        "# %%",
        "double has no probe cell",
        'exercise="double"',
    ),
    "missing mistakes": (
        '# %% mistakes="double"',
        "# %%",
        "double has no mistakes cell",
        'exercise="double"',
    ),
    "missing hints": (
        '# %% [markdown] hints="double"',
        "# %% [markdown]",
        "double has no hints cell",
        'exercise="double"',
    ),
    "missing check": (
        "check(double)",
        "double",
        "exactly one cell check(double)",
        'exercise="double"',
    ),
    "two checks": (
        "check(centre)",
        "check(double)",
        "exactly one cell check(double)",
        'exercise="double"',
    ),
    "exercise twice": (
        'exercise="centre"',
        'exercise="double"',
        "double is defined twice",
        'exercise="double" points=1',
    ),
    "probe of nothing": (
        'probe="double"',
        'probe="dubble"',
        "no exercise is called 'dubble'",
        'probe="dubble"',
    ),
    "two probes": (
        'probe="centre"',
        'probe="double"',
        "double has two probe cells",
        'probe="double"',
    ),
    "value that is no JSON": (
        "points=2 stars=2 limit",
        "points=two stars=2 limit",
        "points= needs a JSON value",
        "points=two",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_names_chapter_line_and_rule(case):
    old, new, words, where = REFUSALS[case]
    text = swapped(old, new)
    with pytest.raises(CourseError) as refused:
        parse(text)
    said = str(refused.value)
    line = line_of(text, where)
    if case == "two probes":  # the second of the two is to blame
        line = [n for n, s in enumerate(text.splitlines(), 1) if where in s][1]
    assert "01_tiny" in said and f"line {line}" in said and words in said


def test_the_line_of_a_syntax_error_counts_the_solution_markers():
    text = swapped("return x - mean, mean", "return x - mean,, mean")
    with pytest.raises(CourseError) as refused:
        parse(text)
    assert f"syntax error at line {line_of(text, ',, mean')}" in str(refused.value)


def test_export_before_default_exp_is_refused():
    text = swapped("#| default_exp model.tiny\n", "")
    with pytest.raises(CourseError, match="01_tiny.*line.*before any #| default_exp"):
        parse(text).modules()


def test_a_file_without_cells_is_refused():
    with pytest.raises(CourseError, match="01_tiny: no cell found"):
        parse("x = 1\n")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_jupytext_reads_the_same_cells(path):
    theirs = [(c.cell_type, c.source) for c in jupytext.read(path).cells]
    ours = [(c.kind, c.source) for c in parse_cells(read_text(path))]
    assert len(ours) == len(theirs) > 10
    assert ours == theirs
