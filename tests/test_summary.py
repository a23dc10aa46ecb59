"""The table of a model's costs, against figures worked out by hand."""

import numpy as np
import pytest

from nyang_edu import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Linear,
    MaxPool2d,
    NyangFlow,
    Parallel,
    ReLU,
)
from nyang_edu.model.watch import watch_layers


def net():
    return NyangFlow(Conv2d(3, 8, 3, padding=1, groups=1), BatchNorm2d(8), ReLU(), MaxPool2d(2),
                     NyangFlow(Flatten(), Linear(8 * 16, 10)))


def test_every_figure_of_a_small_net():
    table = net().summary((3, 8, 8))
    conv, norm, _, pool, flatten, linear = table.rows
    assert conv["output"] == (8, 8, 8) and conv["parameters"] == 8 * 3 * 9 + 8
    assert conv["multiply_adds"] == 8 * 3 * 9 * 64 and conv["memory"] == 4 * 8 * 64
    assert norm["parameters"] == 16 and norm["multiply_adds"] == 0
    assert pool["output"] == (8, 4, 4) and flatten["output"] == (128,)
    assert linear["name"] == "4.1" and linear["multiply_adds"] == 1280
    assert table.parameters == 224 + 16 + 1290
    assert table.multiply_adds == 8 * 3 * 9 * 64 + 1280
    assert "multiply-adds" in repr(table) and "1,530" in repr(table)


def test_depth_gathers_the_layers_of_a_part():
    rows = net().summary((3, 8, 8), depth=1).rows
    assert [row["name"] for row in rows] == list("01234")
    assert rows[4]["layer"] == "NyangFlow" and rows[4]["output"] == (10,)
    assert rows[4]["parameters"] == 1290


def test_a_row_of_branches_has_the_joined_shape():
    rows = NyangFlow(Parallel(ReLU(), NyangFlow(Conv2d(3, 5, 1)))).summary((3, 4, 4), depth=1).rows
    assert [(row["name"], row["layer"], row["output"]) for row in rows] == [
        ("0", "Parallel", (8, 4, 4))]
    assert rows[0]["parameters"] == 20 and rows[0]["multiply_adds"] == 15 * 16


class Branches(NyangFlow):
    """Names its layers as a list attribute does."""

    def named_children(self):
        for place, layer in enumerate(self.layers):
            yield f"layers.{place}", layer


def test_a_depth_that_ends_at_a_list_of_layers_has_a_row_without_a_class():
    rows = Branches(Linear(3, 4), ReLU(), Linear(4, 2)).summary((3,), depth=1).rows
    assert [(row["name"], row["layer"], row["parameters"]) for row in rows] == [("layers", "", 26)]


def test_groups_and_transposed_convolutions_count_their_products():
    grouped = NyangFlow(Conv2d(8, 8, 3, padding=1, groups=8, bias=False)).summary((8, 5, 5))
    assert grouped.multiply_adds == 8 * 9 * 25
    up = NyangFlow(ConvTranspose2d(4, 6, 2, stride=2, bias=False)).summary((4, 5, 5))
    assert up.rows[0]["output"] == (6, 10, 10) and up.multiply_adds == 4 * 6 * 4 * 25


def test_a_layer_used_twice_counts_its_parameters_once_and_its_products_twice():
    shared = Linear(6, 6)
    table = NyangFlow(shared, ReLU(), shared).summary((6,))
    assert table.parameters == 42 and table.multiply_adds == 72


def test_the_model_stays_as_it_was():
    model = net().train()
    model.layers[2].eval()
    before = model.state_dict()
    model.summary((3, 8, 8))
    assert model.training and not model.layers[2].training
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(RuntimeError, match="matching forward"):
        model.backward(np.zeros((1, 10), np.float32))


def test_a_wrong_input_shape_speaks_and_leaves_no_trace():
    model = net()
    with pytest.raises(ValueError, match="Conv2d"):
        model.summary((1, 8, 8))
    assert model.training and "forward" not in vars(model.layers[0])


def test_watching_containers_and_beginnings():
    seen = []
    model = NyangFlow(Linear(3, 3), NyangFlow(ReLU()))
    with watch_layers(model, lambda name, *_: seen.append(f"{name} ends"),
                      lambda name, *_: seen.append(f"{name} begins"), containers=True):
        model(np.zeros((2, 3), np.float32))
    assert seen == [" begins", "0 begins", "0 ends", "1 begins", "1.0 begins", "1.0 ends",
                    "1 ends", " ends"]
    assert "forward" not in vars(model)


def test_watching_sees_each_call_in_order():
    seen = []
    model = net().eval()
    with watch_layers(model, lambda name, layer, inputs, out: seen.append(name)):
        model(np.zeros((2, 3, 8, 8), np.float32))
    assert seen == ["0", "1", "2", "3", "4.0", "4.1"]
