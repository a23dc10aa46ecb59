"""Keep what was measured as JSON in ``results/``; ``python -m benchmarks readme`` shows it.

The README's figures come out of these files and from nowhere else.
"""

import argparse
import json
from math import prod
from pathlib import Path

from nyang_edu.course.building import replace_section
from nyang_edu.course.files import read_text, write_atomic

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


def as_table(head, rows):
    """A Markdown table; the first column holds text, the others numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


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
    return f"{as_table(head, rows)}\n\n{about}"


def training():
    """The tables of whole runs: Fashion-MNIST beside PyTorch, and each run against its floor."""
    rows = []
    for name in ("fashion", "fashion_lenet5"):
        record = kept(name)
        settings, mine, theirs = (record[key] for key in ("settings", "numpy", "torch"))
        rows.append([f"{settings['network']}, {settings['epochs']} epochs",
                     f"{mine['test_accuracy']:.2%}", f"{theirs['test_accuracy']:.2%}",
                     f"{mine['minutes']:.1f}", f"{theirs['minutes']:.1f}",
                     f"{mine['images_per_second']:.0f}", f"{theirs['images_per_second']:.0f}"])
    fashion = as_table(["all of Fashion-MNIST", "test accuracy", "PyTorch's", "minutes",
                        "PyTorch's", "images/s", "PyTorch's"], rows)
    rows = [[name, f"{run['measure']:.3f}", f"{run['floor']:.3f}" if run["floor"] else "",
             f"{run['minutes']:.1f}"] for name, run in kept("floors").items()]
    return f"{fashion}\n\n{as_table(['run', 'measured', 'floor', 'minutes'], rows)}"


def grading():
    """What grading a class took, in a sentence."""
    record = kept("grading")
    first, last = record["peaks_mb"][1], record["peaks_mb"][-1]
    return (f"{record['count']} submissions of chapter 03, {record['per_minute']} a minute on two "
            f"cores; at most {first[1]} MB in the second tenth of the run, {last[1]} MB in the "
            "last one.")


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
