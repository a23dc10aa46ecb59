"""Run ``python -m benchmarks grading [--count 1000]``: a whole class through ``nyang grade``.

The class is drawn (see ``a_class``), so the truth is known: what the class page counts must be
what was planted. Then a Dask cluster of two workers grades it again, one of them is killed in
the middle, and ``grades.csv`` must be the same.
"""

import argparse
import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from html import unescape
from pathlib import Path

from benchmarks.a_class import enrol
from benchmarks.records import keep
from nyang_edu.classroom.confinement import confinement
from nyang_edu.classroom.watching import used_memory
from nyang_edu.course.source import find_chapter

CHAPTER, LIMIT, PARTS = "03", 3.0, 10
NOT_COMPARED = ("seconds", "seed")  # columns that differ from one grading to the next


def run_grade(folder, out, count, *how, halfway=None):
    """Run ``nyang grade`` to its end; return the seconds, and the peaks of each tenth of it.

    A peak is (MB of the process that hands out, MB of all processes together). ``halfway`` is
    called once half of the results are there.
    """
    command = [sys.executable, "-m", "nyang_edu.course.cli", "grade", str(folder), "--out",
               str(out), "--no-nbval", "--limit", str(LIMIT), "--chapters", CHAPTER, *how]
    peaks, started = [[0, 0] for _ in range(PARTS)], time.perf_counter()
    with open(out.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            time.sleep(0.2)
            done = sum(1 for _ in (out / "results").glob("*.json")) if out.is_dir() else 0
            peak = peaks[min(PARTS - 1, PARTS * done // count)]
            for place, used in enumerate((_resident(process.pid), used_memory(process.pid))):
                peak[place] = max(peak[place], used >> 20)
            if halfway and 2 * done >= count:
                halfway()
                halfway = None
    if process.returncode:
        raise RuntimeError(f"nyang grade failed:\n{Path(log.name).read_text()[-3000:]}")
    return time.perf_counter() - started, peaks


def _resident(pid):
    """The bytes of one process in memory; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def on_the_page(out):
    """{(exercise, mistake): students} as the class page shows it."""
    page = (out / "class.html").read_text("utf-8")
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("Known mistakes")[2], re.DOTALL)
    counted = {}
    for row in rows:
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        if len(cells) == 4:
            exercise, mistake = (re.sub(r"<br>.*|<[^>]+>", "", cell, flags=re.DOTALL)
                                 for cell in cells[2:])
            counted[unescape(exercise), unescape(mistake)] = int(cells[0])
    return counted


def points_by_kind(out):
    """{kind of student: Counter of (points in all)}, from ``grades.csv``."""
    totals = Counter()
    for row in grades(out):
        totals[row["student"]] += int(row["points"])
    kinds = {}
    for student, points in totals.items():
        kinds.setdefault(student.split()[0], Counter())[points] += 1
    return kinds


def grades(out):
    """The rows of ``grades.csv`` as dicts."""
    with open(out / "grades.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def compared(out):
    """The rows of ``grades.csv`` without what differs each time."""
    return [{k: v for k, v in row.items() if k not in NOT_COMPARED} for row in grades(out)]


def on_a_cluster(folder, out, count):
    """Grade on two workers, and kill one of them halfway; the seconds, and whether it is dead."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1",
                      dashboard_address=None) as cluster:
        with Client(cluster) as client:
            victim = next(iter(client.run(os.getpid).values()))
        seconds, _ = run_grade(folder, out, count, "--dask", cluster.scheduler_address,
                               halfway=lambda: os.kill(victim, signal.SIGKILL))
    return seconds, not Path(f"/proc/{victim}").exists()


def main(arguments=None):
    """Grade the class twice; the exit code says whether everything was as it must be."""
    parser = argparse.ArgumentParser(prog="benchmarks grading", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args(arguments)
    chapter = find_chapter(CHAPTER)
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        planted, kinds = enrol(place / "class", chapter, options.count)
        print(f"{options.count} submissions of {chapter.name}: {dict(kinds)}; "
              f"{len(planted)} known mistakes planted; confined by {confinement().level}")
        seconds, peaks = run_grade(place / "class", place / "here", options.count, "-j", "2")
        counted, points = on_the_page(place / "here"), points_by_kind(place / "here")
        print(f"here, 2 processes: {seconds:.0f} s, {60 * options.count / seconds:.0f} "
              "submissions a minute")
        print("peak memory in each tenth of the run, MB of the one that hands out:",
              *(one for one, _ in peaks), "; of all processes together:", *(b for _, b in peaks))
        right = points == {**points, "right": Counter({chapter.points: kinds["right"]}),
                           "blank": Counter({0: kinds["blank"]})}
        named = counted == dict(planted)
        print(f"points by kind: {({k: dict(v) for k, v in points.items()})}")
        print(f"the class page counts {sum(counted.values())} mistakes of {len(counted)} names: "
              f"{'as planted' if named else 'NOT as planted'}")
        for key in sorted(counted.keys() | planted.keys()):
            if counted.get(key) != planted.get(key):
                print(f"  {key}: planted {planted.get(key)}, counted {counted.get(key)}")
        far, killed = on_a_cluster(place / "class", place / "far", options.count)
        same = compared(place / "here") == compared(place / "far")
        print(f"on a cluster of 2 workers, one {'killed' if killed else 'NOT killed'} halfway: "
              f"{far:.0f} s, grades.csv {'identical' if same else 'DIFFERENT'}")
    record = {"count": options.count, "kinds": dict(kinds), "seconds": round(seconds, 1),
              "per_minute": round(60 * options.count / seconds), "peaks_mb": peaks,
              "mistakes_as_planted": named, "cluster_seconds": round(far, 1),
              "cluster_identical": same, "confinement": confinement().level}
    if options.count >= 1000:
        keep("grading", record)
    return 0 if right and named and same and killed else 1
