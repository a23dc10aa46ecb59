"""What a grading left in ``OUT/results``: one JSON file for each student and chapter."""

import json
import sys
from pathlib import Path

import numpy as np


def read_results(out):
    """Yield the results one at a time, in the order of their file names."""
    for path in sorted((Path(out) / "results").glob("*.json")):
        try:
            result = json.loads(path.read_bytes())
            if result["format"] == 1:
                yield result
        except (ValueError, KeyError, TypeError, OSError) as error:
            print(f"nyang: {path} is skipped: {error!r}", file=sys.stderr)


def array_from(stored):
    """The array that a result holds as {"dtype", "shape", "data"}; inf and nan are strings."""
    return np.array(stored["data"], dtype=stored["dtype"]).reshape(stored["shape"])
