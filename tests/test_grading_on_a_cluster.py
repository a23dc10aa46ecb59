"""``nyang grade --dask``: the same points as here, whatever happens to the workers."""

import os
import signal
import threading
import time

import pytest
from tinycourse import RIGHT, WRONG_DOUBLE
from tinyschool import points

from nyang_edu.classroom.cluster import Cluster
from nyang_edu.classroom.command import grade_all
from nyang_edu.classroom.records import read_results
from nyang_edu.course.files import CourseError

distributed = pytest.importorskip("distributed", reason='pip install "nyang_edu[cluster]"')
SLOW = "#| export\ndef double(x):\n    import time\n    time.sleep(0.1)\n    return x * 2\n"


@pytest.fixture
def cluster(school):
    """Two worker processes on this machine, started after the course has its place."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                                  host="127.0.0.1") as two:
        yield two


def earned(out):
    return {r["student"]: (r["state"], r["points"], points(r)) for r in read_results(out)}


def test_a_cluster_gives_the_points_that_this_machine_gives(school, cluster, tmp_path):
    for number in range(4):
        school(f"right {number}", {**RIGHT, "double": SLOW})
        school(f"wrong {number}", {**RIGHT, "double": WRONG_DOUBLE})
    school("blank", {})
    grade_all(school.folder, school.out, jobs=2, nbval=False)
    with distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))
    killer = threading.Thread(target=kill_once_begun, args=(tmp_path / "far", victim))
    killer.start()
    grade_all(school.folder, tmp_path / "far", dask=cluster.scheduler_address, nbval=False)
    killer.join()
    assert earned(tmp_path / "far") == earned(school.out)
    assert len(earned(school.out)) == 9
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)


def kill_once_begun(out, victim):
    """Kill a worker when the first result is there, in the middle of the others."""
    while not list(out.glob("results/*.json")):
        time.sleep(0.02)
    os.kill(victim, signal.SIGKILL)


def test_what_kills_three_workers_is_set_aside_and_nothing_else(cluster):
    def deadly(work):
        if work == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if work == "broken":
            raise ZeroDivisionError("on purpose")
        return work.upper()

    crew = Cluster(deadly, cluster.scheduler_address)
    tasks = ["a", "poison", "b", "broken", "c", "d"]
    results = dict(crew.run(tasks, lambda task: task, lambda task, why: f"set aside: {why}"))
    assert results == {"a": "A", "b": "B", "c": "C", "d": "D",
                       "poison": "set aside: its workers died",
                       "broken": "set aside: ZeroDivisionError: on purpose"}


def test_a_cluster_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("nyang_edu.classroom.cluster.PATIENCE", 0.5)
    with pytest.raises(CourseError, match="no Dask cluster .* at tcp://127.0.0.1:9"):
        list(Cluster(str, "tcp://127.0.0.1:9").run([], str, str))
