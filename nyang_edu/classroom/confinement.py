"""Where a submission's code runs: what it can see, and how much it may use.

With bubblewrap: an empty machine with Python on it, no network, no other process. Without it
only the limits of the operating system hold, and ``Confinement.missing`` says what is open.
"""

import functools
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

BUBBLEWRAP, LIMITS = "bubblewrap", "limits"
BOX = "/box"  # where a confined process finds the package
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache",
           "/etc/alternatives", "/etc/localtime", "/etc/fonts", "/etc/mime.types")
_OPEN = ("bubblewrap does not work here ({why}), so submissions run as your own processes:",
         "they can read what you can read, the solutions and other submissions included;",
         "they can use the network, and a child that detaches itself outlives its limit.",
         "Grade work that you do not trust on Linux with bubblewrap, or in a container of its own.")
_TRIAL = """
import os
if {identity} is not None:
    os.setgroups([]); os.setgid({identity}); os.setuid({identity})
import numpy
"""


@dataclass(frozen=True)
class Limits:
    """What confined code may use: bytes, seconds of processor time, and counts.

    ``memory`` is that of one process, ``memory_in_all`` of a job's processes together, ``disk``
    is the size of /tmp.
    """

    memory: int = 2 << 30
    memory_in_all: int = 3 << 30
    cpu: int = 120
    processes: int = 48
    file_size: int = 32 << 20
    disk: int = 64 << 20
    open_files: int = 256


@dataclass(frozen=True)
class Confinement:
    """How strongly submissions are confined: ``level``, and what is missing, in sentences."""

    level: str
    missing: list = field(default_factory=list)

    @property
    def full(self):
        """True where bubblewrap does it."""
        return self.level == BUBBLEWRAP

    def place(self, box):
        """The name of the box as the confined process knows it."""
        return BOX if self.full else str(box)

    def command(self, arguments, box, limits, hidden=()):
        """The command line that runs Python with ``arguments``.

        It sees the folder ``box`` as BOX. ``hidden`` are folders that stay invisible even below
        a system folder.
        """
        python = [sys.executable, "-I", *arguments]
        if not self.full:
            return python
        return [*_namespaces(), *_mounts(limits, hidden), "--ro-bind", str(box), BOX,
                "--remount-ro", "/", "--chdir", "/tmp", *_variables(), *python]


def _namespaces():
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
               "--unshare-cgroup-try", "--die-with-parent", "--new-session",
               "--hostname", "grading"]
    if _is_root():  # the process itself becomes nobody: limits on processes bind no root
        return ["bwrap", *options, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return ["bwrap", "--unshare-user", "--uid", "65534", "--gid", "65534", *options]


def _mounts(limits, hidden):
    options = []
    for path in _SYSTEM:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            options += ["--ro-bind", path, path]
    for path in filter(_below_system, hidden):
        options += ["--tmpfs", str(path)]
    options += ["--perms", "1777", "--size", str(limits.disk), "--tmpfs", "/tmp"]
    for path in _python_folders():  # after /tmp, where an environment may lie too
        options += [*_parents(path), "--ro-bind", path, path]
    for path in installed_course():
        options += ["--tmpfs", path]
    return [*options, "--proc", "/proc", "--dev", "/dev",
            "--perms", "1777", "--size", "1048576", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]


def _parents(path):
    """Make the folders above a mount readable for everybody inside."""
    options = []
    for folder in reversed(Path(path).parents):
        if str(folder) not in ("/", "/tmp", *_SYSTEM):
            options += ["--perms", "0755", "--dir", str(folder)]
    return options


def _python_folders():
    """The folders that Python and its packages need, outside the system's own."""
    folders = [sys.base_prefix, sys.prefix, sys.base_exec_prefix, sys.exec_prefix,
               sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"],
               *site.getsitepackages()]
    folders = sorted({f for f in folders if os.path.isdir(f) and not _below_system(f)})
    return [f for f in folders if not any(f.startswith(o + os.sep) for o in folders)]


def _below_system(path):
    return any(Path(path).is_relative_to(folder) for folder in _SYSTEM)


def installed_course():
    """Where the package is installed with its reference modules: never to be seen inside."""
    places = {Path(folder) / "nyang_edu" for folder in [*site.getsitepackages(),
                                                       sysconfig.get_paths()["purelib"]]}
    here = Path(__file__).resolve().parents[1]
    if _below_system(here) or any(here.is_relative_to(f) for f in _python_folders()):
        places.add(here)
    return [str(place) for place in sorted(places) if place.is_dir()]


def variables():
    """The environment inside: nothing of the teacher's."""
    return {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8",
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1", "NYANG_PROGRESS": "off",
            "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONHASHSEED": "0"}


def _variables():
    options = ["--clearenv"]
    for name, value in variables().items():
        options += ["--setenv", name, value]
    return options


def _is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def identity():
    """The user id that a confined process takes, or None where it keeps its own.

    Each grading process has another one, so that none can use up another's share.
    """
    return 1_000_000 + os.getpid() if _is_root() else None


@functools.lru_cache(maxsize=1)
def confinement():
    """The strongest Confinement that works on this machine; bubblewrap is tried, not assumed."""
    if not shutil.which("bwrap"):
        return _limits_only("it is not installed")
    command = [*_namespaces(), *_mounts(Limits(), ()), *_variables(),
               sys.executable, "-I", "-c", _TRIAL.format(identity=identity())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _limits_only(str(error))
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
        return _limits_only(lines[-1])
    return Confinement(BUBBLEWRAP)


def _limits_only(why):
    missing = [line.format(why=why) for line in _OPEN]
    if os.name == "nt":
        missing.append("On Windows there are no limits on memory, processes and file sizes either.")
    return Confinement(LIMITS, missing)
