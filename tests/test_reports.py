"""History, loggers, progress bars and live pictures: what a run tells, and to whom."""

import csv
import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from training_run import EPOCHS, Shuffled, network, run, samples

from nyang_edu.training.history import History
from nyang_edu.training.live_plot import LivePlot
from nyang_edu.training.loggers import CSVLogger, JSONLLogger, Logger, WandbLogger, file_loggers
from nyang_edu.training.loop import NotFinite
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.train import nyang_train

ROWS = [
    {"epoch": 1, "train_loss": 0.9, "valid_loss": 0.7, "valid_accuracy": 0.5, "lr": 0.1},
    {"epoch": 2, "train_loss": 0.5, "valid_loss": 0.4, "valid_accuracy": 0.75, "lr": 0.1},
    {"epoch": 3, "train_loss": 0.1, "valid_loss": 0.4, "valid_accuracy": 0.7, "lr": 0.01},
]
nan = float("nan")


def test_history_has_columns_and_a_best_epoch():
    history = History(ROWS)
    assert len(history) == 3 and history["valid_loss"] == [0.7, 0.4, 0.4]
    assert history.best_epoch == 2 and history.watched == "valid_loss"
    assert History(ROWS[:0]).best_epoch is None and History().names == []
    assert History([{"epoch": 1, "train_loss": 2.0}]).best_epoch == 1
    losses = (nan, 3.0, nan, 2.0, float("inf"))
    rows = [{"epoch": i, "train_loss": v} for i, v in enumerate(losses, 1)]
    assert History(rows).best_epoch == 4
    assert History([{"epoch": 1, "train_loss": nan}]).best_epoch is None
    with pytest.raises(KeyError, match="no column 'loss'.*valid_accuracy"):
        history["loss"]


def test_history_is_equal_but_for_the_seconds_and_to_the_last_bit():
    one, two = History(ROWS), History(ROWS)
    one.add({"epoch": 4, "train_loss": nan, "seconds": 1.0})
    two.add({"epoch": 4, "train_loss": np.float64(nan), "seconds": 2.0})
    assert one == two and one != History(ROWS) and one != ROWS
    two.rows[0]["train_loss"] = np.nextafter(0.9, 1).item()
    assert one != two
    assert History(ROWS, "finished") != History(ROWS, "interrupted")
    copy = History()
    copy.load_state_dict(one.state_dict())
    assert copy == one
    copy.rows[0]["epoch"] = 7
    assert one.rows[0]["epoch"] == 1


def test_history_as_a_table_and_as_curves():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    history = History(ROWS, "finished")
    table = str(history).splitlines()
    assert table[0].split() == list(ROWS[0]) and table[2].split()[1:3] == ["0.5000", "0.4000"]
    assert repr(history) == "History(3 epochs, best valid_loss in epoch 2, stopped: finished)"
    figure, axes = pyplot.subplots(1, 2)
    history.plot(axes)
    drawn = {line.get_label(): list(line.get_ydata()) for ax in axes for line in ax.lines
             if not line.get_label().startswith("_")}
    wanted = ("train_loss", "valid_loss", "valid_accuracy")
    assert drawn == {name: history[name] for name in wanted}
    assert len(axes[0].lines) == 3 and axes[0].lines[2].get_xdata()[0] == 2  # the best epoch
    before = pyplot.get_fignums()
    assert LivePlot().wanted("auto") == [] == LivePlot.wanted(False)
    live = LivePlot()
    live.rows = ROWS
    assert live.image().startswith(b"\x89PNG") and pyplot.get_fignums() == before
    pyplot.close(figure)


def test_files_hold_the_history_and_a_resumed_run_doubles_no_row(tmp_path):
    run(tmp_path, epochs=2)
    path = tmp_path / "net.csv"
    path.write_text(path.read_text("utf-8") + "3,0.1,0.2\n4,0.", "utf-8")  # as a kill may leave it
    _, history = run(tmp_path, seed=3, resume=True)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == history.rows
    lines = (tmp_path / "net.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == history.rows and len(rows) == EPOCHS
    assert b"\r" not in path.read_bytes()


def test_file_loggers_take_new_columns_and_odd_values(tmp_path):
    for logger in file_loggers(tmp_path / "new" / "net.pickle"):
        logger.start({"rows": ROWS[:1]})
        logger.log(ROWS[1])
        logger.log(ROWS[2] | {"valid_\"a, b\"": nan})
        whole = logger.path.read_bytes()
        logger.path.write_bytes(whole[:-9])  # Ctrl-C in the middle of the last line
        logger.finish(History(logger.rows))
        assert logger.path.read_bytes() == whole
    table = list(csv.reader(open(tmp_path / "new" / "net.csv", newline="")))
    assert table[0][-1] == 'valid_"a, b"' and [row[-1] for row in table[1:]] == ["", "", "nan"]
    last = (tmp_path / "new" / "net.jsonl").read_text("utf-8").splitlines()[-1]
    assert json.loads(last)['valid_"a, b"'] is None
    assert {type(one) for one in file_loggers("a.pickle")} == {CSVLogger, JSONLLogger}


class Diary:
    """A logger of one's own, without the base class."""

    def __init__(self, fails=None):
        self.fails, self.calls = fails, []

    def start(self, config):
        self.note("start", config)

    def log(self, row):
        self.note("log", row)

    def finish(self, history):
        self.note("finish", history)

    def note(self, name, given):
        self.calls.append((name, given))
        if name == self.fails:
            raise OSError("no space left")


def test_a_logger_of_ones_own_sees_start_rows_and_end():
    diary = Diary()
    _, history = run(None, loggers=[diary])
    config = diary.calls[0][1]
    assert [name for name, _ in diary.calls] == ["start"] + ["log"] * len(history) + ["finish"]
    assert [row for name, row in diary.calls if name == "log"] == history.rows
    assert diary.calls[-1][1] is history and history.stopped is not None
    assert config["optimizer"] == "SGD" and config["rows"] == [] and config["epochs"] == EPOCHS
    assert config["parameters"] == sum(one.data.size for one in network().parameters())

    class Half:
        def log(self, row):
            pass

    with pytest.raises(TypeError, match="Half lacks start"):
        run(None, loggers=[Half()])


@pytest.mark.parametrize("fails", ["start", "log", "finish"])
def test_a_logger_that_fails_is_warned_about_once_and_stops_nothing(fails):
    bad, good = Diary(fails), Diary()
    with pytest.warns(RuntimeWarning, match=f"Diary.{fails} raised OSError: no space") as caught:
        _, history = run(None, loggers=[bad, good])
    assert len(caught) == 1 and history == run(None)[1]
    assert [name for name, _ in good.calls].count("log") == len(history)
    assert len(bad.calls) == (1 if fails == "start" else len(history) + 2)


def test_loggers_are_finished_after_an_error_too():
    diary, model = Diary(), network()
    x, y = samples()
    x[5] = np.inf
    with pytest.raises(NotFinite), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        nyang_train(model, SGD(model.parameters(), 0.1), CrossEntropyLoss(), Shuffled(x, y),
                    [samples()], loggers=[diary])
    assert diary.calls[-1][0] == "finish" and diary.calls[-1][1].stopped.startswith("NotFinite")


def test_the_base_class_needs_only_what_one_wants():
    class Loud(Logger):
        heard = 0

        def log(self, row):
            self.heard += 1

    loud = Loud()
    assert len(run(None, loggers=[loud])[1]) == loud.heard


def test_weights_and_biases_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr("nyang_edu.training.loggers.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"nyang_edu\[wandb\]"):
        WandbLogger()


needs_wandb = pytest.mark.skipif(not find_spec("wandb"), reason="wandb is not installed: "
                                 "pip install 'nyang_edu[wandb]' runs this test")


@needs_wandb
def test_weights_and_biases_disabled():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        _, history = run(None, loggers=[WandbLogger(mode="disabled")])
    assert history == run(None)[1]


@needs_wandb
def test_weights_and_biases_offline(tmp_path):
    import wandb

    logger = WandbLogger("cats", mode="offline", dir=str(tmp_path), name="tabby")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        _, history = run(None, loggers=[logger])
    assert dict(logger.run.config)["optimizer"] == "SGD" and "rows" not in dict(logger.run.config)
    wandb.teardown()  # its service writes the file's end when it stops
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = file.read_bytes()
    for text in ("tabby", "best_epoch", history.stopped, *map(repr, history["valid_loss"])):
        assert text.encode() in content, text


def test_importing_costs_no_more_than_numpy():
    heavy = ("matplotlib", "tqdm", "IPython", "wandb", "PIL", "albumentations")
    code = ("import sys, nyang_edu.training.train, nyang_edu.evaluation.inference; "
            f"print([name for name in {heavy} if name in sys.modules])")
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_nothing_is_shown_where_nobody_watches(capfd):
    run(None, progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def cells():
    """The outputs of a notebook: trained as CI runs it, as JupyterLab does, and with plot=True."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    sources = [
        "import os, sys\nsys.path.insert(0, 'tests')\nfrom training_run import run\n"
        "[os.environ.pop(n, None) for n in ('NYANG_PROGRESS', 'JPY_SESSION_NAME')];",
        "_, history = run(None)",
        "os.environ['JPY_SESSION_NAME'] = 'a.ipynb'\n_, history = run(None, epochs=3)",
        "os.environ['NYANG_PROGRESS'] = 'off'\n_, history = run(None)",
        "_, history = run(None, plot=True)",
        "history.plot()",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": root}}).execute()
    return [cell.outputs for cell in book.cells]


def test_in_a_notebook_only_a_screen_gets_bars_and_a_live_picture(cells):
    _, ci, lab, course, asked, curves = cells
    assert ci == [] == course
    pictures = [out for out in lab if "image/png" in out.get("data", {})]
    bars = [out for out in lab if "application/vnd.jupyter.widget-view+json" in out.get("data", {})]
    assert len(pictures) == 1 and len(bars) == 6  # one picture, replaced; a bar for each pass
    assert all(out.output_type == "display_data" for out in lab)
    assert len(asked) == 1 and "image/png" in asked[0].data
    assert len(curves) == 1 and "image/png" in curves[0].data
