"""Files that cannot be right say what is wrong, and a save is whole or not at all."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_saving import Mine

import nyang_edu
from nyang_edu import (
    Linear,
    NyangFlow,
    NyangModel,
)
from nyang_edu.utility.architecture import NotDescribable, describe
from nyang_edu.utility.atomic import replacing
from nyang_edu.utility.safe_pickle import UnsafeFileError
from nyang_edu.utility.save_load import (
    nyang_load_model,
    nyang_save_model,
)


@pytest.mark.parametrize("spec, why", [
    ({"class": "system", "args": [], "kwargs": {}}, "no public model class 'system'"),
    ({"class": "os.system", "args": ["x"], "kwargs": {}}, "no public model class 'os.system'"),
    ({"class": "SGD", "args": [[], 1], "kwargs": {}}, "no public model class 'SGD'"),
    ({"class": "Parameter", "args": [3], "kwargs": {}}, "no public model class 'Parameter'"),
    ({"class": "he_normal", "args": [], "kwargs": {}}, "no public model class 'he_normal'"),
    ({"class": ["Linear"], "args": [], "kwargs": {}}, "no public model class"),
    ({"class": "Linear", "args": [2, 3], "kwargs": {"init": {"name": "eval"}}}, "'eval'"),
    ({"class": "Linear", "args": [2, 3], "kwargs": {"init": {"name": "gradcheck"}}}, "'gradcheck'"),
    ({"class": "Linear", "args": [10**12, 10**12], "kwargs": {}}, "larger than all its weights"),
    ({"class": "Linear", "args": [60_000, 60_000], "kwargs": {}}, "larger than its weights"),
    ({"class": "BatchNorm", "args": [60_000], "kwargs": {}}, "larger than its weights"),
    ({"class": "Linear", "args": [{"again": 5}, 2], "kwargs": {}}, "index out of range"),
    ({"class": "Linear", "args": [2], "kwargs": {}}, "missing"),
    ({"class": "Linear"}, "args"),
    ({"unknown": 1}, "no public"),
    ([1], "must describe a model"),
    ("Linear", "must describe a model"),
])
def test_a_file_cannot_build_what_it_likes(spec, why, tmp_path):
    content = {"format": "nyang_edu", "version": 1, "class": "Linear", "architecture": spec,
               "reason": None, "weights": Linear(2, 3).state_dict(), "training": None, "note": None}
    (tmp_path / "x.pickle").write_bytes(pickle.dumps(content))
    start = time.process_time()
    with pytest.raises(ValueError, match=f"cannot be built as the file tells.*{why}.*pass model="):
        nyang_load_model(tmp_path / "x.pickle")
    assert time.process_time() - start < 2


def broken(**changes):
    content = {"format": "nyang_edu", "version": 1, "class": None, "architecture": None,
               "reason": None, "weights": {}, "training": None, "note": None} | changes
    return {key: value for key, value in content.items() if value != "drop"}


@pytest.mark.parametrize("content, why", [
    (broken(version=2), "format version 2, and this nyang_edu reads up to 1: install a newer one"),
    (broken(version="1"), "is damaged"),
    (broken(weights=[1]), "is damaged"),
    (broken(weights={"w": 3.0}), "is damaged"),
    (broken(weights={"w": np.array([1j])}), "is damaged"),
    (broken(note="drop", training="drop"), "lacks note, training"),
    (broken(format="other"), "is no model file of nyang_edu"),
    ([1, 2], "is no model file of nyang_edu"),
    ({b"data": np.zeros((2, 3072), np.uint8)}, "is no model file of nyang_edu"),
    (np.zeros(3), "is no model file of nyang_edu"),
    (broken(), "it holds weights only.*pass model=YourModel"),
])
def test_files_that_are_no_model_say_so(content, why, tmp_path):
    (tmp_path / "x.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=f"x.pickle.*{why}"):
        nyang_load_model(tmp_path / "x.pickle")


def test_paths_that_are_wrong_say_so(tmp_path):
    net = Linear(2, 3)
    nyang_save_model(net, tmp_path / "net.pickle")
    for model, why in ((Linear(3, 3), r"net.pickle: Linear cannot load.*weight has shape \(3, 2\)"),
                       (NyangFlow(Linear(2, 3)), "missing 0.weight.*unexpected weight")):
        with pytest.raises(ValueError, match=why):
            nyang_load_model(tmp_path / "net.pickle", model=model)
    with pytest.raises(FileNotFoundError, match="there is no file .*absent.pickle"):
        nyang_load_model(tmp_path / "absent.pickle")
    for use in (nyang_load_model, lambda path: nyang_save_model(net, path)):
        with pytest.raises(IsADirectoryError, match="is a folder"):
            use(tmp_path)
    with pytest.raises(ValueError, match="ends in .pickle or .safetensors.*try net.pickle"):
        nyang_save_model(net, tmp_path / "net.pt")
    with pytest.raises(FileNotFoundError, match="does not exist: create it first"):
        nyang_save_model(net, tmp_path / "no" / "net.pickle")
    with pytest.raises(TypeError, match="saves a NyangModel, received dict"):
        nyang_save_model(net.state_dict(), tmp_path / "net.pickle")
    with pytest.raises(TypeError, match=r"training\['net'\] is a Linear"):
        nyang_save_model(net, tmp_path / "net.pickle", training={"net": net})
    with pytest.raises(TypeError, match=r"received Mine: pass model=Mine\("):
        nyang_load_model(tmp_path / "net.pickle", model=Mine)
    with pytest.raises(TypeError, match="note is a text, received int"):
        nyang_save_model(net, tmp_path / "net.pickle", note=3)
    with pytest.raises(UnsafeFileError, match="net.pickle was not loaded: refuses os.system"):
        (tmp_path / "net.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        nyang_load_model(tmp_path / "net.pickle")


def test_safetensors_files_that_are_wrong(tmp_path, monkeypatch):
    safetensors = pytest.importorskip("safetensors.numpy")
    net, path = Linear(2, 3), tmp_path / "net.safetensors"
    with pytest.raises(ValueError, match="save with training as .pickle"):
        nyang_save_model(net, path, training={})
    nyang_save_model(net, path)
    data = path.read_bytes()
    for bad in (b"", data[:5], data[:-3], b"\xff" * 50, data[:8] + b"[" * (len(data) - 8)):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="net.safetensors cannot be read"):
            nyang_load_model(path)
    for words, why in (({"format": "nyang_edu", "version": "7"}, "format version 7"),
                       ({"format": "nyang_edu"}, "is damaged"),
                       ({"format": "nyang_edu", "version": "1", "architecture": "[" * 9000},
                        "cannot be read")):
        path.write_bytes(safetensors.save(net.state_dict(), words))
        with pytest.raises(ValueError, match=why):
            nyang_load_model(path)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match="pip install safetensors.*or use .pickle"):
        nyang_save_model(net, path)


def files_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


class FullDisk:
    """Fails like a disk that is full, or like Ctrl-C."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *_, **__):
        raise self.error


@pytest.mark.parametrize("step, error", [("fsync", OSError(28, "No space left on device")),
                                         ("fsync", KeyboardInterrupt()),
                                         ("replace", PermissionError(13, "Permission denied"))])
def test_a_failed_save_leaves_the_old_file_and_no_other(step, error, tmp_path, monkeypatch):
    nyang_save_model(Linear(2, 3), tmp_path / "net.pickle")
    before = (tmp_path / "net.pickle").read_bytes()
    monkeypatch.setattr(os, step, FullDisk(error))
    with pytest.raises(type(error)):
        nyang_save_model(Linear(2, 3), tmp_path / "net.pickle")
    assert (tmp_path / "net.pickle").read_bytes() == before
    assert files_in(tmp_path) == ["net.pickle"]


def test_a_disk_that_is_full_in_the_middle_of_a_file(tmp_path):
    resource = pytest.importorskip("resource")
    nyang_save_model(Linear(2, 3), tmp_path / "net.pickle")
    before = (tmp_path / "net.pickle").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            nyang_save_model(Linear(300, 300), tmp_path / "net.pickle")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "net.pickle").read_bytes() == before
    assert files_in(tmp_path) == ["net.pickle"]


def test_the_file_behind_a_link_is_replaced_and_modes_are_normal(tmp_path):
    (tmp_path / "real.pickle").write_bytes(b"old")
    (tmp_path / "link.pickle").symlink_to(tmp_path / "real.pickle")
    nyang_save_model(Linear(2, 3), tmp_path / "link.pickle")
    assert (tmp_path / "link.pickle").is_symlink()
    nyang_load_model(tmp_path / "real.pickle")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "real.pickle").stat().st_mode == (tmp_path / "plain").stat().st_mode


KILLED = """
import os, signal, sys, time
import numpy as np
from nyang_edu import Linear
from nyang_edu.utility.save_load import nyang_save_model, read_model_file

path, rng = sys.argv[1], np.random.default_rng(0)
model = Linear(400, 400)

def save(step):
    model.weight.data[...] = step
    nyang_save_model(model, path, training={"step": step})

save(0)
for _ in range(30):
    start = read_model_file(path)["training"]["step"]
    child = os.fork()
    if child == 0:
        for step in range(start + 1, start + 10_000):
            save(step)
        os._exit(1)
    time.sleep(rng.uniform(0.005, 0.06))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    content = read_model_file(path)
    assert content["training"]["step"] >= start
    assert np.all(content["weights"]["weight"] == content["training"]["step"])
print(content["training"]["step"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path):
    path = tmp_path / "net.pickle"
    run = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, text=True,
                         timeout=60)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 3  # it did save in between
    left = [name for name in files_in(tmp_path) if name.endswith(".saving")]
    assert len(left) >= 3  # and was killed in the middle of saving
    for name in left[1:]:
        os.utime(tmp_path / name, (0, 0))
    nyang_save_model(Linear(2, 3), path)
    assert files_in(tmp_path) == [left[0], "net.pickle"]  # a fresh one may be somebody's


def test_replacing_writes_any_bytes(tmp_path):
    with replacing(tmp_path / "x") as file:
        file.write(b"abc")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_bytes() == b"abc"
    with pytest.raises(NotDescribable):
        describe(Mine())
    assert issubclass(nyang_edu.NyangModel, NyangModel)
