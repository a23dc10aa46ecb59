"""No hostile submission earns what it has not done, and none costs anybody else anything.

The whole class is graded once, through ``nyang grade``, under outer limits of the test's own.
"""

import os
import sys
import time
from pathlib import Path

import hostile_class
import outer
import pytest

from nyang_edu.classroom.confinement import confinement
from nyang_edu.classroom.records import read_results
from nyang_edu.course.source import find_chapter

CASES = hostile_class.cases()
ROOT = Path(__file__).resolve().parents[1]
LIMIT = 3.0  # seconds for an exercise: many times what a right answer needs
LONGEST = 20.0  # seconds that one submission may take, on a busy machine

pytestmark = pytest.mark.skipif(not confinement().full,
                                reason="hostile submissions are for machines with bubblewrap")


@pytest.fixture(scope="module")
def graded(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "class").mkdir()
    hostile_class.enrol(folder / "class", ROOT)
    command = [sys.executable, "-m", "nyang_edu.course.cli", "grade", str(folder / "class"),
               "--out", str(folder / "out"), "-j", "2", "--no-nbval", "--limit", str(LIMIT)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "NYANG_ROOT": str(ROOT),
                 "SECRET_OF_THE_GRADER": "1"}
    ran = outer.run_limited(command, folder / "log", cwd=folder, env=variables)
    assert not ran.broke, f"an outer limit was broken: {ran.broke}\n{ran.text[-2000:]}"
    assert ran.code == 0, ran.text[-4000:]
    results = {}
    for result in read_results(folder / "out"):
        results.setdefault(result["student"], []).append(result)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n".join(["", *table(results, ran)]))
    return results, ran


def table(results, ran):
    """What caught each case, its points and seconds: for whoever reads CI's log."""
    rows = [f"{'case':30} {'caught by':10} {'points':>6} {'seconds':>7}  what was said"]
    for case in CASES:
        for result in results[case.name][:1]:
            rows.append(f"{case.name:30} {caught_by(case, result):10} {result['points']:6} "
                        f"{result['seconds']:7.2f}  {said(case, result)}")
    return [*rows, f"{len(CASES)} hostile submissions in {ran.seconds:.0f} s; at most "
                   f"{ran.processes} processes and {ran.memory >> 20} MB at a time"]


def caught_by(case, result):
    entry = entries(result).get(case.exercise)
    return entry["verdict"] if entry and result["state"] == "ok" else result["state"]


def said(case, result):
    entry = entries(result).get(case.exercise)
    text = entry["headline"] if entry and result["state"] == "ok" else result["reason"]
    text = text.removeprefix("not yet  ").removeprefix(case.exercise).strip(": ")
    return text.encode("ascii", "replace").decode()[:90]


def entries(result):
    return {entry["name"]: entry for entry in result["exercises"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_submission_earns_what_it_has_done_and_no_more(case, graded):
    results = graded[0][case.name]
    points = {name: exercise.points for name, exercise in find_chapter("03").exercises.items()}
    passed = {name for result in results for name, entry in entries(result).items()
              if entry["verdict"] == "passed"}
    assert passed == case.earns
    assert sum(result["points"] for result in results) == sum(points[name] for name in passed)
    assert case.state in {result["state"] for result in results}
    for result in results:
        assert result["seconds"] < LONGEST
        entry = entries(result).get(case.exercise)
        if entry and case.caught:
            assert entry["verdict"] in case.caught, entry["headline"]


@pytest.mark.parametrize("name, count", hostile_class.REFUSED_ENTRIES.items())
def test_what_an_archive_may_not_hold_is_refused_with_a_reason(name, count, graded):
    refused = [r for r in graded[0][name] if r["state"] == "unreadable"]
    assert len(refused) >= count and all(r["reason"] for r in refused)


def test_nothing_is_left_behind(graded):
    deadline = time.monotonic() + 5
    while outer.strangers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not outer.strangers()
    for place in ("/tmp/was_here", "/tmp/nyang_slipped.ipynb"):
        assert not Path(place).exists()


def test_there_are_enough_cases():
    assert len(CASES) >= 40
