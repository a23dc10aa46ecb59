"""The loader: batches depend on numbers only, not on threads; nothing is lost or left behind."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nyang_edu.data.cats_dogs import write_cats_dogs
from nyang_edu.data.dataset import ArrayDataset, NyangNyangDataset
from nyang_edu.data.loader import NyangDataLoader, epoch_order, prefetch_map, sample_rng
from nyang_edu.data.ready import nyangnyang_dataset_ready

RATIO = (0.8, 0.1, 0.1)


def add_noise(x, rng):
    return x + rng.normal(size=np.shape(x)).astype(np.float32)


def numbers(count=11):
    return ArrayDataset(np.arange(2.0 * count, dtype=np.float32).reshape(count, 2),
                        np.arange(count), add_noise)


def content(loader, epochs=1):
    return [(x.tobytes(), x.shape, y.tobytes()) for _ in range(epochs) for x, y in loader]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "animals"
    write_cats_dogs(root, 40, size=32, seed=0)
    return root


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_batches_are_the_same_whatever_the_number_of_workers(workers):
    want = content(NyangDataLoader(numbers(), 3, shuffle=True, seed=5), epochs=3)
    got = content(NyangDataLoader(numbers(), 3, shuffle=True, seed=5, workers=workers), epochs=3)
    assert got == want and len(set(want)) == 12


@pytest.mark.parametrize("workers", [0, 2])
def test_augmented_pixels_are_the_same_whatever_the_number_of_workers(folder, workers):
    def batches(workers):
        loader = nyangnyang_dataset_ready(folder, ["cat", "dog"], RATIO, 5, 24, seed=1,
                                          workers=workers)[0]
        return content(loader, epochs=2)

    assert batches(workers) == batches(4)


@given(st.integers(1, 30), st.integers(1, 12), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_each_sample_once(count, size, shuffle, drop_last):
    loader = NyangDataLoader(ArrayDataset(np.arange(count), np.arange(count)), size,
                             shuffle=shuffle, drop_last=drop_last)
    batches = [x for x, _ in loader]
    assert len(batches) == len(loader)
    seen = np.concatenate(batches) if batches else np.array([], int)
    assert len(seen) == (count // size * size if drop_last else count) == len(set(seen.tolist()))
    assert all(len(batch) == size for batch in batches[:-1])
    if not shuffle:
        assert np.array_equal(seen, np.arange(len(seen)))


def test_orders_and_generators_differ_for_all_numbers():
    orders = {tuple(epoch_order(40, e, s)) for e in range(5) for s in range(5)}
    draws = {sample_rng(s, e, i).random() for s in range(4) for e in range(4) for i in range(9)}
    draws |= {np.random.default_rng([s, e]).random() for s in range(4) for e in range(4)}
    assert len(orders) == 25 and len(draws) == 4 * 4 * 9 + 16


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_sees_the_very_same_batches(workers):
    loader = NyangDataLoader(numbers(), 4, shuffle=True, seed=8, workers=workers)
    content(loader, epochs=2)
    state = loader.state_dict()
    assert all(type(value) in (int, bool) for value in state.values())
    want = content(loader, epochs=2)
    resumed = NyangDataLoader(numbers(), 4, shuffle=True, workers=2 - workers)
    resumed.load_state_dict(state)
    assert content(resumed, epochs=2) == want


def test_a_state_that_does_not_fit_is_refused():
    loader = NyangDataLoader(numbers(), 4)
    state = {**loader.state_dict(), "batch_size": 5, "colour": 1}
    del state["epoch"]
    with pytest.raises(ValueError, match="epoch is missing.*colour is unknown.*batch_size is 5"):
        loader.load_state_dict(state)


def test_a_pass_that_was_broken_off_is_not_repeated():
    loader, whole = (NyangDataLoader(numbers(), 4, shuffle=True) for _ in range(2))
    for _ in loader:
        break
    epochs = content(whole, epochs=2)
    assert content(loader) == epochs[3:] and loader.epoch == 2


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_names_the_sample(workers):
    def fail_at_seven(x, rng):
        if x[0] == 14:
            raise ZeroDivisionError("no such thing")
        return x

    data = ArrayDataset(numbers().x, numbers().y, fail_at_seven)
    seen = []
    with pytest.raises(RuntimeError, match="sample 7 of ArrayDataset.*ZeroDivisionError: no such"):
        for x, _ in NyangDataLoader(data, 3, workers=workers):
            seen.append(len(x))
    assert seen == [3, 3] and threads_end()


def test_a_file_that_breaks_later_is_named(tmp_path):
    write_cats_dogs(tmp_path / "a", 12, size=32, seed=0)
    data = NyangNyangDataset(tmp_path / "a", ["cat", "dog"], RATIO, "train")
    path = data.paths[4][0]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RuntimeError, match=path.name):
        list(NyangDataLoader(data, 2, workers=2))


def threads_end():
    return [t.name for t in threading.enumerate() if "ThreadPoolExecutor" in t.name] == []


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_early_break_leaves_no_thread_behind(workers):
    before = set(threading.enumerate())
    for _ in NyangDataLoader(numbers(50), 2, workers=workers):
        assert set(threading.enumerate()) > before
        break
    assert set(threading.enumerate()) <= before


def test_workers_run_ahead_but_not_far():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    stream = prefetch_map(lambda item: item, endless(), workers=3, ahead=4)
    got = []
    for item in stream:
        got.append(item)
        assert len(taken) - len(got) <= 5
        if len(got) == 20:
            break
    stream.close()
    assert got == list(range(20)) and threads_end()


def test_the_consumer_gets_the_order_of_the_items():
    def slow_first(item):
        time.sleep(0.03 if item % 3 == 0 else 0)
        return item

    assert list(prefetch_map(slow_first, range(12), workers=4, ahead=6)) == list(range(12))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 1.5}, {"workers": -1},
                                   {"prefetch": 0}, {"seed": -1}])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a whole number"):
        NyangDataLoader(numbers(), **{"batch_size": 2, **wrong})
