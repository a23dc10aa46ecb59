"""WFDB records, the files of PhysioNet's ECG collections: .hea text, .dat samples, .atr beats.

MIT-BIH packs two 12-bit samples into three bytes (format 212). The header carries a checksum of
each lead, so that a damaged file is noticed before anything is learned from it.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nyang_edu.data.wfdb_header import read_header, write_header

__all__ = ["Record", "decode_212", "encode_212", "read_annotations", "read_record",
           "write_annotations", "write_record"]

# The code of each annotation symbol in an .atr file; 0 is no annotation.
SYMBOLS = dict(enumerate("NLRaVFJASEj/Q~", 1)) | {16: "|"} | dict(enumerate(
    's T * D " = p B ^ t + u ? ! [ ] e n @ x f ( ) r'.split(), 18))
SKIP, NUM, SUB, CHN, AUX = 59, 60, 61, 62, 63
MISSING = -2048  # what format 212 stores where there is no sample


@dataclass
class Record:
    """One recording: signal = (adc - baseline) / gain in mV, and what a cardiologist noted.

    Shapes: adc (T, leads) int16, signal (T, leads) float32, gain and baseline (leads,);
    annotation k is symbols[k] at sample samples[k], with the text notes[k].

    Source: Moody, WFDB Applications Guide, header(5), signal(5), annot(5).
    """

    name: str
    fs: float
    adc: np.ndarray
    leads: tuple
    gain: np.ndarray
    baseline: np.ndarray
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    symbols: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    comments: list = field(default_factory=list)

    @property
    def signal(self):
        """The samples in mV, (T, leads) float32; NaN where one is missing."""
        mv = (self.adc - np.float32(self.baseline)) / np.float32(self.gain)
        mv[self.adc == MISSING] = np.nan
        return mv


def decode_212(data, count):
    """Unpack count samples of format 212, three bytes a pair: (count,) int16, -2048…2047.

    Raises:
        ValueError: where data has not the length that count samples take.
    """
    wanted = (3 * count + 1) // 2
    if len(data) != wanted:
        raise ValueError(f"{count} samples in format 212 take {wanted} bytes, received "
                         f"{len(data)}: copy the file again")
    padded = np.zeros(-(-wanted // 3) * 3, np.uint8)
    padded[:wanted] = np.frombuffer(data, np.uint8)
    b0, b1, b2 = padded.reshape(-1, 3).T.astype(np.int16)
    pairs = np.stack([b0 | (b1 & 0x0F) << 8, b2 | (b1 & 0xF0) << 4], axis=1)  # (pairs, 2)
    return (pairs.reshape(-1)[:count] << 4) >> 4  # 12 bits' sign becomes that of 16


def encode_212(values):
    """Pack samples into format 212, the inverse of decode_212.

    Raises:
        ValueError: where a value does not fit into 12 bits.
    """
    values = np.asarray(values)
    if values.size and (values.min() < -2048 or values.max() > 2047):
        raise ValueError("format 212 holds -2048 to 2047, received "
                         f"{values.min()} to {values.max()}: clip, or use a lower gain")
    even = np.zeros(len(values) + len(values) % 2, np.int16)
    even[:len(values)] = values
    first, second = even.reshape(-1, 2).T & 0xFFF
    mixed = first >> 8 | (second >> 8) << 4
    packed = np.stack([first & 0xFF, mixed, second & 0xFF], axis=1)  # (pairs, 3)
    return packed.astype(np.uint8).tobytes()[:(3 * len(values) + 1) // 2]


def checksums(adc):
    """Sum each lead in 16 bits, as the header has it: (leads,) from -32768 to 32767."""
    return adc.sum(axis=0, dtype=np.int64).astype(np.int16)  # the lowest 16 bits


def read_record(path):
    """Read a record: header, samples, and annotations where there is an .atr.

    Args:
        path: of the .hea file; the suffix may be left out.

    Raises:
        FileNotFoundError: where .hea or .dat is missing.
        ValueError: naming the file, where it is cut, damaged, or of another format.
    """
    path = Path(path) if str(path).endswith(".hea") else Path(f"{path}.hea")
    head = read_header(path)
    adc = _read_samples(path.with_name(head.file), head)
    notes = path.with_suffix(".atr")
    found = read_annotations(notes) if notes.exists() else (np.zeros(0, np.int64), [], [])
    return Record(path.stem, head.fs, adc, head.leads, head.gain, head.baseline, *found,
                  head.comments)


def _read_samples(path, head):
    data, leads = path.read_bytes(), len(head.leads)
    frames = head.frames or len(data) * 2 // (3 * leads)  # a header may leave the length out
    try:
        adc = decode_212(data, frames * leads).reshape(frames, leads)  # (T, leads)
    except ValueError as error:
        raise ValueError(f"{path}: its header announces {leads} leads of {frames}: "
                         f"{error}") from None
    for lead, sums in zip(head.leads, zip(checksums(adc), head.checksums)):
        if sums[1] is not None and sums[0] != sums[1]:
            raise ValueError(f"{path}: lead {lead} has the checksum {sums[0]}, its header says "
                             f"{sums[1]}: the file is damaged, copy it again")
    return adc


def write_record(folder, record):
    """Write name.hea, name.dat (format 212) and name.atr; returns the path of the .hea.

    Raises:
        ValueError: where adc is not (T, leads), a sample does not fit into 12 bits, or an
            annotation cannot be stored.
    """
    if record.adc.ndim != 2 or record.adc.shape[1] != len(record.leads):
        raise ValueError(f"adc must be (T, {len(record.leads)}) for the leads {record.leads}, "
                         f"received {record.adc.shape}: one column a lead")
    path = Path(folder) / f"{record.name}.hea"
    path.with_suffix(".dat").write_bytes(encode_212(record.adc.reshape(-1)))
    write_annotations(path.with_suffix(".atr"), record.samples, record.symbols, record.notes)
    write_header(path, record, checksums(record.adc))
    return path


def read_annotations(path):
    """Read an .atr file; its fields SUB, CHN and NUM are passed over.

    Returns:
        samples (A,) int64, symbols (A strings; "[n]" for a code n without one), notes (A strings).

    Raises:
        ValueError: naming the file, where it ends without its end mark.
    """
    path, samples, symbols, notes, now = Path(path), [], [], [], 0
    for code, step, text in _words(path):
        if code == AUX:
            if not notes:
                raise ValueError(f"{path}: a text must follow an annotation, received "
                                 f"{text!r} first: copy the file again")
            notes[-1] = text.rstrip(b"\0").decode("latin-1")
            continue
        now += step
        if code != SKIP:
            samples.append(now)
            symbols.append(SYMBOLS.get(code, f"[{code}]"))
            notes.append("")
    return np.array(samples, np.int64), symbols, notes


def _words(path):
    """Yield (code, step in samples, text) until the end mark."""
    data, at = path.read_bytes(), 0
    while at + 2 <= len(data):
        word, = struct.unpack_from("<H", data, at)
        code, step, at, text = word >> 10, word & 0x3FF, at + 2, b""
        if word == 0:
            return
        if code == SKIP and at + 4 <= len(data):
            high, low = struct.unpack_from("<hH", data, at)  # PDP-11 order
            step, at = high * 65536 + low, at + 4
        elif code == AUX:
            text, at, step = data[at:at + step], at + step + step % 2, 0
        if code not in (NUM, SUB, CHN):
            yield code, step, text
    raise ValueError(f"{path}: annotations end with two zero bytes, received {len(data)} bytes "
                     "without them: the file is cut, copy it again")


def write_annotations(path, samples, symbols, notes=None):
    """Write an .atr file.

    Raises:
        ValueError: for a symbol that WFDB does not have, or lists of unequal lengths.
    """
    codes, notes = {symbol: code for code, symbol in SYMBOLS.items()}, notes or [""] * len(symbols)
    unknown = sorted(set(symbols) - set(codes))
    if unknown:
        raise ValueError(f"annotations are among {' '.join(codes)}, received {unknown}")
    parts, steps = [], np.diff(np.asarray(samples, np.int64), prepend=0).tolist()
    for step, symbol, note in zip(steps, symbols, notes, strict=True):
        if not 0 <= step < 1024:
            parts.append(struct.pack("<HhH", SKIP << 10, step >> 16, step & 0xFFFF))
            step = 0
        parts.append(struct.pack("<H", codes[symbol] << 10 | step))
        parts.append(_note(note))
    Path(path).write_bytes(b"".join(parts) + b"\0\0")


def _note(note):
    text = note.encode("latin-1")
    if len(text) > 1023:
        raise ValueError(f"a note has at most 1023 characters, received {len(text)}: shorten it")
    padding = b"\0" * (len(text) % 2)
    return struct.pack("<H", AUX << 10 | len(text)) + text + padding if text else b""
