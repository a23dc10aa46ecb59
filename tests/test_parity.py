"""The framework against PyTorch, where it is installed: same numbers in, same numbers out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity to check")

from nyang_edu import (  # noqa: E402
    ELU,
    SELU,
    SGD,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    FocalLoss,
    LeakyReLU,
    Linear,
    MSELoss,
    NyangFlow,
    ReLU,
    Sigmoid,
    Softmax,
    Swish,
    Tanh,
)

DTYPES = {np.float64: 1e-12, np.float32: 1e-5}
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 100.0, -100.0])


def as_torch(array):
    return torch.tensor(np.ascontiguousarray(array), requires_grad=array.dtype.kind == "f")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ours, theirs", [
    (ReLU(), torch.nn.ReLU()),
    (LeakyReLU(), torch.nn.LeakyReLU()),
    (LeakyReLU(0.2), torch.nn.LeakyReLU(0.2)),
    (ELU(), torch.nn.ELU()),
    (ELU(1.5), torch.nn.ELU(1.5)),
    (SELU(), torch.nn.SELU()),
    (Sigmoid(), torch.nn.Sigmoid()),
    (Tanh(), torch.nn.Tanh()),
    (Softmax(), torch.nn.Softmax(dim=-1)),
    (Softmax(axis=0), torch.nn.Softmax(dim=0)),
    (Swish(), torch.nn.SiLU()),
], ids=lambda layer: repr(layer) if isinstance(layer, torch.nn.Module) else "")
def test_activations(ours, theirs, dtype):
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=(4, 8)) * 3, SPECIAL[None]]).astype(dtype)
    dout = rng.normal(size=x.shape).astype(dtype)
    x_t = as_torch(x)
    out_t = theirs(x_t)
    out_t.backward(torch.tensor(dout))
    tolerance = DTYPES[dtype]
    np.testing.assert_allclose(ours(x), out_t.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.backward(dout), x_t.grad.numpy(), rtol=tolerance,
                               atol=tolerance)


def test_linear():
    rng = np.random.default_rng(3)
    ours, theirs = Linear(6, 4).to(np.float64), torch.nn.Linear(6, 4).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x, dout = rng.normal(size=(5, 6)), rng.normal(size=(5, 4))
    x_t = as_torch(x)
    theirs(x_t).backward(torch.tensor(dout))
    ours(x)
    np.testing.assert_allclose(ours.backward(dout), x_t.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.bias.grad, theirs.bias.grad.numpy(), rtol=1e-12)


def compare_loss(ours, theirs, pred, target, target_t):
    pred_t = as_torch(pred)
    value_t = theirs(pred_t, target_t)
    value_t.backward()
    assert ours(pred, target) == pytest.approx(value_t.item(), rel=1e-12)
    np.testing.assert_allclose(ours.backward(), pred_t.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_mse():
    rng = np.random.default_rng(4)
    pred, target = rng.normal(size=(2, 5, 3))
    compare_loss(MSELoss(), torch.nn.MSELoss(), pred, target, torch.tensor(target))


def test_bce_with_logits():
    rng = np.random.default_rng(5)
    pred, target = rng.normal(size=(5, 3)) * 10, rng.uniform(size=(5, 3))
    compare_loss(BCEWithLogitsLoss(), torch.nn.BCEWithLogitsLoss(), pred, target,
                 torch.tensor(target))


def test_cross_entropy():
    rng = np.random.default_rng(6)
    pred, labels = rng.normal(size=(7, 4)) * 10, rng.integers(0, 4, 7)
    compare_loss(CrossEntropyLoss(), torch.nn.CrossEntropyLoss(), pred, labels,
                 torch.tensor(labels))
    soft = rng.dirichlet(np.ones(4), 7)
    compare_loss(CrossEntropyLoss(), torch.nn.CrossEntropyLoss(), pred, soft,
                 torch.tensor(soft))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, [0.5, 1.0, 2.0, 0.25]])
def test_focal_loss_against_autograd(gamma, alpha):
    rng = np.random.default_rng(8)
    logits, labels = rng.normal(size=(9, 4)) * 2, rng.integers(0, 4, 9)

    def focal(pred, target):
        log_p = torch.log_softmax(pred, dim=1).gather(1, target[:, None])[:, 0]
        weight = 1.0 if alpha is None else torch.tensor(alpha, dtype=torch.float64)[target]
        return -(weight * (1 - log_p.exp()) ** gamma * log_p).mean()

    compare_loss(FocalLoss(gamma, alpha), focal, logits, labels, torch.tensor(labels))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_over_20_steps(momentum):
    rng = np.random.default_rng(9)
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    theirs = theirs.double()
    ours = NyangFlow(Linear(6, 8), ReLU(), Linear(8, 3)).to(np.float64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    step = SGD(ours.parameters(), lr=0.1, momentum=momentum)
    step_t = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=momentum)
    loss, loss_t = CrossEntropyLoss(), torch.nn.CrossEntropyLoss()
    for _ in range(20):
        x, labels = rng.normal(size=(10, 6)), rng.integers(0, 3, 10)
        step.zero_grad()
        loss(ours(x), labels)
        ours.backward(loss.backward())
        step.step()
        step_t.zero_grad()
        loss_t(theirs(torch.tensor(x)), torch.tensor(labels)).backward()
        step_t.step()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], value.numpy(), rtol=1e-10)
