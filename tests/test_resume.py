"""A training run that is killed, interrupted or resumed ends as if nothing had happened."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from training_run import EPOCHS, Countdown, Shrink, Shuffled, left_in, network, run, same, samples

from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.train import nyang_train
from nyang_edu.utility.save_load import read_model_file

SCRIPT = Path(__file__).with_name("training_run.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped: its files, its model, its history."""
    folder = tmp_path_factory.mktemp("whole")
    model, history = run(folder)
    return left_in(folder), model.state_dict(), history


def test_one_seed_gives_one_history_and_one_model(whole, tmp_path):
    model, history = run(tmp_path)
    assert history == whole[2] and len(history) == EPOCHS
    assert same(model.state_dict(), whole[1]) and same(left_in(tmp_path), whole[0])
    other, other_history = run(None, seed=1)
    assert other_history != history and not same(other.state_dict(), whole[1])


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_process_is_resumed_to_the_last_bit(seed, whole, tmp_path):
    rng, kills, done = np.random.default_rng(seed), 0, None
    while done != 0:
        place = rng.integers(1, 30) if kills < 5 else 10**6
        done = subprocess.run([sys.executable, SCRIPT, tmp_path, str(place)]).returncode
        kills += done != 0
        assert done in (0, -9)
    assert kills >= 2 and same(left_in(tmp_path), whole[0])


class Dead(BaseException):
    """Stands for SIGKILL inside of this process: nothing catches it, no file is closed well."""


def test_a_death_at_every_batch_and_at_every_step_of_writing(tmp_path, monkeypatch):
    def die():
        raise Dead

    def cut_off(folder, place):
        tick = Countdown(place, die)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", tick.around(os.fsync))
            patch.setattr(os, "replace", tick.around(os.replace))
            run(folder, tick=tick, epochs=3)
        return tick.left

    calls = -cut_off(tmp_path / "whole", 0)
    wanted = left_in(tmp_path / "whole")
    for place in range(1, calls + 1):
        folder = tmp_path / str(place)
        with pytest.raises(Dead):
            cut_off(folder, place)
        started = (folder / "net.last.pickle").exists()
        run(folder, seed=9 if started else 0, epochs=3, resume=True)
        assert same(left_in(folder), wanted), place
    assert calls > 3 * 6


class Stop:
    """Raise Ctrl-C at the n-th line that runs in the training's own files."""

    files = ("train.py", "checkpoint.py", "history.py", "loop.py", "save_load.py", "loggers.py")

    def __init__(self, line):
        self.left = line

    def __call__(self, frame, event, given):
        if Path(frame.f_code.co_filename).name not in self.files:
            return None
        self.left -= event == "line"
        if self.left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


def stopped_at(line, folder):
    """Run with a Ctrl-C at a line; return the history, None where it came before or after go()."""
    before = sys.gettrace()
    sys.settrace(Stop(line))
    try:
        return run(folder, epochs=3)
    except KeyboardInterrupt:
        return None, None
    finally:
        sys.settrace(before)


def test_ctrl_c_anywhere_leaves_a_checkpoint_and_a_history(tmp_path):
    count = Stop(-1)
    before = sys.gettrace()
    sys.settrace(count)
    run(tmp_path / "whole", epochs=3)
    sys.settrace(before)
    wanted, caught = left_in(tmp_path / "whole"), 0
    for place in np.random.default_rng(0).integers(1, -count.left, 15):
        folder = tmp_path / str(place)
        model, history = stopped_at(int(place), folder)
        if history is not None and history.stopped == "interrupted":
            caught += 1
            kept = read_model_file(folder / "net.last.pickle")
            lines = (folder / "net.csv").read_text("utf-8").splitlines()
            assert kept["training"]["history"]["rows"] == history.rows
            assert len(lines) == (len(history) + 1 if len(history) else 0)
            assert not model.training
            assert not any(layer.__dict__.get("_stack") for _, layer in model.named_layers())
        started = (folder / "net.last.pickle").exists()
        run(folder, seed=9 if started else 0, epochs=3, resume=True)
        assert same(left_in(folder), wanted), place
    assert caught > 6


def test_resume_goes_on_and_stops_where_all_is_done(whole, tmp_path):
    run(tmp_path, epochs=2, resume=True)  # no checkpoint yet: from the start
    model, history = run(tmp_path, seed=5, resume=True)
    assert history == whole[2] and same(left_in(tmp_path), whole[0])

    def never():
        raise AssertionError("a batch was drawn although all epochs are done")

    again, history = run(tmp_path, seed=6, resume=True, tick=never)
    assert history == whole[2] and same(again.state_dict(), model.state_dict())


def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(tmp_path):
    run(tmp_path, epochs=1)
    data, path = Shuffled(*samples()), tmp_path / "net.pickle"

    def resume(model, optimizer, scheduler, valid=data):
        before = model.state_dict()
        with pytest.raises(ValueError, match="cannot resume from .*net.last.pickle") as caught:
            nyang_train(model, optimizer, CrossEntropyLoss(), data, valid, 3, save_path=path,
                        scheduler=scheduler, resume=True)
        assert same(model.state_dict(), before)
        return str(caught.value)

    wide, model = network(width=9), network()
    sgd = SGD(wide.parameters(), 0.1, momentum=0.9)
    assert "0.weight" in resume(wide, sgd, Shrink(sgd))

    class Other(SGD):
        pass

    other, sgd = Other(model.parameters(), 0.1, momentum=0.9), SGD(model.parameters(), 0.1)
    assert "optimizer SGD, and this run has Other" in resume(model, other, Shrink(other))
    assert "scheduler Shrink, and this run has None" in resume(model, sgd, None)
    model, smaller = network(4), Shuffled(*samples(), size=5)  # all else fits
    sgd = SGD(model.parameters(), 0.1, momentum=0.9)
    assert "batches of 8 there and of 5 here" in resume(model, sgd, Shrink(sgd), smaller)
    (tmp_path / "net.last.pickle").write_bytes(path.read_bytes())
    assert "no state of a training run" in resume(model, sgd, None)
    (tmp_path / "net.last.pickle").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError):
        run(tmp_path, resume=True)


@pytest.mark.parametrize("kind", ["steps", "plateau"])
def test_the_courses_own_parts_resume_to_the_last_bit_and_leave_no_thread(kind, tmp_path):
    from nyang_edu.data.dataset import ArrayDataset
    from nyang_edu.data.loader import NyangDataLoader
    from nyang_edu.training.adaptive import AdamW
    from nyang_edu.training.scheduler import CosineDecay, ReduceLROnPlateau, WarmUp

    class Interrupting(ArrayDataset):
        def sample(self, index, rng=None):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().sample(index, rng)

    def trained(folder, epochs, seed=0, stop=-1, **settings):
        model = network(seed)
        optimizer = AdamW(model.parameters(), 0.05 if kind == "steps" else 5.0)
        if kind == "steps":
            after = CosineDecay(optimizer, 20, every="step")
            scheduler = WarmUp(optimizer, 5, after=after, every="step")
        else:
            scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        data = Interrupting(*samples())
        data.left = stop
        loader = NyangDataLoader(data, 8, shuffle=True, workers=2, seed=3)
        valid = NyangDataLoader(ArrayDataset(*samples(20, 1)), 8)
        history = nyang_train(model, optimizer, CrossEntropyLoss(), loader, valid, epochs,
                              scheduler=scheduler, save_path=folder / "net.pickle", **settings)
        assert [one.name for one in threading.enumerate()] == threads
        return history

    threads = [one.name for one in threading.enumerate()]
    whole = trained(tmp_path / "whole", 5)
    assert trained(tmp_path / "cut", 5, stop=100).stopped == "interrupted"
    assert trained(tmp_path / "cut", 5, seed=5, resume=True) == whole
    assert same(left_in(tmp_path / "cut"), left_in(tmp_path / "whole"))
    assert len(set(whole["lr"])) > 1
