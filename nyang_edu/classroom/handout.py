"""The pages of a release: the README, the workflow for GitHub Actions, nbgrader's settings."""

from ..course.reporting import count


def readme(chapters, solutions):
    """The page that a student reads first."""
    rows = "\n".join(
        f"| {chapter.number} | [{chapter.title}](chapters/{chapter.name}.ipynb) "
        f"| {len(chapter.exercises)} | {chapter.points} |" for chapter in chapters)
    total = count(sum(chapter.points for chapter in chapters), "point")
    return _README.format(
        title=", ".join(f"{chapter.number} {chapter.title}" for chapter in chapters), rows=rows,
        total=total, names=" ".join(chapter.number for chapter in chapters),
        solutions=_OPEN if solutions else _SEALED.format(first=chapters[0].number))


def workflow(chapters):
    """A workflow that checks, runs the notebooks with nbval, and shows the points."""
    return _WORKFLOW.replace("NAMES", " ".join(chapter.name for chapter in chapters))


_README = """\
# {title}

| # | chapter | exercises | points |
|---|---|--:|--:|
{rows}

{total} in all.

## Begin

```
pip install -e . && nyang lab
```

Python 3.11 or newer. In PowerShell 5 run the two commands one after the other. JupyterLab opens
the first chapter.

Fill in an exercise, run its `check(...)`, read what it says. `hint("name")` helps. `finish(...)` at
a chapter's end puts what passes into the package `nyang_edu`; where something is still open, the
course's own code stands in.

## Hand in

Save the notebook. Then commit and push, or hand in the file from `chapters/`, as your teacher asks.

On GitHub each push runs `nyang check {names}` and the notebooks themselves, and shows your points
in the summary of the run. It is green when every exercise passes. In your own terminal the same is
`nyang check {names}`, then `nyang status`.

## The solutions

{solutions}
"""

_OPEN = "`solutions/` holds each chapter complete and executed. Look there after you have tried."

_SEALED = """\
They were not handed out. The checks compare your code with the course's own, so that code has to
be here: compressed in `solutions/*.key`, and compressed in the modules of chapter {first} and
later. This deters reading and is no secret: a few lines of Python unpack it. What it keeps you
from is seeing an answer before you have looked for one.

`hint` ends with its last hint here, and does not show the solution."""

_WORKFLOW = """\
name: grade
on: [push, workflow_dispatch]
jobs:
  grade:
    runs-on: ubuntu-latest
    timeout-minutes: 45
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - name: Install
        run: pip install -e .
      - name: Check every exercise
        run: nyang check NAMES
      - name: Run the notebooks
        if: always()
        run: python -m pytest --junitxml=nbval.xml
      - name: Points
        if: always()
        run: nyang status | tee -a "${GITHUB_STEP_SUMMARY:-/dev/null}"
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: nbval
          path: nbval.xml
"""

NBGRADER = '''\
"""Settings for teachers who grade with nbgrader.

The exercises are blank already, and a grader's runs must not count as a student's progress.
"""

import os

os.environ["NYANG_PROGRESS"] = "off"

c = get_config()  # noqa: F821
c.ClearSolutions.enabled = False
c.ExecutePreprocessor.timeout = 600
'''
