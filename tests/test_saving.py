"""A model that is saved comes back the same; a file that cannot be right says what is wrong."""

import copy
import json
import pickle
from importlib.util import find_spec

import numpy as np
import pytest
from test_contract import LAYERS

from nyang_edu import (
    SGD,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    NyangFlow,
    NyangModel,
    Parameter,
    ReLU,
    Tanh,
    he_normal,
    init_for,
    uniform_fan_in,
)
from nyang_edu.utility import save_load
from nyang_edu.utility.architecture import describe, rebuild
from nyang_edu.utility.save_load import (
    load_random_state,
    nyang_load_model,
    nyang_save_model,
    random_state,
    read_model_file,
)

SUFFIXES = (".pickle", ".safetensors") if find_spec("safetensors") else (".pickle",)
safe = pytest.mark.skipif(len(SUFFIXES) < 2, reason="safetensors is not installed")


def rng():
    return np.random.default_rng(3)


def small():
    """Return a small convolutional network and its input."""
    shared = Linear(6, 6, rng=rng())
    net = NyangFlow(Conv2d(3, 4, (3, 2), padding=1, rng=rng(), init=he_normal), BatchNorm2d(4),
                    ReLU(), Flatten(), Linear(4 * 5 * 6, 6, rng=rng()), shared, Tanh(), shared)
    x = rng().normal(size=(4, 3, 5, 5)).astype(np.float32)
    net(x)  # moves the running statistics
    return net, x


def perturbed(layer):
    for parameter in layer.parameters():
        parameter.data = parameter.data + rng().uniform(0.1, 0.4, parameter.data.shape).astype(
            parameter.data.dtype)
    return layer


class Mine(NyangModel):
    """A student's own model."""

    def __init__(self, size=3):
        self.linear = Linear(size, 2, rng=rng())

    def forward(self, x):
        return self.linear.forward(x)


def triple(shape, rng):
    return np.full(shape, 3.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("make, shape", LAYERS.values(), ids=LAYERS.keys())
def test_every_layer_is_built_again_and_computes_the_same(make, shape, suffix, tmp_path):
    layer, path = perturbed(make()), tmp_path / f"layer{suffix}"
    x = rng().normal(size=shape).astype(np.float32)
    layer(x)
    nyang_save_model(layer, path)
    loaded = nyang_load_model(path)
    assert type(loaded) is type(layer) and loaded is not layer
    assert np.array_equal(layer.eval()(x), loaded.eval()(x))
    for (name, a), (other, b) in zip(layer.named_arrays(), loaded.named_arrays(), strict=True):
        assert name == other and a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_network_round_trip(suffix, tmp_path):
    net, x = small()
    nyang_save_model(net, tmp_path / f"net{suffix}", note="Katze")
    loaded = nyang_load_model(str(tmp_path / f"net{suffix}"))
    assert loaded[5] is loaded[7] and list(loaded.state_dict()) == list(net.state_dict())
    assert np.array_equal(net.eval()(x), loaded.eval()(x))
    assert read_model_file(tmp_path / f"net{suffix}")["note"] == "Katze"
    assert loaded[0].weight.data.flags.writeable
    other = nyang_load_model(tmp_path / f"net{suffix}", model=small()[0])
    assert np.array_equal(net(x), other.eval()(x))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_float64_stays_float64(suffix, tmp_path):
    net, x = small()
    net.to(np.float64).eval()
    nyang_save_model(net, tmp_path / f"net{suffix}")
    loaded = nyang_load_model(tmp_path / f"net{suffix}").eval()
    assert loaded(x.astype(np.float64)).dtype == np.float64
    assert np.array_equal(loaded(x.astype(np.float64)), net(x.astype(np.float64)))


def test_the_training_state_comes_back(tmp_path):
    net, _ = small()
    optimizer = SGD(net.parameters(), 0.1, momentum=0.9)
    optimizer.step()
    training = {"optimizer": optimizer.state_dict(), "epoch": 3, "losses": [0.5, 0.25],
                "rng": rng().bit_generator.state, "done": None}
    nyang_save_model(net, tmp_path / "net.pickle", training=training)
    back = read_model_file(tmp_path / "net.pickle")["training"]
    assert {k: v for k, v in back.items() if k != "optimizer"} == {
        k: v for k, v in training.items() if k != "optimizer"}
    SGD(net.parameters(), 0.3, momentum=0.9).load_state_dict(back["optimizer"])


def test_plain_pickle_reads_the_file_too(tmp_path):
    net, _ = small()
    nyang_save_model(net, tmp_path / "net.pickle")
    raw = pickle.loads((tmp_path / "net.pickle").read_bytes())
    assert (raw["format"], raw["version"], raw["class"]) == ("nyang_edu", 1, "NyangFlow")
    assert raw["architecture"]["args"][2] == {"class": "ReLU", "args": [], "kwargs": {}}
    assert json.loads(json.dumps(raw["architecture"])) == raw["architecture"]


def test_building_draws_no_random_numbers(tmp_path, monkeypatch):
    net = NyangFlow(Linear(4, 4), Dropout(0.5, rng=rng()), Conv2d(1, 2, 3, init=uniform_fan_in))
    nyang_save_model(net, tmp_path / "net.pickle")
    loaded = nyang_load_model(tmp_path / "net.pickle")
    assert type(loaded[1].rng) is np.random.Generator
    zeros = rebuild(describe(net), 1000)
    assert not zeros[0].weight.data.any() and not zeros[2].weight.data.any()


def test_a_model_remembers_its_arguments_and_shows_nothing_of_it():
    net, x = small()
    assert all("made" not in name for name, _ in net.named_layers())
    twin = copy.deepcopy(net)
    assert describe(twin) == describe(net) and twin._made_with[0][5] is twin[5] is twin[7]
    twin[4].weight.data += 1
    assert not np.array_equal(twin.eval()(x), net.eval()(x))
    again = pickle.loads(pickle.dumps(net))
    assert describe(again) == describe(net)
    with pytest.raises(TypeError, match=r"takes no arguments, received inplace: write ReLU"):
        ReLU(inplace=True)


def appended(net):
    net.layers.append(ReLU())


def exchanged(net):
    net.layers[2] = Tanh()


def reset(net):
    net[1].momentum = 0.3


def tied(net):
    net[7].weight = net[4].weight = Parameter(np.zeros((6, 6), np.float32))


@pytest.mark.parametrize("change", [appended, exchanged, reset, tied])
def test_a_model_changed_after_it_was_made_is_noticed(change, tmp_path):
    net, _ = small()
    change(net)
    nyang_save_model(net, tmp_path / "net.pickle")
    with pytest.raises(ValueError, match=r"changed after it was made.*pass model=NyangFlow\("):
        nyang_load_model(tmp_path / "net.pickle")
    other = small()[0]
    change(other)
    nyang_load_model(tmp_path / "net.pickle", model=other)


@pytest.mark.parametrize("make, why", [
    (Mine, r"Mine is a class of your own\): pass model=Mine\("),
    (lambda: NyangFlow(Mine(), ReLU()), "Mine is a class of your own"),
    (lambda: Linear(2, 3, init=triple), "an argument is triple"),
    (lambda: Linear(2, 3, init=lambda shape, rng: np.zeros(shape)), "an argument is <lambda>"),
])
def test_what_only_its_author_can_build(make, why, tmp_path):
    model = make()
    nyang_save_model(model, tmp_path / "mine.pickle")
    with pytest.raises(ValueError, match=why):
        nyang_load_model(tmp_path / "mine.pickle")
    loaded = nyang_load_model(tmp_path / "mine.pickle", model=make())
    for a, b in zip(loaded.parameters(), model.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_arguments_of_all_plain_kinds():
    net = NyangFlow(Conv2d(np.int64(2), 4, [3, 3], stride=(1, 2), padding="valid", bias=False,
                           rng=rng(), init=init_for(ReLU)))
    assert rebuild(json.loads(json.dumps(describe(net))), 1000)[0].settings == net[0].settings


@safe
def test_safetensors_and_pytorch_both_ways(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4),
                                 torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(100, 5))
    x = rng().normal(size=(6, 3, 5, 5)).astype(np.float32)
    theirs(torch.tensor(x))  # moves the running statistics
    files.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    with pytest.raises(ValueError, match=r"holds weights only\): pass model=YourModel"):
        nyang_load_model(tmp_path / "theirs.safetensors")
    ours = NyangFlow(Conv2d(3, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Flatten(), Linear(100, 5))
    nyang_load_model(tmp_path / "theirs.safetensors", model=ours)
    wanted = theirs.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours.eval()(x), wanted, rtol=1e-4, atol=1e-5)

    ours.train()(x)
    perturbed(ours)
    nyang_save_model(ours, tmp_path / "ours.safetensors")
    state = files.load_file(tmp_path / "ours.safetensors")
    assert state["0.weight"].dtype == torch.float32
    theirs.load_state_dict(state)  # strict: every name and shape
    wanted = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours.eval()(x), wanted, rtol=1e-4, atol=1e-5)


def draws(net, x):
    return [net.forward(x).copy() for _ in range(3)]


def test_random_states_continue_and_stay_shared(tmp_path):
    both = rng()
    net = NyangFlow(Dropout(0.5, rng=both), ReLU(), Dropout(0.3, rng=both), Dropout(0.2, rng=rng()))
    x = np.ones((4, 50), np.float32)
    net(x)
    state = random_state(net)
    assert list(state) == ["0.rng", "2.rng", "3.rng"] and state["2.rng"] == {"same": "0.rng"}
    nyang_save_model(net, tmp_path / "net.pickle", training={"random": state})
    wanted = draws(net, x)
    loaded = nyang_load_model(tmp_path / "net.pickle")
    load_random_state(loaded, read_model_file(tmp_path / "net.pickle")["training"]["random"])
    assert loaded[0].rng is loaded[2].rng is not loaded[3].rng
    assert np.array_equal(draws(loaded, x), wanted)
    load_random_state(net, state)
    assert net[0].rng is both and np.array_equal(draws(net, x), wanted)
    apart = NyangFlow(Dropout(0.5, rng=rng()), ReLU(), Dropout(0.3, rng=rng()), Dropout(0.2))
    state = random_state(apart)
    load_random_state(net, state)  # what was shared draws apart now
    assert net[0].rng is both is not net[2].rng and len({id(net[i].rng) for i in (0, 2, 3)}) == 3
    assert random_state(net) == state


def test_random_states_of_other_generators():
    for kind in save_load.GENERATORS:
        net = NyangFlow(Dropout(rng=np.random.Generator(getattr(np.random, kind)(5))))
        other = NyangFlow(Dropout(rng=rng()))
        load_random_state(other, random_state(net))
        assert np.array_equal(other[0].rng.random(9), net[0].rng.random(9))
    with pytest.raises(ValueError, match="no random generator 'RandomState'"):
        load_random_state(net, {"0.rng": {"bit_generator": "RandomState"}})
    for bad in ({"same": "5.rng"}, 3, {"bit_generator": "PCG64"},
                {"bit_generator": "PCG64", "state": 1}):
        with pytest.raises(ValueError, match="random state of 0.rng is damaged"):
            load_random_state(other, {"0.rng": bad})
    with pytest.raises(ValueError, match=r"belongs to \['1.rng'\].*generators in \['0.rng'\]"):
        load_random_state(net, {"1.rng": {}})
    assert random_state(Linear(2, 2)) == {}
