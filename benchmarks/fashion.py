"""Run ``python -m benchmarks fashion --data FOLDER``: real training, this framework and PyTorch.

Both train one network on all of Fashion-MNIST, from the same weights, with the same batches, on
the same cores: each in its own process, epoch by epoch in turns.
"""

import argparse

from benchmarks.records import keep

DEBIAN = "/usr/share/datasets/fashion-mnist"  # where dataset-fashion-mnist puts the files
GOALS = {"two_blocks": 0.91, "lenet5": 0.90}  # test accuracy of each network


def read_options(arguments):
    """Read the command line; end with advice where the data is not there."""
    from nyang_edu.data.idx import load_idx_pair

    parser = argparse.ArgumentParser(prog="benchmarks fashion", description=__doc__)
    parser.add_argument("--data", default=DEBIAN, help="folder of the four IDX files")
    parser.add_argument("--network", choices=GOALS, default="two_blocks")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, help="train on the first so many only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        load_idx_pair(options.data, "t10k")
    except FileNotFoundError as error:
        parser.error(f"{error}. Debian has them in dataset-fashion-mnist")
    return options


def main(arguments=None):
    """Let both train in turns, print each epoch; the exit code says whether the goal is met."""
    options = read_options(arguments)
    from benchmarks.duel import Worker

    sides = {name: Worker(name, options.threads, module="benchmarks.fashion_worker")
             for name in ("numpy", "torch")}
    settings = {key: getattr(options, key)
                for key in ("network", "images", "batch", "epochs", "seed")}
    history = {name: [] for name in sides}
    try:
        for worker in sides.values():
            print(worker.ask(op="train", folder=options.data, **settings)["about"])
        print("epoch  side    seconds  images/s     loss  test accuracy  waited for a core")
        for number in range(options.epochs):
            for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                row = sides[name].ask(op="epoch", number=number)
                history[name].append(row)
                print(f"{number + 1:5d}  {name:6s} {row['seconds']:8.1f} {row['rate']:9.0f}"
                      f" {row['loss']:8.4f} {row['accuracy']:14.2%} {row['waited']:18.0%}",
                      flush=True)
    finally:
        for worker in sides.values():
            worker.close()
    return report(history, options)


def report(history, options):
    """Print minutes and images/s of both, write a full run down; return 0 where the goal is met."""
    goal = GOALS[options.network]
    summary = {}
    for name, rows in history.items():
        rates = sorted(row["rate"] for row in rows)
        summary[name] = {"minutes": sum(row["seconds"] for row in rows) / 60,
                         "images_per_second": rates[len(rates) // 2],
                         "test_accuracy": rows[-1]["accuracy"], "epochs": rows}
        print(f"{name}: {summary[name]['minutes']:.1f} minutes of training, "
              f"{summary[name]['images_per_second']:.0f} images/s (median epoch), "
              f"{rows[-1]['accuracy']:.2%} of the test images")
    met = summary["numpy"]["test_accuracy"] >= goal
    print(f"this framework at {goal:.0%} or more: {'yes' if met else 'no'}")
    if options.images is None:
        name = "fashion" if options.network == "two_blocks" else f"fashion_{options.network}"
        keep(name, {"settings": vars(options), **summary})
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
