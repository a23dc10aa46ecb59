"""What the architectures' chapters share: loaders of animals, the recipe, PyTorch, the floors."""

import importlib

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from benchmarks import floors
from nyang_edu import Flatten, Hollow, Linear, NyangFlow
from nyang_edu.data.cats_dogs import cats_dogs_loaders, draw_cats_dogs, mirrored
from nyang_edu.training import versus
from nyang_edu.training.recipe import train_classifier
from nyang_edu.training.versus import recorded_ratio, versus_torch
from nyang_edu.utility.team import thread_count


@pytest.fixture(scope="module")
def drawn():
    return draw_cats_dogs(330, size=16, seed=0)[:2]


def linear(seed=0):
    return NyangFlow(Flatten(), Linear(768, 2, rng=np.random.default_rng(seed)))


def test_loaders_keep_what_is_new_apart(drawn):
    images, labels = drawn
    learn, test = cats_dogs_loaders(images, labels, 300)
    assert len(learn) == 4 and len(test) == 1  # 300 // 64, the rest is dropped
    (x, y), = test
    wanted = (images[300:] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(x.transpose(0, 2, 3, 1), wanted, atol=1e-6)
    np.testing.assert_array_equal(y, labels[300:])
    assert x.dtype == np.float32
    seen = {one.tobytes() for batch, _ in learn for one in [*batch, *batch[..., ::-1]]}
    assert not any(one.tobytes() in seen for one in x)


def test_about_half_of_the_animals_are_mirrored():
    image, rng = np.arange(6.0).reshape(1, 2, 3), np.random.default_rng(0)
    flipped = [np.array_equal(mirrored(image, rng), image[:, :, ::-1]) for _ in range(400)]
    assert 150 < sum(flipped) < 250


def test_the_recipe_rises_falls_and_learns(drawn):
    history = train_classifier(linear(), *cats_dogs_loaders(*drawn, 300), lr=0.002, epochs=10,
                               plot=False, progress=False)
    rates = history["lr"]
    assert rates[0] < 0.002 and max(rates) <= 0.002 and rates[-1] < 0.1 * max(rates)
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_one_epoch_of_one_batch_is_enough_for_the_recipe(drawn):
    images, labels = drawn
    learn, test = cats_dogs_loaders(images[:80], labels[:80], 64)
    history = train_classifier(linear(), learn, test, 0.01, 1, plot=False, progress=False)
    assert len(history["lr"]) == 1


def test_versus_torch_compares_weights_losses_and_times():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 3, 16, 16)).astype(np.float32), np.arange(8) % 2
    theirs = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
    before = thread_count(), torch.get_num_threads()
    difference, mine, other = versus_torch(linear(), theirs, x, y)
    assert difference < 1e-5 and mine > 0 and other > 0
    assert (thread_count(), torch.get_num_threads()) == before
    np.testing.assert_array_equal(theirs[1].weight.detach(), linear()[1].weight.data)
    turned = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2), torch.nn.Tanh())
    assert versus_torch(linear(), turned, x, y)[0] > 1e-3


def test_versus_torch_gives_blas_one_thread_too():
    torch = pytest.importorskip("torch")
    seen = []

    class Watched(Flatten):
        def forward(self, x):
            seen.extend(library["num_threads"] for library in threadpool_info())
            return super().forward(x)

    model = NyangFlow(Watched(), Linear(768, 2, rng=np.random.default_rng(0)))
    theirs = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
    versus_torch(model, theirs, np.ones((8, 3, 16, 16), np.float32), np.arange(8) % 2)
    assert set(seen) == {1}


def test_the_recorded_ratio_is_quoted_where_there_is_one(monkeypatch, tmp_path):
    assert "median" in recorded_ratio("resnet20")
    monkeypatch.setattr(versus, "RESULTS", tmp_path / "models.json")
    assert recorded_ratio("resnet20") == "no benchmark is recorded here"


def test_hollow_draws_zeros_of_any_shape():
    rng = Hollow()
    for drawn in (rng.normal(0, 2, (2, 3)), rng.uniform(-1, 1, (2, 3)), rng.random((2, 3))):
        assert drawn.shape == (2, 3) and drawn.dtype == np.float32 and not drawn.any()


def test_every_floor_is_found_and_takes_a_seed():
    for place, _ in floors.RUNS.values():
        module, function = place.split(":")
        run = getattr(importlib.import_module(module), function)
        assert run.__code__.co_varnames[0] == "seed" and run.__doc__


def test_a_floor_that_is_missed_fails_the_run(monkeypatch, capsys):
    pretend(monkeypatch, "high", "low")
    assert floors.main(["high", "--seed", "3"]) == 0
    assert floors.main([]) == 1
    printed = capsys.readouterr().out
    assert "high         0.9700, floor 0.9500" in printed and "seed 3: met" in printed
    assert "low          0.9400, floor 0.9500" in printed and "NOT met" in printed
    with pytest.raises(SystemExit):
        floors.main(["unknown"])


def test_a_run_without_its_data_is_left_out_and_says_so(monkeypatch, capsys):
    pretend(monkeypatch, "bare", "high")
    assert floors.main([]) == 0
    assert "bare         left out: install it" in capsys.readouterr().out


def pretend(monkeypatch, *names):
    """Let these be the runs, and nothing be written down."""
    runs = {name: (f"{__name__}:{name}", "what it measures") for name in names}
    monkeypatch.setattr(floors, "RUNS", runs)
    monkeypatch.setattr(floors, "keep", lambda name, record: None)


def bare(seed):
    """Find no data."""
    raise FileNotFoundError("install it")


def high(seed):
    """Reach more than the floor."""
    return 0.97, 0.95


def low(seed):
    """Stay below the floor."""
    return 0.94, 0.95
