"""Run ``python -m benchmarks floors [NAME …]``: full-size seeded runs, each against its floor.

A run is a function (seed) → (measure, floor); it prints what it likes on the way, and raises
FileNotFoundError where its data is not there. RUNS says where each is found.
"""

import argparse
import time
from importlib import import_module

from benchmarks.records import keep, kept

RUNS = {
    "vgg": "benchmarks.floors_images:vgg",
    "resnet20": "benchmarks.floors_images:resnet20",
    "degradation": "benchmarks.floors_images:degradation",
    "unet": "benchmarks.floors_masks:tiles",
    "nuclei": "benchmarks.floors_masks:nuclei",
    "real_tile": "benchmarks.floors_masks:real_tile",
    "resnext1d": "benchmarks.floors_ecg:resnext1d",
    "rare_beats": "benchmarks.floors_ecg:rare_beats",
    "ecg5000": "benchmarks.floors_ecg:ecg5000",
}


def run(name, seed):
    """Do one run, print a line on it; return whether its floor is met, None without its data."""
    module, function = RUNS[name].split(":")
    started = time.perf_counter()
    try:
        measure, floor = getattr(import_module(module), function)(seed)
    except FileNotFoundError as error:
        print(f"{name:12s} left out: {error}", flush=True)
        return None
    minutes = (time.perf_counter() - started) / 60
    met = bool(measure >= floor)
    records = {**kept("floors"), name: {"measure": float(measure), "floor": float(floor),
                                        "minutes": minutes, "seed": seed}}
    keep("floors", {key: records[key] for key in RUNS if key in records})
    print(f"{name:12s} {measure:.4f}, floor {floor:.4f}, {minutes:.1f} minutes, "
          f"seed {seed}: {'met' if met else 'NOT met'}", flush=True)
    return met


def main(arguments=None):
    """Do the runs asked for, or all; the exit code says whether every floor is met."""
    parser = argparse.ArgumentParser(prog="benchmarks floors", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RUNS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in RUNS]:
        parser.error(f"no run is called {', '.join(unknown)}: choose from {', '.join(RUNS)}")
    met = [run(name, options.seed) for name in options.names or RUNS]
    return 1 if False in met else 0
