"""The U-Net's full runs: drawn tiles, real cell nuclei, and a real tile it has never seen.

The two real images come out of packages, see real_masks.py; without them the runs are skipped.
"""

import numpy as np

from benchmarks import real_masks
from nyang_edu.data.satellite import draw_satellite
from nyang_edu.evaluation.segmentation import mean_dice, mean_iou
from nyang_edu.model.core import no_memory
from nyang_edu.model.zoo.unet import unet
from nyang_edu.training.adaptive import AdamW
from nyang_edu.training.loss import BCEWithLogitsLoss
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.segmentation_loss import DeepSupervision, DiceLoss, SumLoss

FLOOR, NUCLEI_FLOOR, BRIGHTNESS = 0.90, 0.85, 0.55  # mean Dice; brightness has to stay below
SIDE = 64


def turned(x, y, rng):
    """Turn and mirror a batch (N, C, H, W) and its masks (N, 1, H, W) alike."""
    turns, flip = int(rng.integers(4)), 1 if rng.random() < 0.5 else -1
    return [np.ascontiguousarray(np.rot90(a, turns, (2, 3))[..., ::flip]) for a in (x, y)]


def train(model, draw, steps, rng, lr=3e-3):
    """Train with BCE and Dice at all depths; draw(rng) gives a batch. Print ten lines."""
    loss = DeepSupervision(SumLoss(BCEWithLogitsLoss(), DiceLoss()))
    optimizer = AdamW(model.parameters(), lr=lr)
    rise = max(1, steps // 10)
    schedule = WarmUp(optimizer, rise, CosineDecay(optimizer, steps - rise, every="step"),
                      every="step")
    losses = []
    for step in range(1, steps + 1):
        x, y = turned(*draw(rng), rng)
        optimizer.zero_grad()
        losses.append(loss(model(x), y))
        model.backward(loss.backward())
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 10) == 0:
            print(f"  step {step:5d}  loss {np.mean(losses[-steps // 10:]):.4f}", flush=True)
    return model.eval()


def logits(model, x, batch=25):
    """Average the logits over four turns of each image: (N, H, W)."""
    total = 0
    for k in range(4):
        fed = np.ascontiguousarray(np.rot90(x, k, (2, 3)))
        with no_memory():
            out = np.concatenate([model(fed[i:i + batch])[:, 0] for i in range(0, len(x), batch)])
        total = total + np.rot90(out, -k, (1, 2))
    return total / 4


def best_threshold(values, masks, score):
    """Score the best of 51 thresholds on values (N, H, W), chosen on these very images."""
    return max(score(masks, values > level)
               for level in np.quantile(values, np.linspace(0, 0.999, 51)))


def scaled(photos):
    """Turn (N, H, W, 3) bytes into (N, 3, H, W) float32 from 0 to 1."""
    return (photos / 255).astype(np.float32).transpose(0, 3, 1, 2).copy()


def batches(x, y, size=8):
    """Return a function (rng) → a random batch."""
    def draw(rng):
        chosen = rng.choice(len(x), size, replace=False)
        return x[chosen], y[chosen]

    return draw


def tiles(seed, steps=2500):
    """Train at width 16 on 3,000 drawn tiles; return mean Dice on 500 others, and the floor."""
    photos, masks = draw_satellite(3500, SIDE, seed)
    x, y = scaled(photos), masks[:, None].astype(np.float32)
    bright = best_threshold(photos[3000:].mean(axis=3), masks[3000:], mean_dice)
    rng = np.random.default_rng(seed)
    model = unet(width=16, depth=3, rng=rng, dropout=0, deep_supervision=True)
    train(model, batches(x[:3000], y[:3000]), steps, rng, lr=4e-3)
    found = logits(model, x[3000:]) > 0
    dice, iou = mean_dice(masks[3000:], found), mean_iou(masks[3000:], found)
    print(f"  U-Net Dice {dice:.4f}, IoU {iou:.4f}; the best brightness threshold {bright:.4f}")
    if bright >= BRIGHTNESS:
        raise AssertionError(f"brightness alone reaches {bright:.3f}: the tiles are too easy")
    return dice, FLOOR


def nuclei(seed, steps=600):
    """Train on the left half of a real image of nuclei; return Dice on the right, the floor."""
    image, mask = real_masks.nuclei()
    x, half = (image / image[:, :256].max())[None], 256

    def draw(rng):
        corners = rng.integers(0, (512 - SIDE + 1, half - SIDE + 1), (8, 2))
        cuts = [(slice(r, r + SIDE), slice(c, c + SIDE)) for r, c in corners]
        return (np.stack([x[:, r, c] for r, c in cuts]),
                np.stack([mask[None, r, c] for r, c in cuts]).astype(np.float32))

    rng = np.random.default_rng(seed)
    model = unet(1, width=12, depth=3, rng=rng, deep_supervision=True)
    train(model, draw, steps, rng)
    dice = mean_dice(mask[None, :, half:], logits(model, x[None, :, :, half:]) > 0)
    bright = best_threshold(image[None, :, half:], mask[None, :, half:], mean_dice)
    print(f"  U-Net Dice {dice:.4f} on the half that it has not seen; brightness {bright:.4f}")
    return dice, NUCLEI_FLOOR


def grey(images):
    """Scale grey images (N, H, W) by their own quantiles: (N, 1, H, W) float32 around 0."""
    low, middle, high = np.quantile(images, (0.05, 0.5, 0.95), axis=(1, 2), keepdims=True)
    return ((images - middle) / (high - low))[:, None].astype(np.float32)


def real_tile(seed, steps=1000):
    """Train on drawn grey tiles, try a real one; return its IoU, and no floor: it is a report.

    The real tile is half a metre a pixel; two by two pixels become one, as in the drawn tiles.
    """
    image, mask = (one[:896, :896].reshape(448, 2, 448, 2).mean(axis=(1, 3))
                   for one in real_masks.satellite())
    photos, masks = draw_satellite(3000, SIDE, seed)
    rng = np.random.default_rng(seed)
    model = unet(1, width=16, depth=3, rng=rng, dropout=0.1, deep_supervision=True)
    train(model, batches(grey(photos.mean(axis=3)), masks[:, None].astype(np.float32)), steps, rng)
    truth, out = (mask > 0.5)[None], logits(model, grey(image[None]))
    iou, dice = mean_iou(truth, out > 0), mean_dice(truth, out > 0)
    print(f"  on the real tile IoU {iou:.4f}, Dice {dice:.4f}; best threshold on the logits "
          f"{best_threshold(out, truth, mean_iou):.4f}, on brightness "
          f"{best_threshold(image[None], truth, mean_iou):.4f}, all roof {truth.mean():.4f}")
    return iou, 0.0
