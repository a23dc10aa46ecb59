"""Outside the confined process: start it, talk to it, and end it when it breaks a limit.

Whatever the other side does (nothing, garbage, a flood, dying) comes back as ``Died`` with
words for the report, and the next job gets a fresh process.
"""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time

from ..course.files import CourseError
from .confinement import Limits, identity, variables
from .watching import running, used_memory
from .wire import Packer, Unpacker, WireError, read_frame

START = 60.0  # seconds that Python and NumPy may take to start on a busy machine
TICK = 0.1
_SERVE = "import sys; sys.path.insert(0, {box!r}); from nyang_edu.classroom import worker; " \
         "worker.main()"


class Died(BaseException):
    """A job's process is gone: ``kind`` is "slow" or "killed", the text says why.

    No ``except Exception`` of a probe swallows it.
    """

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Sandbox:
    """A confined server, started when it is first needed and again after each accident."""

    def __init__(self, confinement, box, preload=(), limits=None, hidden=()):
        self.confinement, self.box, self.limits = confinement, box, limits or Limits()
        self.hidden, self.preload = hidden, list(preload)
        self.process, self.starts = None, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def begin(self, job, seconds):
        """Hand a job over; it has ``seconds`` until it is stopped."""
        if self.process is None:
            self._start()
        self.ended = None
        self.deadline = time.monotonic() + seconds
        self.send(job)

    def _start(self):
        box = self.confinement.place(self.box)
        command = self.confinement.command(["-c", _SERVE.format(box=box)], self.box, self.limits,
                                           self.hidden)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self._environment(), bufsize=0, start_new_session=True)
        self.starts += 1
        self.inbox, self.outbox = queue.Queue(256), queue.Queue()
        self.parts = {"answer": _Buffer(), "control": _Buffer()}
        self.ended, self.lost, self.ready = None, False, False
        _thread(_pump_in, self.process.stdout, self.inbox, "answer")
        _thread(_pump_in, self.process.stderr, self.inbox, "control")
        _thread(_pump_out, self.process.stdin, self.outbox)
        self.deadline = time.monotonic() + START
        self.send({"identity": identity() if self.confinement.full else None,
                   "limits": self._rlimits(), "preload": self.preload,
                   "fork": self.confinement.full})
        self._await_hello()

    def _environment(self):
        """A clean one; Windows cannot start Python without a few of its own variables."""
        kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP", "PATH")
                if name in os.environ} if os.name == "nt" else {}
        return {**variables(), **kept}

    def _rlimits(self):
        limits = self.limits
        return {"RLIMIT_AS": limits.memory, "RLIMIT_FSIZE": limits.file_size,
                "RLIMIT_NOFILE": limits.open_files, "RLIMIT_CORE": 0,
                "RLIMIT_CPU": limits.cpu, "RLIMIT_STACK": 8 << 20,
                "RLIMIT_NPROC": limits.processes + (0 if self.confinement.full else running())}

    def _await_hello(self):
        while not self.ready:
            if not self._take() or self.lost:
                self.close()
                raise CourseError("A confined process does not start on this machine.")

    def extend(self, seconds):
        """Give the job this much time from now on, and no more."""
        self.deadline = time.monotonic() + seconds

    def send(self, value, packer=None):
        """Send one message; it never blocks."""
        self.outbox.put((packer or Packer()).pack(value))

    def receive(self, unpacker=None):
        """The job's next message; Died where none will come."""
        grace = None
        while (frame := self._next_frame()) is None:
            alive = self._take(grace)
            if self.ended is not None and grace is None:
                grace = time.monotonic() + 3 * TICK  # its last words may still be on the way
            elif not alive:
                raise Died("killed", describe_end(self.ended))
        try:
            return (unpacker or Unpacker()).unpack(*frame)
        except WireError as error:
            raise self._stop("killed", f"it sent what is no answer ({error})") from None

    def _next_frame(self):
        try:
            return self.parts["answer"].message()
        except WireError as error:
            raise self._stop("killed", f"it sent what is no answer ({error})") from None

    def _take(self, until=None, keep=True):
        """Take what has arrived, or wait a moment; False once nothing can come any more."""
        if time.monotonic() > self.deadline:
            self._enforce()
        try:
            kind, data = self.inbox.get(timeout=TICK)
        except queue.Empty:
            self._enforce()
            return until is None or time.monotonic() < until
        if not data:
            return self._closed(kind)
        if kind == "control":
            self.parts[kind].add(data)
            self._read_control()
        elif keep:
            self.parts[kind].add(data)
        return True

    def _closed(self, kind):
        """One of the pipes has ended; without the answers' nothing can come any more."""
        self.lost = True
        if kind == "control":
            return True
        if self.ended is None:
            self.ended = self._exit_status()
        return False

    def _read_control(self):
        frame = self.parts["control"].peek()
        if frame is not None:
            message = Unpacker().unpack(*frame)
            self.parts["control"].message()
            self.ready |= "hello" in message
            self.ended = message.get("ended", self.ended)

    def _exit_status(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(2)
            self.close()
            return -code if code < 0 else (code - 128 if code > 128 else code << 8)
        return 0

    def _enforce(self):
        """Stop the job where it has used up its time, or all its processes too much memory."""
        if time.monotonic() > self.deadline:
            raise self._stop("slow", "it was still running at the end of its time and was killed")
        if self.process and used_memory(self.process.pid) > self.limits.memory_in_all:
            raise self._stop("killed", "its processes used too much memory together")

    def _stop(self, kind, text):
        self.close()
        return Died(kind, text)

    def finish(self):
        """Wait until a job has ended of itself, so that the next one can begin."""
        if self.process is None:
            return
        self.deadline = time.monotonic() + 2.0
        with contextlib.suppress(Died):
            while self.ended is None and not self.lost and self._take(keep=False):
                pass
        if self.process and (self.ended != 0 or self.lost or not self.confinement.full):
            self.close()
        elif self.process:
            self._drain()

    def _drain(self):
        """Forget what the ended job has left in the pipe."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.inbox.get_nowait()
        self.parts["answer"] = _Buffer()

    def close(self):
        """End the server and everything that it has started."""
        process, self.process = self.process, None
        if process is None:
            return
        self.outbox.put(None)
        if os.name == "nt":
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


class _Buffer:
    """Bytes as they arrive, and the frames in them."""

    def __init__(self):
        self.data = bytearray()

    def add(self, data):
        self.data += data

    def peek(self):
        """The parts of the first frame where it is complete, else None."""
        self.at = 0
        try:
            return read_frame(self._read) if self.data else None
        except EOFError:
            return None

    def message(self):
        """The same, taken out."""
        frame = self.peek()
        if frame is not None:
            del self.data[:self.at]
        return frame

    def _read(self, count):
        if self.at + count > len(self.data):
            raise EOFError
        self.at += count
        return bytes(self.data[self.at - count:self.at])


def _thread(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _pump_in(pipe, inbox, kind):
    with contextlib.suppress(OSError, ValueError):
        while data := os.read(pipe.fileno(), 1 << 16):
            inbox.put((kind, data))
    inbox.put((kind, b""))


def _pump_out(pipe, outbox):
    with contextlib.suppress(OSError, ValueError):
        while (data := outbox.get()) is not None:
            view = memoryview(data)
            while view:
                view = view[os.write(pipe.fileno(), view):]
    with contextlib.suppress(OSError):
        pipe.close()


def describe_end(status):
    """In words, how a process ended."""
    number = status & 0x7F
    if number:
        name = signal.Signals(number).name if number in iter(signal.Signals) else str(number)
        return _SIGNALS.get(name, f"its process crashed ({name})")
    return f"it ended its own process (exit code {status >> 8})"


_SIGNALS = {
    "SIGXCPU": "it used too much processor time",
    "SIGXFSZ": "it wrote a file that is too large",
    "SIGKILL": "its process was killed",
}
