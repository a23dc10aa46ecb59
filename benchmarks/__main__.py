"""Run ``python -m benchmarks [layers|models] [--quick] [--threads 1 2] [--only NAME …]``.

``python -m benchmarks loader``, ``fashion``, ``floors`` and ``grading`` are other runs, with
options of their own; ``readme`` writes what was measured into the README. Every contender has
its own process, turns alternate, ratios are taken within a round.
"""

import argparse
import math
import sys
import tempfile
from importlib import import_module

from benchmarks.duel import Worker, duel, ratios
from benchmarks.models import INPUTS
from benchmarks.records import RESULTS, keep
from benchmarks.steps import LAYERS

OTHERS = {name: f"benchmarks.{name}" for name in ("loader", "fashion", "floors", "grading")}
OTHERS["readme"] = "benchmarks.records"


def measure(suite, name, threads, rounds, textbook):
    """Let all contenders run one case; return its row of the table."""
    names = ["torch", "numpy"] + (["torch_last"] if name != "resnext1d" else [])
    names += (["blas"] if threads > 1 and suite == "models" else []) + (
        ["textbook"] if textbook else []
    )
    workers = {contender: Worker(contender, threads, suite) for contender in names}
    try:
        about = {c: w.ask(op="build", name=name)["about"] for c, w in workers.items()}
        error = check_equal(workers) if suite == "models" else None
        medians, clean = duel({c: w for c, w in workers.items() if c != "textbook"}, rounds)
        row = {**summary(medians), "undisturbed": clean, "rounds": len(medians["torch"])}
        if textbook:
            pair, _ = duel({c: workers[c] for c in ("numpy", "textbook")}, 2, patience=1)
            row["textbook_ratio"] = ratios(pair, "textbook", "numpy")[0]
        row["borders"] = 100 * workers["numpy"].ask(op="borders")["share"]
        peaks = {c: w.ask(op="memory") for c, w in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    row.update(
        gradient_error=error,
        about=about["numpy"],
        scratch_mb=peaks["numpy"]["scratch"],
        memory_ratio=peaks["numpy"]["peak"] / max(peaks["torch"]["peak"], 1),
        memory_mb=peaks["numpy"]["peak"],
        torch_memory_mb=peaks["torch"]["peak"],
    )
    return row


def check_equal(workers):
    """Give everybody PyTorch's weights; raise where loss or gradients differ."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/weights.npz"
        truth = workers["torch"].ask(op="compare", file=file)
        mine = workers["numpy"].ask(op="compare", file=file)
    if abs(mine["loss"] - truth["loss"]) > 1e-3 or mine["error"] > 0.02:
        raise ValueError(f"the contenders compute different things: {truth} and {mine}")
    return mine["error"]


def summary(medians):
    """Turn the medians per round into ratios to PyTorch."""
    middle, least, largest = ratios(medians, "numpy", "torch")
    row = {
        "ratio": middle,
        "ratio_min": least,
        "ratio_max": largest,
        "ms": 1000 * min(medians["numpy"]),
        "torch_ms": 1000 * min(medians["torch"]),
        "best_ratio": min(medians["numpy"]) / min(medians["torch"]),
    }
    for contender, key in (("torch_last", "channels_last_ratio"), ("blas", "blas_ratio")):
        if contender in medians:
            row[key] = ratios(
                medians,
                "numpy" if contender == "torch_last" else contender,
                contender if contender == "torch_last" else "torch",
            )[0]
    return row


def line(name, row):
    """Format one row of the table."""

    def number(key, form="{:7.2f}"):
        return form.format(row[key]) if row.get(key) is not None else " " * 6 + "-"

    return (
        f"{name:20s} {number('ms', '{:8.2f}')} {number('torch_ms', '{:8.2f}')} {number('ratio')} "
        f"{number('ratio_min')}–{number('ratio_max').strip():5s} {number('best_ratio')} "
        f"{number('channels_last_ratio')} "
        f"{number('blas_ratio')} {number('textbook_ratio')} {number('memory_ratio')} "
        f"{number('scratch_mb')} {number('borders')} {number('undisturbed')}"
    )


def plot(suite, table):
    """Draw the ratios as bars beside the line of PyTorch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(table)
    fig, ax = plt.subplots(figsize=(7, 0.35 * len(names) + 1.2), layout="constrained")
    middle = [table[n]["ratio"] for n in names]
    spread = [
        [table[n]["ratio"] - table[n]["ratio_min"] for n in names],
        [table[n]["ratio_max"] - table[n]["ratio"] for n in names],
    ]
    ax.barh(names, middle, xerr=spread, color="#2c68b0", ecolor="#8a8a8a")
    ax.axvline(1, color="#d6681c", label="PyTorch")
    ax.invert_yaxis()
    ax.set_xlabel("time of a step / PyTorch's, same cores (median and range over rounds)")
    ax.legend(frameon=False)
    fig.savefig(RESULTS / f"{suite}.png", dpi=100)


def main():
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=["layers", "models"], default="models")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, 2 threads only")
    parser.add_argument("--threads", type=int, nargs="+")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--no-textbook", action="store_true")
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.quick else 11)
    cases = options.only or list(INPUTS if options.suite == "models" else LAYERS)
    textbook = options.suite == "models" and not options.no_textbook
    for threads in options.threads or ([2] if options.quick else [2, 1]):
        table = {}
        print(
            f"\n{options.suite}, {threads} threads: ms, PyTorch's ms, ratio, its range, "
            "of the best times, to channels_last, BLAS threads only / PyTorch, textbook / this, "
            "memory / PyTorch's, scratch MB, contract: copies at the borders in % of the step, "
            "undisturbed"
        )
        for name in cases:
            table[name] = measure(options.suite, name, threads, rounds, textbook)
            print(line(name, table[name]), flush=True)
        mean = math.exp(sum(math.log(row["ratio"]) for row in table.values()) / len(table))
        print(f"geometric mean {mean:.2f}; {next(iter(table.values()))['about']}")
        suffix = "" if threads == 2 else f"_{threads}_thread"
        if not options.only:
            keep(options.suite + suffix, table)
            plot(options.suite + suffix, table)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        raise SystemExit(import_module(OTHERS[sys.argv[1]]).main(sys.argv[2:]))
    main()
