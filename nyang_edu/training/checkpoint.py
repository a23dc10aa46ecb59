"""The state of a training run after its last finished epoch, in memory and in its files.

One place decides what belongs to it: resuming, stopping by hand and a loss that is not finite
all go back to the very same thing.
"""

from pathlib import Path

from nyang_edu.training.loop import restore_training_state, training_state
from nyang_edu.utility.save_load import nyang_save_model, read_model_file


class Checkpoint:
    """The last finished epoch: all that the next one depends on, the history, the best weights.

    path: where the best model goes, or None for no files; the running state goes beside it, with
    the suffix .last.pickle. loaders: the training and the validation loader.

    Raises:
        ValueError: on resume, where the file is none of this model's, optimizer's, scheduler's
            or loader's; nothing has changed then.
    """

    def __init__(self, path, model, optimizer, scheduler, stopping, loaders):
        self.path = None if path is None else Path(path)
        if self.path and self.path.suffix.lower() not in (".pickle", ".safetensors"):
            raise ValueError("save_path ends in .pickle or .safetensors, received "
                             f"{path}: try {self.path.name}.pickle")
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.stopping = stopping
        self.train_loader, self.valid_loader = (  # a plain list has no state to keep
            loader if hasattr(loader, "load_state_dict") else None for loader in loaders)
        self.kept = {"best": None}
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def last_path(self):
        """The file of the running state."""
        return self.path.with_suffix(".last.pickle")

    @property
    def best(self):
        """The best epoch's weights, as a state_dict; None before there is one."""
        return self.kept["best"]

    def take(self, history, improved=False):
        """Remember the present state; improved says that it is the best so far."""
        parts = (self.model, self.optimizer, self.scheduler, self.train_loader, self.stopping)
        self.kept = {
            "kinds": self.kinds(),
            "state": training_state(*parts),
            "valid_loader": self.valid_loader and self.valid_loader.state_dict(),
            "history": history.state_dict(),
            "improved": improved,
            "best": self.model.state_dict() if improved else self.best,
        }

    def write(self):
        """Save what is remembered: the model where it is the best so far, then everything.

        A process killed between the two repeats the epoch and saves the same model again.
        """
        if self.path is None:
            return
        if self.kept["improved"]:
            nyang_save_model(self.model, self.path)
        nyang_save_model(self.model, self.last_path, training=self.kept)

    def put_back(self, history):
        """Bring everything, the history too, back to what is remembered."""
        kept = self.kept
        parts = (self.model, self.optimizer, self.scheduler, self.train_loader, self.stopping)
        restore_training_state(kept["state"], *parts)
        if self.valid_loader:
            self.valid_loader.load_state_dict(kept["valid_loader"])
        history.load_state_dict(kept["history"])

    def resume(self, history):
        """Continue from the file of the running state; return whether there was one."""
        if not self.last_path.exists():
            return False
        before, self.kept = self.kept, read_model_file(self.last_path)["training"]
        try:
            self._expect_same_kinds()
            self.put_back(history)
        except (KeyError, TypeError, ValueError) as error:
            self.kept = before
            self.put_back(history)
            raise ValueError(f"cannot resume from {self.last_path}: {error}. Build the run as it "
                             "was, or start anew with resume=False") from error
        return True

    def kinds(self):
        """Name the classes that a checkpoint fits, beyond the shapes of its arrays."""
        parts = {"optimizer": self.optimizer, "scheduler": self.scheduler,
                 "train_loader": self.train_loader, "valid_loader": self.valid_loader}
        return {name: None if part is None else type(part).__name__
                for name, part in parts.items()}

    def _expect_same_kinds(self):
        if not isinstance(self.kept, dict) or "kinds" not in self.kept:
            raise ValueError("it holds a model, and no state of a training run")
        for name, kind in self.kinds().items():
            if (saved := self.kept["kinds"].get(name)) != kind:
                raise ValueError(f"it was saved with {name} {saved}, and this run has {kind}")
