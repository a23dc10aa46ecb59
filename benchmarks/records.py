"""Keep what was measured as JSON in ``results/``; ``python -m benchmarks readme`` shows it.

The README's figures come out of these files and from nowhere else.
"""

import argparse
import json
from math import prod
from pathlib import Path

from nyang_edu.course.files import read_text, write_atomic
from nyang_edu.course.markdown import replace_section, table

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"


def keep(name, record):
    """Write one record as ``results/name.json``."""
    RESULTS.mkdir(exist_ok=True)
    write_atomic(RESULTS / f"{name}.json", json.dumps(record, indent=1) + "\n")


def kept(name):
    """The record called ``name``, empty where there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(read_text(path)) if path.exists() else {}


def speed():
    """The table of training steps beside PyTorch's."""
    models = kept("models")
    rows = [[name, f"{m['ms']:.1f}", f"{m['torch_ms']:.1f}", f"{m['ratio']:.2f}",
             f"{m['ratio_min']:.2f}–{m['ratio_max']:.2f}", f"{m['textbook_ratio']:.1f}",
             f"{m['memory_ratio']:.2f}"] for name, m in models.items()]
    mean = prod(m["ratio"] for m in models.values()) ** (1 / len(models))
    rows.append(["**geometric mean**", "", "", f"**{mean:.2f}**", "", "", ""])
    head = ["network", "ms a step", "PyTorch's ms", "ratio", "its range over rounds",
            "textbook / this", "memory / PyTorch's"]
    about = next(iter(models.values()))["about"]
    return f"{table(head, rows)}\n\n{about}"


def training():
    """The tables of whole runs: Fashion-MNIST beside PyTorch, and each run against its floor."""
    from benchmarks.floors import RUNS

    rows = []
    for name in ("fashion", "fashion_lenet5"):
        record = kept(name)
        settings, mine, theirs = (record[key] for key in ("settings", "numpy", "torch"))
        rows.append([f"{settings['network']}, {settings['epochs']} epochs",
                     f"{mine['test_accuracy']:.2%}", f"{theirs['test_accuracy']:.2%}",
                     f"{mine['minutes']:.1f}", f"{theirs['minutes']:.1f}",
                     f"{mine['images_per_second']:.0f}", f"{theirs['images_per_second']:.0f}"])
    fashion = table(["all of Fashion-MNIST", "test accuracy", "PyTorch's", "minutes",
                        "PyTorch's", "images/s", "PyTorch's"], rows)
    rows = [[name, what, f"{run['measure']:.3f}", _at_least(run["floor"]), f"{run['minutes']:.1f}"]
            for name, (_, what) in RUNS.items() if (run := kept("floors").get(name))]
    floors = table(["run", "what is measured", "measured", "floor", "minutes"], rows, texts=2)
    return f"{fashion}\n\n{floors}"


def _at_least(floor):
    """A floor in words; one just above 0 asks for any gain at all, and 0 is none."""
    return f"{floor:.2f}" if floor > 0.001 else "above 0" if floor else "none"


def grading():
    """What grading a class took, in a sentence."""
    record = kept("grading")
    first, *_, last = (one for one, _ in record["peaks_mb"])
    most = max(every for _, every in record["peaks_mb"])
    return (f"{record['count']} submissions of chapter 03, {record['per_minute']} a minute on two "
            f"cores. The process that hands out used {first} MB in the first tenth of the run and "
            f"{last} MB in the last; all together never used more than {most} MB, and that while "
            "a submission tried to use up the memory. Points and the counts of every known "
            f"mistake were {'as planted' if record['as_planted'] else 'NOT as planted'}; "
            "on two Dask workers, one of them killed halfway, `grades.csv` was "
            f"{'the same' if record['cluster_identical'] else 'ANOTHER'}.")


SECTIONS = {"speed": speed, "training": training, "grading": grading}


def filled(text):
    """The README's text with every section of figures as the records have it."""
    for name, content in SECTIONS.items():
        text = replace_section(text, name, content())
    return text


def main(arguments=None):
    """Write the records into the README."""
    argparse.ArgumentParser(prog="benchmarks readme", description=__doc__).parse_args(arguments)
    write_atomic(README, filled(read_text(README)))
    return 0
