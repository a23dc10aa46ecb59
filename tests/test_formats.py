"""IDX and CIFAR-10 files as users bring them: whole, cut, damaged, hostile."""

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nyang_edu.data.cifar import CLASSES, load_cifar10
from nyang_edu.data.idx import load_idx, load_idx_pair, save_idx

# --- IDX ---

IDX_DTYPES = ("uint8", "int8", "int16", "int32", "float32", "float64")


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(IDX_DTYPES), st.sampled_from(["", ".gz"]))
def test_idx_round_trip(tmp_path_factory, data, dtype, end):
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    array = data.draw(arrays.arrays(dtype, shape))
    path = tmp_path_factory.mktemp("idx") / f"some-idx{end}"
    save_idx(path, array)
    back = load_idx(path)
    assert back.dtype == array.dtype and back.dtype.isnative and back.flags.writeable
    assert back.shape == array.shape and back.tobytes() == array.tobytes()


def test_idx_bytes_by_hand(tmp_path):
    path = tmp_path / "hand"
    path.write_bytes(bytes([0, 0, 11, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 1, 1, 0, 255, 254]))
    assert load_idx(path).tolist() == [[1, 256, -2]]
    save_idx(tmp_path / "again", load_idx(path))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_idx_knows_gzip_by_content_and_writes_it_repeatably(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    save_idx(tmp_path / "a.gz", array)
    packed = (tmp_path / "a.gz").read_bytes()
    save_idx(tmp_path / "b.gz", array)
    assert packed == (tmp_path / "b.gz").read_bytes() and packed[:2] == b"\x1f\x8b"
    (tmp_path / "no_suffix").write_bytes(packed)
    assert load_idx(tmp_path / "no_suffix").tolist() == array.tolist()


@pytest.fixture
def good_idx(tmp_path):
    save_idx(tmp_path / "good", np.arange(60, dtype=np.int16).reshape(5, 12))
    return (tmp_path / "good").read_bytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_idx_cut_anywhere_is_refused_by_name(tmp_path, good_idx, pack):
    whole = pack(good_idx)
    for length in range(len(whole)):
        path = tmp_path / "cut-idx"
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cut-idx"):
            load_idx(path)


@pytest.mark.parametrize("change, says", [
    (lambda b: b + b"x", "announces shape .5, 12. and int16, that is 120 bytes .* holds more"),
    (lambda b: b[:-1], "holds only 119"),
    (lambda b: b"\0\1" + b[2:], "begins with 0, 0"),
    (lambda b: b[:2] + b"\x0a" + b[3:], "begins with 0, 0"),
    (lambda b: b[:3] + b"\xff" + b[4:], "begins with 0, 0"),
    (lambda b: b[:7], "ends inside its header"),
    (lambda b: b"", "begins with 0, 0"),
    (lambda b: struct.pack(">BBBB8I", 0, 0, 14, 8, *[2**32 - 1] * 8), "holds only 0"),
    (lambda b: gzip.compress(b)[:-4], "damaged or cut gzip"),
    (lambda b: gzip.compress(b)[:12] + b"\xff\xff\xff" + gzip.compress(b)[15:], "damaged or cut"),
    (lambda b: gzip.compress(b) + b"tail", "damaged or cut gzip"),
], ids=["long", "short", "magic", "dtype", "axes", "header", "empty", "vast", "gz cut",
        "gz damaged", "gz tail"])
def test_idx_damage_is_named(tmp_path, good_idx, change, says):
    path = tmp_path / "bad-idx"
    path.write_bytes(change(good_idx))
    with pytest.raises(ValueError, match=f"bad-idx: .*{says}"):
        load_idx(path)


def test_idx_refuses_what_it_cannot_store(tmp_path):
    with pytest.raises(TypeError, match="uint8, int8, int16, int32, float32, float64.*int64"):
        save_idx(tmp_path / "x", np.zeros(3, np.int64))


@pytest.mark.parametrize("mark", "-.")
@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_pair_in_each_spelling(tmp_path, mark, end):
    x, y = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.array([7, 1], np.uint8)
    save_idx(tmp_path / f"t10k-images{mark}idx3-ubyte{end}", x)
    save_idx(tmp_path / f"t10k-labels{mark}idx1-ubyte{end}", y)
    images, labels = load_idx_pair(tmp_path, "t10k")
    assert (images == x).all() and labels.tolist() == [7, 1] and labels.dtype == np.int64
    with pytest.raises(FileNotFoundError, match="none of train-images-idx3-ubyte, "):
        load_idx_pair(tmp_path)
    with pytest.raises(ValueError, match="split must be one of.*'test'"):
        load_idx_pair(tmp_path, "test")


def test_idx_pair_that_does_not_belong_together(tmp_path):
    save_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 2, 2), np.uint8))
    save_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match=r"received \(3, 2, 2\) and \(2,\)"):
        load_idx_pair(tmp_path)


FASHION = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist


@pytest.mark.skipif(not FASHION.is_dir(), reason=f"Fashion-MNIST is not at {FASHION}")
def test_the_real_fashion_mnist():
    images, labels = load_idx_pair(FASHION, "t10k")
    assert images.shape == (10000, 28, 28) and images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [1000] * 10 and round(images.mean(), 2) == 73.15
    images, labels = load_idx_pair(FASHION)
    assert images.shape == (60000, 28, 28) and round(images.mean(), 2) == 72.94
    assert np.bincount(labels).tolist() == [6000] * 10


# --- CIFAR-10 ---


def python2_pickle(data, labels):
    """A batch as Python 2 and the NumPy of then wrote it: texts are SHORT_BINSTRINGs."""
    def text(value):
        return b"U" + bytes([len(value)]) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    dtype = (b"cnumpy\ndtype\n(" + text(b"u1") + b"K\0K\1tR(K\3" + text(b"|") + b"NNN"
             + number(-1) + number(-1) + b"K\0tb")
    array = (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0t" + text(b"b") + b"tR("
             + b"K\1(" + b"".join(map(number, data.shape)) + b"t" + dtype + b"\x89"
             + b"T" + struct.pack("<i", data.size) + data.tobytes() + b"tb")
    body = text(b"batch_label") + text(b"testing batch 1 of 1")
    body += text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + body + text(b"data") + array + b"u."


@pytest.fixture
def cifar(tmp_path):
    """Both versions of a CIFAR-10 of 7 images a batch; returns the folder and what is in it."""
    rng, truth = np.random.default_rng(0), {}
    for version in ("py", "bin"):
        (tmp_path / f"cifar-10-batches-{version}").mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        x = rng.integers(0, 256, (7, 3, 32, 32), np.uint8)
        y = rng.integers(0, 10, 7)
        truth[name], rows = (x, y), x.reshape(7, -1)
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(python2_pickle(rows, y))
        table = np.concatenate([y[:, None].astype(np.uint8), rows], axis=1)
        (tmp_path / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(table.tobytes())
    return tmp_path, truth


def test_the_old_pickle_is_a_pickle(cifar):
    folder, truth = cifar
    raw = (folder / "cifar-10-batches-py" / "test_batch").read_bytes()
    batch = pickle.loads(raw, encoding="bytes")
    assert (batch[b"data"] == truth["test_batch"][0].reshape(7, -1)).all()


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py", "cifar-10-batches-bin"])
def test_cifar_batches_in_both_versions(cifar, inside):
    folder, truth = cifar
    images, labels, names = load_cifar10(folder / inside)
    batches = [truth[f"data_batch_{i}"] for i in range(1, 6)]
    assert images.shape == (35, 3, 32, 32) and images.dtype == np.uint8
    assert (images == np.concatenate([x for x, _ in batches])).all()
    assert labels.dtype == np.int64 and (labels == np.concatenate([y for _, y in batches])).all()
    assert names == list(CLASSES) and names[3] == "cat" and names[5] == "dog"
    images, labels, _ = load_cifar10(folder / inside, "test")
    assert (images == truth["test_batch"][0]).all() and (labels == truth["test_batch"][1]).all()


def test_cifar_says_what_is_missing(cifar):
    folder, _ = cifar
    place = folder / "cifar-10-batches-py"
    (place / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="-py lacks data_batch_3: "):
        load_cifar10(place)
    with pytest.raises(ValueError, match="split must be one of"):
        load_cifar10(folder, "valid")


class Hostile:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_cifar_never_runs_what_a_batch_asks_for(cifar, tmp_path):
    place, canary = cifar[0] / "cifar-10-batches-py", tmp_path / "canary"
    raw = pickle.dumps({b"data": Hostile(canary), b"labels": []}, protocol=2)
    pickle.loads(raw)
    assert canary.is_dir()  # the attack works where nobody stops it
    canary.rmdir()
    (place / "test_batch").write_bytes(raw)
    with pytest.raises(ValueError, match="mkdir"):
        load_cifar10(place, "test")
    assert not canary.exists()


@pytest.mark.parametrize("batch, says", [
    ([1, 2], "received list"),
    ({b"data": 1}, "with b'data' and b'labels'"),
    ({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}, r"received an array \(2, 3072\) float64"),
    ({b"data": np.zeros((2, 30), np.uint8), b"labels": [1, 2]}, r"must be \(N, 3072\) uint8"),
    ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "2 images but 1 labels"),
    ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 77]}, "labels are 0..9, received 77"),
    ({b"data": np.zeros((2, 3072), np.uint8), b"labels": ["a", "b"]}, "list of integers"),
    ({b"data": np.zeros((2, 3072), np.uint8), b"labels": 3}, "list of integers, received int"),
])
def test_cifar_batch_of_another_kind(cifar, batch, says):
    place = cifar[0] / "cifar-10-batches-py"
    (place / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(ValueError, match=f"test_batch: .*{says}"):
        load_cifar10(place, "test")


def test_cifar_cut_files(cifar):
    for path in (cifar[0] / "cifar-10-batches-py" / "test_batch",
                 cifar[0] / "cifar-10-batches-bin" / "test_batch.bin"):
        whole = path.read_bytes()
        for length in (0, 1, 50, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError):
                load_cifar10(path.parent, "test")
