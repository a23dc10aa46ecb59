"""Run ``python -m benchmarks floors [NAME …]``: full-size seeded runs, each against its floor.

A run is a function (seed) → (measure, floor); it prints what it likes on the way, and raises
FileNotFoundError where its data is not there. RUNS says where each is found and what it measures.
"""

import argparse
import time
from importlib import import_module

from benchmarks.records import keep, kept

RUNS = {
    "vgg": ("benchmarks.floors_images:vgg", "VGG-11, cats and dogs: test accuracy"),
    "resnet20": ("benchmarks.floors_images:resnet20", "ResNet-20, cats and dogs: test accuracy"),
    "degradation": ("benchmarks.floors_images:degradation", "loss on digits, plain 44 / plain 20 "
                    "or plain 20 / residual 44, the smaller"),
    "unet": ("benchmarks.floors_masks:tiles", "U-Net, unseen drawn tiles: mean Dice"),
    "nuclei": ("benchmarks.floors_masks:nuclei", "U-Net, real nuclei, unseen half: Dice"),
    "real_tile": ("benchmarks.floors_masks:real_tile",
                  "U-Net of drawn tiles on a real one: IoU"),
    "resnext1d": ("benchmarks.floors_ecg:resnext1d",
                  "ResNeXt-1D, focal loss, unseen drawn patients: macro-F1"),
    "rare_beats": ("benchmarks.floors_ecg:rare_beats",
                   "focal loss's gain over cross-entropy in recall, the smaller of S's and F's"),
    "ecg5000": ("benchmarks.floors_ecg:ecg5000", "ResNeXt-1D, ECG5000's test set: macro-F1"),
}


def run(name, seed):
    """Do one run, print a line on it; return whether its floor is met, None without its data."""
    module, function = RUNS[name][0].split(":")
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
