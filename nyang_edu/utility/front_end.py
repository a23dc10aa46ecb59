"""Whether a person watches this process, and the progress bar that is shown only then.

Bars and live pictures are noise in a log, and in a notebook's stored outputs.
"""

import os
import sys

# Set by what starts kernels for a screen; nbclient and nbval, which only execute, set none.
FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")


def in_kernel():
    """Tell whether this process is a notebook kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Shell: Colab's


def has_front_end():
    """Tell whether this process is a notebook kernel with a screen before it.

    NYANG_PROGRESS=off, which the course sets where it executes notebooks itself, says no.
    """
    watched = any(name in os.environ for name in FRONT_ENDS)
    return in_kernel() and watched and os.environ.get("NYANG_PROGRESS") != "off"


class Unseen:
    """Batches without a bar: what a tqdm bar can do here, and nothing to see, load or start."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def set_postfix_str(self, text, refresh=True):
        """Take the text beside the bar."""


def progress_bar(batches, text, show=True):
    """Wrap an iterable in a tqdm bar; shown on a terminal or a notebook's screen only."""
    if not show or not (has_front_end() or (not in_kernel() and sys.stderr.isatty())):
        return Unseen(batches)
    from tqdm.auto import tqdm

    return tqdm(batches, desc=text, leave=False)
