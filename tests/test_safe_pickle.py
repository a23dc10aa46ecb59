"""A pickle is read, never run: what is harmless comes back whole, the rest is refused by name."""

import copyreg
import io
import pickle
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickles import (
    ARRAY,
    BROKEN,
    BYTES,
    CANARY,
    DTYPE,
    FIRING,
    MAKE,
    REFUSED,
    STATE_O,
    Callback,
    Trap,
    called,
    text,
)

from nyang_edu.utility import safe_pickle
from nyang_edu.utility.plain import MAX_VALUES, _Copier, plain
from nyang_edu.utility.safe_pickle import MAX_STEPS, UnsafeFileError, _Machine, read_pickle

PROTOCOLS = range(6)
@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with what some payloads need."""
    monkeypatch.chdir(tmp_path)
    np.save("payload.npy", np.array([Callback(exec, MAKE)], dtype=object), allow_pickle=True)
    copyreg.add_extension("os", "mkdir", 0xF0)
    yield tmp_path
    copyreg.remove_extension("os", "mkdir", 0xF0)


@pytest.mark.parametrize("data, wanted", FIRING.values(), ids=FIRING.keys())
def test_code_in_a_pickle_is_refused_by_name(here, data, wanted):
    start = time.process_time()
    with pytest.raises(UnsafeFileError) as caught:
        read_pickle(data + b".")
    assert "refuses" in str(caught.value) and wanted in str(caught.value)
    assert not Path(CANARY).exists()
    assert time.process_time() - start < 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [data for data, _ in FIRING.values()], ids=FIRING.keys())
def test_plain_pickle_runs_each_of_them(here, data):
    try:
        pickle.loads(data + b".")
    except Exception:  # some payloads end in an error, after they have run
        pass
    assert Path(CANARY).exists()


@pytest.mark.parametrize("data, wanted", REFUSED.values(), ids=REFUSED.keys())
def test_other_dangers_are_refused(data, wanted):
    with pytest.raises(UnsafeFileError, match="not loaded") as caught:
        read_pickle(data)
    assert wanted in str(caught.value)


@pytest.mark.parametrize("data, wanted", BROKEN.values(), ids=BROKEN.keys())
def test_broken_and_bloated_files_end_in_a_clear_error(data, wanted):
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ValueError, match=wanted):
            read_pickle(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10
    assert peak < 3e6 + 250 * len(data)


def test_a_memo_place_of_four_billion_takes_no_memory():
    tracemalloc.start()
    assert read_pickle(b"K\x01r\xff\xff\xff\xff0j\xff\xff\xff\xff.") == 1
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_work_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(safe_pickle, "MAX_STEPS", 5000)
    copies = b"](" + b"N" * 1000 + b"eq\x000" + called("builtins.set", b"h\x00") * 10 + b"."
    for data in (b"N0" * 3000 + b"N.", copies, b"]" + b"2" * 6000 + b"."):
        with pytest.raises(UnsafeFileError, match="more than 5,000 instructions"):
            read_pickle(data)


CONTENT = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(4, dtype=">i2"), "one": np.array(5), "none": np.zeros((0, 3)),
    "permuted": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "strided": np.arange(10)[::3], "bool": np.array([True, False]), "complex": np.array([1j]),
    "half": np.float16([0.5]), "bytes": np.frombuffer(bytes(range(256)), np.uint8),
    "scalars": [np.float32(2), np.int64(-3), np.bool_(True)],
    "values": [1, -5, 2**100, 2.5, float("inf"), True, None, "é\n\\", b"\x00\xff'", b"", ()],
    "keys": {1: "a", None: 2.0, "x": (1, "2"), b"y": {1, "x"}},
    "PCG64": np.random.default_rng(0).bit_generator.state,
    "MT19937": np.random.MT19937(0).state,
}


def same(a, b):
    if isinstance(a, np.ndarray):
        return (type(b) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape
                and np.array_equal(a, b))
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_and_plain_values_come_back(protocol, tmp_path):
    data = pickle.dumps(CONTENT, protocol)
    out = read_pickle(data)
    assert same(CONTENT, out)
    for name, array in CONTENT.items():
        if isinstance(array, np.ndarray):
            assert out[name].flags.writeable, name
    assert out["fortran"].flags.f_contiguous
    (tmp_path / "file.pickle").write_bytes(data)
    assert same(out, read_pickle(tmp_path / "file.pickle"))
    assert same(out, read_pickle(str(tmp_path / "file.pickle")))
    assert same(out, read_pickle(io.BytesIO(data)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_of_older_numpy(protocol):
    data = pickle.dumps([np.arange(3), np.float32(1)], protocol)
    for new, old in ((b"numpy._core.multiarray", b"numpy.core.multiarray"),
                     (b"numpy._core.numeric", b"numpy.core.numeric")):
        data = data.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
        data = data.replace(b"c" + new, b"c" + old)
    if protocol > 3:  # a frame's length counts the bytes that were removed
        data = data[:2] + data[11:]
    assert b"numpy.core." in data and b"numpy._core" not in data
    assert same(read_pickle(data), [np.arange(3), np.float32(1)])


def test_shared_containers_stay_shared():
    part, array = [1], np.zeros(2)
    out = read_pickle(pickle.dumps({"a": part, "b": (part, array), "c": array}))
    assert out["a"] is out["b"][0] and out["c"] is out["b"][1]


def test_arrays_of_one_file_share_no_memory():
    data = BYTES + b"q\x000(" + (ARRAY + b"(K\x01" + b"M\xa8\x61\x85" + DTYPE
                                 + b"\x89h\x00tb") * 2 + b"t."
    first, second = read_pickle(data)
    first[...] = 1
    assert not second.any()


SIMPLE = st.recursive(
    st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats(allow_nan=False)
    | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=4) | st.integers(-99, 99), inner, max_size=4),
    max_leaves=20)


@given(SIMPLE, st.sampled_from(PROTOCOLS))
@settings(max_examples=60, deadline=None)
def test_any_plain_value_comes_back(value, protocol):
    assert same(read_pickle(pickle.dumps(value, protocol)), value)


PIECES = [op.code.encode("latin-1") for op in safe_pickle.pickletools.opcodes]
PIECES += [text("a"), b"K\x01", b"K\x00\x85", b"h\x00", b"q\x00", DTYPE, ARRAY, b"C\x04\0\0\0\0",
           b"cnumpy\nndarray\n", b"c_codecs\nencode\n", STATE_O, b"(", b"]", b"}", b")", b"t"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
@settings(max_examples=600, deadline=None)
def test_any_sequence_of_instructions_ends_in_a_plain_value_or_an_error(pieces):
    try:
        value = read_pickle(b"".join(pieces) + b".")
    except ValueError:
        return
    assert same(plain(value), value)


SAVED = {"weights": {"0.weight": np.ones((2, 3), np.float32), "0.n": np.array(3)}, "note": "x",
         "training": [1, 2.5, "a", None, {"set": {1}}]}


@pytest.mark.parametrize("protocol", (0, 2, 4, 5))
def test_a_file_cut_off_anywhere_is_refused(protocol):
    data = pickle.dumps(SAVED, protocol)
    for size in range(len(data)):
        with pytest.raises(ValueError, match="cannot be read: damaged at byte"):
            read_pickle(data[:size])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_flipped_bits_never_do_more_than_change_values(protocol):
    rng, data = np.random.default_rng(protocol), pickle.dumps(SAVED, protocol)
    refused = 0
    for _ in range(200):
        bad, place = bytearray(data), rng.integers(len(data))
        bad[place] ^= 1 << rng.integers(8)
        try:
            plain(read_pickle(bytes(bad)))
        except ValueError:
            refused += 1
    assert refused > 50


def test_files_of_python_2():
    batch = (b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02"
             b"cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x05U\x02"
             b"u1K\x00K\x01\x87Rq\x06(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
             b"U\x06\x00\x01\x02\xff\xfe\xfdtbU\x06labels]q\x07(K\x06K\x09eu.")
    for encoding in ("bytes", "latin1"):
        out = read_pickle(batch, encoding=encoding)
        assert same(out, pickle.loads(batch, encoding=encoding))
    assert out["data"].tolist() == [[0, 1, 2], [255, 254, 253]] and out["labels"] == [6, 9]
    assert read_pickle(b"S'a\\x01\\\\\\''\np0\n.") == "a\x01\\'"
    assert read_pickle(b"T\x02\x00\x00\x00\xe9\xff.", encoding="bytes") == b"\xe9\xff"
    with pytest.raises(LookupError, match="klingon"):
        read_pickle(batch, encoding="klingon")


def test_sources_that_are_none(tmp_path):
    (tmp_path / "big").write_bytes(pickle.dumps(bytes(5000)))
    with pytest.raises(ValueError, match="max_bytes=1,000"):
        read_pickle(tmp_path / "big", max_bytes=1000)
    with pytest.raises(ValueError, match="max_bytes=1,000"):
        read_pickle(io.BytesIO(bytes(5000)), max_bytes=1000)
    with pytest.raises(ValueError, match="is no file"):
        read_pickle(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_pickle(tmp_path / "absent")
    with pytest.raises(TypeError, match="mode 'rb'"):
        read_pickle(io.StringIO("K\x01."))
    with pytest.raises(TypeError, match="received dict"):
        read_pickle({})
    if Path("/dev/zero").exists():
        with pytest.raises(ValueError, match="is no file"):
            read_pickle("/dev/zero")


def test_files_of_another_kind_are_recognised(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as file:
        file.writestr("data.pkl", b"N.")
    with pytest.raises(ValueError, match="torch.save"):
        read_pickle(tmp_path / "net.pt")
    (tmp_path / "x.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(ValueError, match="gzip.open"):
        read_pickle(tmp_path / "x.gz")


@pytest.mark.parametrize("make", [
    lambda n: float(n), lambda n: str(n), lambda n: [], lambda n: {}, lambda n: {n}, lambda n: (n,),
    lambda n: {str(n): [n]}, lambda n: np.float32(n), lambda n: np.zeros(1), lambda n: np.array(n),
    lambda n: np.zeros((2, 3, 4)).transpose(2, 0, 1), lambda n: np.zeros(9)[::2],
])
def test_what_may_be_saved_is_never_too_long_to_be_loaded(make):
    content = [make(n) for n in range(1000, 2000)]
    _, values, _ = _Copier("").copy(content, ())
    machine = _Machine(pickle.dumps(content, 5), "ASCII")
    machine.run()
    assert (MAX_STEPS - machine.steps_left) / MAX_STEPS <= values / MAX_VALUES


def test_what_cannot_be_loaded_is_named_when_it_is_saved():
    for value, wanted in (({"a": [1, Trap()]}, r"state\['a'\]\[1\] is a Trap"),
                          (np.array(["x"]), "state is an ndarray of dtype <U1|state is a ndarray"),
                          ({(1, 2): 3}, "has a tuple for a key"),
                          ({"o": np.array([None])}, "dtype object")):
        with pytest.raises(TypeError, match=wanted):
            plain(value, "state")
    ring = {}
    ring["self"] = ring
    with pytest.raises(ValueError, match=r"state\['self'\] contains itself"):
        plain(ring, "state")
