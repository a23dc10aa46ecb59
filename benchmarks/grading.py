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
from nyang_edu.classroom.watching import own_memory, used_memory
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
            for place, used in enumerate((own_memory(process.pid), used_memory(process.pid))):
                peak[place] = max(peak[place], used >> 20)
            if halfway and 2 * done >= count:
                halfway()
                halfway = None
    if process.returncode:
        raise RuntimeError(f"nyang grade failed:\n{Path(log.name).read_text()[-3000:]}")
    return time.perf_counter() - started, peaks


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


def points_of_all(out):
    """{student: points in all}, from ``grades.csv``."""
    totals = Counter()
    for row in grades(out):
        totals[row["student"]] += int(row["points"])
    return dict(totals)


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


def check_truth(students, out):
    """Print what differs from the truth about the class; True where nothing does."""
    points = points_of_all(out)
    astray = [f"{one.name} ({one.mistake}): {points.get(one.name)} of {one.points} points"
              for one in students if points.get(one.name) != one.points]
    planted = Counter((one.exercise, one.mistake) for one in students if one.kind == "wrong")
    counted = on_the_page(out)
    astray += [f"{key}: planted {planted[key]}, on the page {counted.get(key, 0)}"
               for key in planted.keys() | counted if planted[key] != counted.get(key, 0)]
    print(f"{sum(planted.values())} mistakes of {len(planted)} names were planted; points and the "
          f"class page's counts: {'all as planted' if not astray else 'NOT as planted'}")
    print(*astray, sep="\n", end="\n" if astray else "")
    return not astray


def main(arguments=None):
    """Grade the class twice; the exit code says whether everything was as it must be."""
    parser = argparse.ArgumentParser(prog="benchmarks grading", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args(arguments).count
    with tempfile.TemporaryDirectory() as place:
        folder, here, there = (Path(place) / name for name in ("class", "here", "there"))
        students = enrol(folder, find_chapter(CHAPTER), count)
        kinds = Counter(one.kind for one in students)
        print(f"{count} submissions of chapter {CHAPTER}: "
              f"{', '.join(f'{n} {kind}' for kind, n in kinds.items())}; {confinement().level}")
        seconds, peaks = run_grade(folder, here, count, "-j", "2")
        print(f"here, 2 processes: {seconds:.0f} s, {60 * count / seconds:.0f} submissions a "
              "minute; peak memory in each tenth, MB of the process that hands out:",
              *(one for one, _ in peaks), "; of all together:", *(every for _, every in peaks))
        true = check_truth(students, here)
        far, killed = on_a_cluster(folder, there, count)
        same = compared(here) == compared(there)
        print(f"on a cluster of 2 workers, one {'killed' if killed else 'NOT killed'} halfway: "
              f"{far:.0f} s, grades.csv {'identical' if same else 'DIFFERENT'}")
    if count >= 1000:
        keep("grading", {"count": count, "kinds": kinds, "seconds": seconds, "peaks_mb": peaks,
                         "per_minute": round(60 * count / seconds), "as_planted": true,
                         "cluster_seconds": far, "cluster_identical": same and killed})
    return 0 if true and same and killed else 1
