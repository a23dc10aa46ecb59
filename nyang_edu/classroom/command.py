"""``nyang grade``: find submissions, grade them in several processes, keep what is done.

A submission is done once its results and its mark are on disk. After Ctrl+C, a crash or a
reboot the same command goes on with what is left.
"""

import hashlib
import json
import shutil
import sys
import unicodedata
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from ..course.files import CourseError, locked, write_atomic
from .cluster import Cluster, There, refuse_another_course
from .confinement import confinement
from .grading import Options, Work, grade, hidden_folders, set_aside
from .pool import Pool
from .records import read_results, write_result
from .submissions import find_submissions


def grade_all(folder, out, jobs=1, only=(), regrade=False, dask=None, **options):
    """Grade what is in ``folder`` into ``out``; (submissions graded, left as they were).

    ``jobs`` processes do it here, or the workers of the Dask cluster at the address ``dask``.
    """
    folder, out = Path(folder), Path(out)
    found = _chosen(find_submissions(folder), only)
    (out / "results").mkdir(parents=True, exist_ok=True)
    boxes = out / ".boxes"
    options = Options(str(boxes), hidden=hidden_folders(folder, out), **options)
    with locked(out, timeout=2.0):
        shutil.rmtree(boxes, ignore_errors=True)  # of a run that was killed
        _write_facts(out, options)
        todo = [one for one in found if regrade or not is_done(out, one, options)]
        try:
            _grade(todo, out, _crew(jobs, len(todo), dask, options), options)
        finally:
            shutil.rmtree(boxes, ignore_errors=True)
    return len(todo), len(found) - len(todo)


def _chosen(found, only):
    """The submissions of the named students: by id, key or shown name."""
    only = {_composed(name) for name in only}
    chosen = [one for one in found if not only or _names(one) & only]
    unknown = only - set().union(*map(_names, chosen))
    if unknown:
        raise CourseError(f"No submission is called {', '.join(sorted(unknown))}. "
                          f"There are {len(found)}: a student is named as the folder is.")
    return chosen


def _names(submission):
    return {submission.id, _composed(submission.key), _composed(submission.name)}


def _composed(name):
    """One form for letters that can be written in two ways, as Korean ones can."""
    return unicodedata.normalize("NFC", name)


def _write_facts(out, options):
    have = confinement()
    facts = {"format": 1, "chapters": list(options.chapters), "nbval": options.nbval,
             "confinement": {"level": have.level, "missing": have.missing}}
    write_atomic(out / "grading.json", json.dumps(facts, indent=1) + "\n")
    for line in have.missing:
        print(f"nyang: {line}", file=sys.stderr)


def _crew(jobs, count, dask, options):
    if dask:
        return Cluster(There(options), dask)
    return Pool(_Job(options), min(jobs, max(count, 1)))


def _grade(todo, out, crew, options):
    bar = tqdm(total=len(todo), desc="grading", unit="student", disable=None)
    with bar:
        for one, results in crew.run(todo, work_of, _give_up):
            refuse_another_course(results)
            keep(out, one, results, options)
            bar.update()


class _Job:
    """``grade`` with its options, in a form that another process can be handed."""

    def __init__(self, options):
        self.options = options

    def __call__(self, work):
        return grade(work, self.options)


def work_of(submission):
    """The Work of a submission, its files read."""
    return Work(submission.id, submission.name, list(submission.files()))


def _give_up(submission, why):
    return set_aside(Work(submission.id, submission.name), f"it was set aside after 3 tries: {why}")


def _mark(out, submission):
    return out / "done" / f"{submission.id}.json"


def _fingerprint(submission, options):
    """What a result depends on: the files as they lie there, and what was asked for."""
    state = [repr((options.chapters, options.nbval, options.limit))]
    for path, shown, inside in submission.paths:
        info = path.lstat()
        state.append(repr((shown, inside, info.st_size, info.st_mtime_ns)))
    return hashlib.sha256("\0".join(state).encode("utf-8", "replace")).hexdigest()


def is_done(out, submission, options):
    """True where the results of a submission are there, and its files have not changed since."""
    try:
        mark = json.loads(_mark(out, submission).read_text("utf-8"))
        there = all((out / "results" / f"{name}.json").exists() for name in mark["results"])
        return there and mark["files"] == _fingerprint(submission, options)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def keep(out, submission, results, options):
    """Write a submission's results, then its mark; earlier results of it go."""
    out = Path(out)
    names = [result["submission"] for result in results]
    for result in results:
        xml = (result["nbval"] or {}).pop("xml", "")
        if xml:
            write_atomic(out / "junit" / f"{result['submission']}.xml", xml)
            result["nbval"]["junit"] = f"junit/{result['submission']}.xml"
        write_result(out, result)
    for old in (out / "results").glob(f"{submission.id}--*.json"):
        if old.stem not in names:
            old.unlink()
    mark = {"results": names, "files": _fingerprint(submission, options)}
    write_atomic(_mark(out, submission), json.dumps(mark) + "\n")


def main(options):
    """The command: grade, report, say what came of it; its exit code."""
    out = Path(options.out)
    try:
        graded, left = grade_all(options.submissions, out, options.j, options.only,
                                 options.regrade, options.dask, chapters=tuple(options.chapters),
                                 nbval=not options.no_nbval, limit=options.limit)
    except KeyboardInterrupt:
        print("\nnyang grade: stopped. What is done is kept; the same command goes on.",
              file=sys.stderr)
        return 130
    if find_spec("nyang_edu.classroom.reports"):
        from .reports import write_reports

        write_reports(out)
    print(f"nyang grade: {graded} graded, {left} as they were")
    for state, count in _states(out).items():
        print(f"  {state}: {count}")
    return 0


def _states(out):
    counts = {}
    for result in read_results(out):
        counts[result["state"]] = counts.get(result["state"], 0) + 1
    return counts
