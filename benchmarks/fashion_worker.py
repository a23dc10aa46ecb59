"""One side of ``benchmarks fashion`` in its own process: a network, its data, its epochs.

It answers one JSON line for each that comes in, like benchmarks.worker.
"""

import json
import math
import sys
import time

import numpy as np

from benchmarks.models import lenet5
from benchmarks.worker import prepare, waited

RATE, MOMENTUM = 0.02, 0.9


def two_blocks(kit):
    """Two blocks of convolution and pooling, two linear layers: 421,738 parameters."""
    return kit.flow(
        kit.conv(1, 32, 3, padding=1, first=True), kit.norm(32), kit.relu(), kit.maxpool(2),
        kit.conv(32, 64, 3, padding=1), kit.norm(64), kit.relu(), kit.maxpool(2),
        kit.flatten(), kit.linear(64 * 7 * 7, 128), kit.relu(), kit.linear(128, 10),
    )


NETWORKS = {"two_blocks": two_blocks, "lenet5": lenet5}


def initialise(named_arrays, seed):
    """Fill weights by He's rule and biases with 0: the same numbers for both frameworks."""
    rng = np.random.default_rng(seed)
    for name, array in named_arrays:
        if array.ndim > 1:
            fan_in = math.prod(array.shape[1:])
            array[...] = rng.standard_normal(array.shape) * math.sqrt(2 / fan_in)
        elif name.endswith("bias"):
            array[...] = 0


class Numpy:
    """The side of this framework."""

    def __init__(self, network, seed):
        from benchmarks.models import numpy_kit
        from nyang_edu import SGD, CrossEntropyLoss

        self.model, self.loss = NETWORKS[network](numpy_kit()), CrossEntropyLoss()
        initialise(((n, p.data) for n, p in self.model.named_parameters()), seed)
        self.optimizer = SGD(self.model.parameters(), RATE, MOMENTUM)

    def step(self, x, y, rate):
        """Train on one batch; return the loss."""
        self.optimizer.lr = rate
        self.optimizer.zero_grad()
        value = self.loss.forward(self.model(x), y)
        self.model.backward(self.loss.backward())
        self.optimizer.step()
        return value

    def predict(self, x):
        """Return the class of each image."""
        from nyang_edu import no_memory

        self.model.eval()
        with no_memory():
            out = self.model(x)
        self.model.train()
        return out.argmax(axis=1)


class Torch:
    """The side of PyTorch."""

    def __init__(self, network, seed):
        import torch

        from benchmarks.models import torch_kit

        self.torch, self.model = torch, NETWORKS[network](torch_kit())
        initialise(((n, p.detach().numpy()) for n, p in self.model.named_parameters()), seed)
        self.optimizer = torch.optim.SGD(self.model.parameters(), RATE, MOMENTUM)

    def step(self, x, y, rate):
        """Train on one batch; return the loss."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        out = self.model(self.torch.from_numpy(x))
        loss = self.torch.nn.functional.cross_entropy(out, self.torch.from_numpy(y))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def predict(self, x):
        """Return the class of each image."""
        self.model.eval()
        with self.torch.no_grad():
            out = self.model(self.torch.from_numpy(x))
        self.model.train()
        return out.numpy().argmax(axis=1)


class Training:
    """A network, the real data, and how far the training is."""

    def __init__(self, side, folder, network, images, batch, epochs, seed):
        self.side = (Torch if side == "torch" else Numpy)(network, seed)
        self.train, self.test = read(folder, images)
        self.batch, self.seed, self.done = batch, seed, 0
        self.steps = epochs * math.ceil(len(self.train[0]) / batch)

    def epoch(self, number):
        """Train for an epoch, then test; return speed, mean loss and test accuracy.

        "waited" is the time that threads stood ready without a core, as a share of the seconds.
        """
        x, y = self.train
        order = np.random.default_rng((self.seed, number)).permutation(len(x))
        begin, queue, losses = time.perf_counter(), waited(), []
        for start in range(0, len(x), self.batch):
            chosen = order[start:start + self.batch]
            rate = RATE * (1 + math.cos(math.pi * self.done / self.steps)) / 2
            losses.append(float(self.side.step(x[chosen], y[chosen], rate)))
            self.done += 1
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "rate": len(x) / seconds, "loss": float(np.mean(losses)),
                "waited": (waited() - queue) / seconds, "accuracy": self.accuracy()}

    def accuracy(self, batch=500):
        """Return the share of the test images that is classified rightly."""
        x, y = self.test
        parts = [self.side.predict(x[i:i + batch]) for i in range(0, len(x), batch)]
        return float((np.concatenate(parts) == y).mean())


def read(folder, images):
    """Read both splits: x (N, 1, 28, 28) float32, standardised by the training set; y (N,)."""
    from nyang_edu.data.idx import load_idx_pair

    pairs = [load_idx_pair(folder, split) for split in ("train", "t10k")]
    mean, spread = pairs[0][0].mean(), pairs[0][0].std()
    x, y = zip(*[(((x - mean) / spread).astype(np.float32)[:, None], y) for x, y in pairs])
    return (x[0][:images], y[0][:images]), (x[1], y[1])


def main():
    """Answer "train" with a description of this side, and "epoch" with what it reached."""
    side, threads = sys.argv[1], int(sys.argv[2])
    out, sys.stdout = sys.stdout, sys.stderr
    about, training = prepare(side, threads), None
    for line in sys.stdin:
        order = json.loads(line)
        if order.pop("op") == "train":
            training, answer = Training(side, **order), {"about": about}
        else:
            answer = training.epoch(order["number"])
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
