"""The .hea file of a WFDB record: a few lines of text that say how the samples are stored.

Most of its fields may be left out; what then holds is the standard's own default.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GAIN = re.compile(r"([\d.eE+-]+)(?:\((-?\d+)\))?(?:/(\S+))?$")  # 200, 200(1024), 200(1024)/mV


@dataclass
class Header:
    """What a header says; frames and each checksum may be None."""

    fs: float
    frames: int
    file: str
    leads: tuple
    gain: np.ndarray
    baseline: np.ndarray
    checksums: tuple
    comments: list


def read_header(path):
    """Read a .hea file.

    Raises:
        ValueError: naming the file and the line, where it is no header of one .dat file in
            format 212 with signals in mV.

    Source: Moody, WFDB Applications Guide, header(5).
    """
    path = Path(path)
    lines = [line.strip() for line in path.read_text("latin-1").splitlines()]
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    leads, fs, frames = _first_line(path, rows)
    fields = [_signal_line(path, row) for row in rows[1:]]
    files = {field[0] for field in fields}
    if len(fields) != leads or len(files) != 1:
        raise ValueError(f"{path}: expected {leads} signals in one file, received {len(fields)} "
                         f"in {sorted(files)}: convert the record to one .dat file")
    file, names, gain, baseline, sums = zip(*fields)
    return Header(fs, frames, file[0], names, np.array(gain), np.array(baseline), sums,
                  [line[1:].strip() for line in lines if line.startswith("#")])


def _first_line(path, rows):
    try:
        name, leads, *rest = rows[0]
        fs, frames = (rest + ["250", "0"][len(rest):])[:2]
        found = int(leads), float(re.split(r"[/(]", fs)[0]), int(frames)
        if "/" in name or not (found[0] > 0 and found[1] > 0 and found[2] >= 0):
            raise ValueError
        return found
    except (IndexError, ValueError):
        raise ValueError(f"{path}: a header begins with name, leads, frequency, samples, such as "
                         f"'100 2 360 650000', received {' '.join(sum(rows[:1], []))!r}") from None


def _signal_line(path, row):
    """Return (file, lead, gain, baseline, checksum)."""
    try:
        file, kind, *rest = row
        gain, _, zero, _, check = (rest[:5] + [None] * 5)[:5]
        gain, baseline, unit = GAIN.match(gain or "200").groups()
        found = (file, " ".join(rest[6:]) or "?", float(gain) or 200.0,
                 int(baseline or zero or 0), None if check is None else int(check))
    except (AttributeError, ValueError):
        raise ValueError(f"{path}: a signal's line has file, format, gain, bits, zero, first "
                         f"value, checksum, block and name, received {' '.join(row)!r}") from None
    if kind != "212" or (unit or "mV") != "mV" or Path(file).name != file:
        raise ValueError(f"{path}: signals must be in format 212, in mV, in a file beside the "
                         f"header, received {' '.join(row)!r}: convert the record")
    return found


def write_header(path, record, checksums):
    """Write the .hea of a record whose samples have these checksums."""
    frames = len(record.adc)
    lines = [f"{record.name} {len(record.leads)} {record.fs:g} {frames}"]
    for i, lead in enumerate(record.leads):
        first = record.adc[0, i] if frames else 0
        lines.append(f"{record.name}.dat 212 {record.gain[i]:.10g} 12 {record.baseline[i]} "
                     f"{first} {checksums[i]} 0 {lead}")
    lines += [f"# {comment}" for comment in record.comments]
    path.write_text("\n".join(lines) + "\n", "latin-1", newline="\n")
