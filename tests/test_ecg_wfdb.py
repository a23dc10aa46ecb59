"""WFDB records: bytes by hand, a record of one's own there and back, damage, the real record."""

import os
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nyang_edu.data.ecg import cut_beats, load_mitdb
from nyang_edu.data.wfdb import (
    SYMBOLS,
    Record,
    decode_212,
    encode_212,
    read_annotations,
    read_record,
    write_annotations,
    write_record,
)

MITDB = Path(os.environ.get("NYANG_MITDB", Path(__file__).parents[2] / "shared/data/mitdb"))
# How MIT-BIH record 100 begins: '+' with the text "(N" at sample 18, then beats.
START = bytes.fromhex("12 70 03 fc 28 4e 00 00 3b 04 25 05 24 05 1c 05 1d 05 1c 05 26 05 eb 20")


def made(adc, **more):
    leads = adc.shape[1]
    return Record("made", 360, adc.astype(np.int16), ("MLII", "V1", "V5")[:leads],
                  np.full(leads, 200.0), np.full(leads, 1024), **more)


@pytest.fixture
def record():
    adc = np.random.default_rng(0).integers(-2047, 2048, (501, 3))
    return made(adc, samples=np.array([3, 3, 90, 400]), symbols=["+", "N", "V", "~"],
                notes=["(N", "", "odd", ""], comments=["made up"])


def test_three_bytes_hold_two_samples():
    assert decode_212(bytes([0xE3, 0x33, 0xF3]), 2).tolist() == [995, 1011]
    assert decode_212(bytes([0xFF, 0x8F, 0x00]), 2).tolist() == [-1, -2048]
    assert decode_212(bytes([0xFF, 0x07]), 1).tolist() == [2047]
    assert encode_212([995, 1011]) == bytes([0xE3, 0x33, 0xF3])


@settings(deadline=None)
@given(st.lists(st.integers(-2048, 2047), max_size=9))
def test_format_212_there_and_back(values):
    packed = encode_212(values)
    assert len(packed) == (3 * len(values) + 1) // 2
    assert decode_212(packed, len(values)).tolist() == values


@pytest.mark.parametrize("value", [-2049, 2048])
def test_format_212_refuses_what_does_not_fit(value):
    with pytest.raises(ValueError, match=f"-2048 to 2047.*{value}.*clip"):
        encode_212([0, value])


def test_annotations_of_a_real_file(tmp_path):
    (tmp_path / "real.atr").write_bytes(START + b"\0\0")
    samples, symbols, notes = read_annotations(tmp_path / "real.atr")
    assert samples.tolist() == [18, 77, 370, 662, 946, 1231, 1515, 1809, 2044]
    assert symbols == ["+", *"NNNNNNN", "A"] and notes == ["(N", *[""] * 8]


def test_annotation_fields_by_hand(tmp_path):
    word = lambda code, step: struct.pack("<H", code << 10 | step)  # noqa: E731
    data = (word(1, 5) + word(61, 3) + word(62, 1) + word(60, 2)  # N with its SUB, CHN and NUM
            + word(59, 0) + struct.pack("<HH", 1, 0) + word(5, 7)  # a skip of 65536, then V
            + word(59, 0) + struct.pack("<hH", -1, 65533) + word(50, 0) + b"\0\0")  # back by 3
    (tmp_path / "a.atr").write_bytes(data)
    samples, symbols, _ = read_annotations(tmp_path / "a.atr")
    assert samples.tolist() == [5, 65548, 65545] and symbols == ["N", "V", "[50]"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200000), st.sampled_from(sorted(SYMBOLS.values())),
                          st.text("(ABN ", max_size=5)), max_size=6))
def test_annotations_there_and_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.atr"
    samples, symbols, notes = [list(c) for c in zip(*rows)] or [[], [], []]
    write_annotations(path, samples, symbols, notes)
    found = read_annotations(path)
    assert (found[0].tolist(), found[1], found[2]) == (samples, symbols, notes)


def test_annotations_refuse_what_they_cannot_store(tmp_path):
    with pytest.raises(ValueError, match="among N L R .* received .'§'."):
        write_annotations(tmp_path / "a.atr", [1], ["§"])
    with pytest.raises(ValueError, match="at most 1023 characters, received 1024"):
        write_annotations(tmp_path / "a.atr", [1], ["N"], ["x" * 1024])


def test_a_record_there_and_back(tmp_path, record):
    path = write_record(tmp_path, record)
    for name in (path, path.with_suffix("")):
        back = read_record(name)
        assert (back.adc == record.adc).all() and back.adc.dtype == np.int16
        assert back.samples.tolist() == record.samples.tolist()
        for field in ("name", "fs", "leads", "symbols", "notes", "comments"):
            assert getattr(back, field) == getattr(record, field)
    assert back.signal.dtype == np.float32 and back.signal.shape == (501, 3)
    assert np.allclose(back.signal, (record.adc - 1024) / 200)


def test_a_record_that_cannot_be_written(tmp_path, record):
    record.leads = ("MLII",)
    with pytest.raises(ValueError, match=r"\(T, 1\) .*received \(501, 3\)"):
        write_record(tmp_path, record)
    assert not list(tmp_path.iterdir())


def test_a_missing_sample_is_nan():
    signal = made(np.array([[1024], [-2048], [1224]])).signal
    assert np.isnan(signal[1, 0]) and signal[[0, 2], 0].tolist() == [0, 1]


def test_a_record_without_annotations(tmp_path, record):
    write_record(tmp_path, record).with_suffix(".atr").unlink()
    assert read_record(tmp_path / "made").symbols == []
    assert load_mitdb(tmp_path).skipped == {"record has no annotations": 1}


@pytest.mark.parametrize("change, says", [
    (lambda b: b[:-1], r"made\.dat: .*3 leads of 501: 1503 samples .* take 2255 .* received 2254"),
    (lambda b: b + b"x", "received 2256"),
    (lambda b: b"", "received 0"),
    (lambda b: bytes([b[0] ^ 1]) + b[1:], r"made\.dat: lead MLII has the checksum .* is damaged"),
], ids=["cut", "long", "empty", "flipped"])
def test_damaged_samples_are_named(tmp_path, record, change, says):
    path = write_record(tmp_path, record).with_suffix(".dat")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=says):
        read_record(tmp_path / "made")


def test_annotations_cut_anywhere_are_named(tmp_path, record):
    path = write_record(tmp_path, record).with_suffix(".atr")
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"made\.atr"):
            read_record(tmp_path / "made")


def test_missing_files(tmp_path, record):
    with pytest.raises(FileNotFoundError, match="nobody"):
        read_record(tmp_path / "nobody")
    write_record(tmp_path, record).with_suffix(".dat").unlink()
    with pytest.raises(FileNotFoundError, match="made.dat"):
        read_record(tmp_path / "made")


SIGNAL = "a.dat 212 200 11 1024 0 0 0 MLII"


@pytest.mark.parametrize("text, says", [
    ("", "a header begins with"),
    ("a", "a header begins with"),
    ("a/3 1 360 2", "a header begins with"),
    ("a 0 360 2", "a header begins with"),
    ("a 1 zero 2\n" + SIGNAL, "a header begins with"),
    ("a 2 360 2\n" + SIGNAL, "expected 2 signals in one file, received 1"),
    ("a 2 360 2\n" + SIGNAL + "\nb" + SIGNAL[1:], r"2 in \['a.dat', 'b.dat'\]"),
    ("a 1 360 2\na.dat 16 200", "in format 212.*received 'a.dat 16 200'"),
    ("a 1 360 2\na.dat 212 200/uV", "in mV"),
    ("a 1 360 2\n../a.dat 212 200", "beside the header"),
    ("a 1 360 2\na.dat 212 much", "a signal's line has"),
    ("a 1 360 2\na.dat", "a signal's line has"),
])
def test_a_bad_header_is_named(tmp_path, text, says):
    (tmp_path / "a.hea").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.hea: .*{says}"):
        read_record(tmp_path / "a")


def test_a_header_may_leave_things_out(tmp_path):
    (tmp_path / "a.dat").write_bytes(encode_212([100, 300]))
    (tmp_path / "a.hea").write_text("# first\n\na 1 360\na.dat 212 100(200)/mV\n# last\n")
    record = read_record(tmp_path / "a")
    assert record.signal[:, 0].tolist() == [-1, 1] and record.comments == ["first", "last"]
    (tmp_path / "a.hea").write_text("a 1\na.dat 212")
    record = read_record(tmp_path / "a")
    assert record.fs == 250 and record.signal[:, 0].tolist() == [0.5, 1.5]


@pytest.mark.skipif(not (MITDB / "100.hea").exists(),
                    reason="no MIT-BIH record 100: set NYANG_MITDB to a folder that has it")
def test_the_real_record_100(tmp_path):
    record = read_record(MITDB / "100")
    assert record.adc.shape == (650000, 2) and record.leads == ("MLII", "V5")
    assert record.adc[0].tolist() == [995, 1011] and record.fs == 360
    assert np.allclose(record.signal[0], [-0.145, -0.065])
    assert Counter(record.symbols) == {"N": 2239, "A": 33, "V": 1, "+": 1}
    write_record(tmp_path, record)
    assert (tmp_path / "100.dat").read_bytes() == (MITDB / "100.dat").read_bytes()
    beats = cut_beats(record)
    assert len(beats) + sum(beats.skipped.values()) == 2274
    assert beats.counts().tolist() == [2237, 33, 1, 0, 0]
    assert beats.skipped == {"'+' is no beat": 1, "window leaves the record": 2}
