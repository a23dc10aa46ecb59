"""A contender in its own process: it builds steps and times them when it is told to.

Two thread pools in one process slow each other down, so nobody shares a process.
"""

import contextlib
import gc
import json
import resource
import statistics
import sys
import time
from pathlib import Path


def make(contender, suite, name):
    """Return (step, parameters, batch size) for a contender."""
    from benchmarks import steps

    if contender.startswith("torch"):
        build = steps.torch_model_step if suite == "models" else steps.torch_layer_step
        return build(name, channels_last=contender == "torch_last")
    build = steps.numpy_model_step if suite == "models" else steps.numpy_layer_step
    if contender == "textbook":
        from benchmarks.textbook import textbook_kit

        return build(name, textbook_kit())
    return build(name)


def prepare(contender, threads):
    """Set the threads of this process and describe what it computes with."""
    if contender.startswith("torch"):
        import torch

        torch.set_num_threads(threads)
        return f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    import numpy as np

    from benchmarks import framework

    framework.team.set_threads(1 if contender in ("blas", "textbook") else threads)
    try:
        from threadpoolctl import threadpool_info

        kernel = [
            f"{p['internal_api']} {p['version']} {p['architecture']} {p['num_threads']} threads"
            for p in threadpool_info()
            if p["user_api"] == "blas"
        ]
    except ImportError:
        kernel = ["unknown BLAS"]
    return f"numpy {np.__version__}, {kernel[0]}, team of {framework.team.thread_count()}"


def memory():
    """Return the peak of this process in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def waited():
    """Return how many seconds the threads of this process stood ready without a core."""
    total = 0
    for file in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(file.read_text().split()[1])
    return total / 1e9


def run(step, count, alone):
    """Time count steps after one that does not count.

    Returns:
        the seconds of each, in processor time where only one thread works, since other jobs do not
        stretch it; and the share of the time in which a thread had to wait for a core.
    """
    clock, times = time.process_time if alone else time.perf_counter, []
    gc.disable()
    step()
    begin, queue = time.perf_counter(), waited()
    for _ in range(count):
        start = clock()
        step()
        times.append(clock() - start)
    gc.enable()
    return {"times": times, "waited": (waited() - queue) / (time.perf_counter() - begin)}


def main():
    """Answer one JSON line for each that comes in: prepare, build, run, weights, memory."""
    contender, threads, suite = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    out, sys.stdout = sys.stdout, sys.stderr
    about, base, step = prepare(contender, threads), 0.0, None
    for line in sys.stdin:
        order = json.loads(line)
        if order["op"] == "build":
            base = memory()
            step, parameters, _ = make(contender, suite, order["name"])
            answer = {"about": about}
        elif order["op"] == "run":
            answer = run(step, order["count"], threads == 1)
        elif order["op"] == "compare":
            answer = compare(contender, step, parameters, order["file"])
        elif order["op"] == "borders":
            answer = {"share": borders(step)}
        else:
            answer = {"peak": memory() - base, "scratch": scratch(contender)}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def borders(step, count=5):
    """Return which share of a step copies arrays from (N, C, H, W) into the kernels' layout."""
    from nyang_edu.utility import layout

    plain, seconds = layout.to_rows, []

    def timed(x):
        start = time.perf_counter()
        rows = plain(x)
        seconds.append(time.perf_counter() - start)
        return rows

    users = [m for m in list(sys.modules.values()) if getattr(m, "to_rows", None) is plain]
    shares = []
    try:
        for module in users:
            module.to_rows = timed
        for _ in range(count):
            seconds.clear()
            start = time.perf_counter()
            step()
            shares.append(sum(seconds) / (time.perf_counter() - start))
    finally:
        for module in users:
            module.to_rows = plain
    return statistics.median(shares)


def scratch(contender):
    """Return the megabytes of the framework's scratch arrays."""
    if contender.startswith("torch"):
        return 0.0
    from benchmarks import framework

    return framework.team.scratch_bytes() / 2**20


def compare(contender, step, parameters, file):
    """Take over the weights in a file, or write them; return the loss and the gradients' error."""
    import numpy as np

    if contender == "torch":
        import torch

        np.savez(file, *[p.detach().numpy() for p in parameters])
        loss = step()
        grads = [p.grad.detach().numpy() for p in parameters]
        np.savez(file + ".grads", *grads)
        with torch.no_grad():
            return {"loss": loss, "error": 0.0}
    with np.load(file) as weights:
        for (data, _), name in zip(parameters, weights.files, strict=True):
            data[...] = weights[name].reshape(data.shape)
    loss = step()
    with np.load(file + ".grads.npz") as grads:
        wanted = [grads[name] for name in grads.files]
    pairs = [(g, w.reshape(g.shape)) for (_, g), w in zip(parameters, wanted, strict=True)]
    error = sum(((g - w) ** 2).sum() for g, w in pairs) / sum((w**2).sum() for w in wanted)
    return {"loss": loss, "error": float(error) ** 0.5}


if __name__ == "__main__":
    main()
