"""Run ``python -m benchmarks floors [NAME …]``: full-size seeded runs, each against its floor.

A run is a function (seed) → (measure, floor), or None where its data is not there; it prints
what it likes on the way. RUNS says where each is found; it is imported when it is asked for.
"""

import argparse
import time
from importlib import import_module

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
    """Do one run, print a line on it, and return whether its floor is met, if it could run."""
    module, function = RUNS[name].split(":")
    started = time.perf_counter()
    found = getattr(import_module(module), function)(seed)
    if found is None:
        return True
    measure, floor = found
    minutes = (time.perf_counter() - started) / 60
    met = bool(measure >= floor)
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
    return 0 if all(met) else 1
