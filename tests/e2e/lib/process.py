"""Child processes: started with a deadline, read line by line, stopped by their own id, quoted when a test fails."""
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

from .waiting import PATIENCE, Signal, Timeout

#: What a sanitizer or the C++ library writes when a program goes wrong; never tolerated, whatever the test looks at.
CRASH = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|terminate called|Assertion .* failed")


def _die_with_parent():
    """A test run that is killed leaves nobody behind (prctl PR_SET_PDEATHSIG = 1)."""
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """One child. Its stdout and stderr are collected as lines; lines that are JSON objects are `events`."""

    def __init__(self, arguments, name, env=None, cwd=None, setup=None, stdin=subprocess.DEVNULL):
        self.name = name
        self.arguments = [str(a) for a in arguments]
        self.lines = []
        self.events = []
        self.signal = Signal()
        self._open_pipes = 2

        def prepare():
            _die_with_parent()
            if setup:
                setup()

        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PROXY_", "SLUICE_"))}
        environment.setdefault("ASAN_OPTIONS", "quarantine_size_mb=8")
        environment.update(env or {})
        self._child = subprocess.Popen(self.arguments, stdin=stdin, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=environment, cwd=cwd, preexec_fn=prepare)
        self.started = time.monotonic()
        for pipe in (self._child.stdout, self._child.stderr):
            threading.Thread(target=self._read, args=(pipe,), daemon=True).start()
        threading.Thread(target=self._reap, daemon=True).start()

    @property
    def pid(self):
        return self._child.pid

    @property
    def returncode(self):
        return self._child.poll()

    @property
    def alive(self):
        return self._child.poll() is None

    @property
    def output(self):
        return "\n".join(self.lines)

    def _read(self, pipe):
        for raw in pipe:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            event = None
            if line.startswith("{"):
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
            with self.signal:
                self.lines.append(line)
                if event is not None:
                    self.events.append(event)
            self.signal.changed()
        with self.signal:
            self._open_pipes -= 1
        self.signal.changed()

    def _reap(self):
        self._child.wait()
        self.signal.changed()

    # -- awaiting ------------------------------------------------------------------------------------------------

    def find(self, event, since=0, **fields):
        """Events of that name from index `since` on, of which all `fields` are as given (a callable is asked)."""
        return [e for e in self.events[since:] if e.get("event") == event and _matches(e, fields)]

    def await_event(self, event, timeout=PATIENCE, since=0, count=1, **fields):
        """The first such event (of `count` > 1: the list, once there are that many)."""
        def found():
            matching = self.find(event, since, **fields)
            if len(matching) >= count:
                return matching
            if not self.alive and self._open_pipes == 0:
                raise Timeout(f"{self.name} ended with {self.returncode} before event {event!r} {fields}\n{self.tail()}")
            return None

        wanted = f"event {event!r} {fields} from {self.name}"
        matching = self.signal.wait(found, timeout, wanted, self.tail)
        return matching if count > 1 else matching[0]

    def await_line(self, pattern, timeout=PATIENCE, count=1):
        """The first line that matches; with `count`, once that many do."""
        regex = re.compile(pattern)

        def found():
            matching = [line for line in self.lines if regex.search(line)]
            if len(matching) >= count:
                return matching[0]
            if not self.alive and self._open_pipes == 0:
                raise Timeout(f"{self.name} ended with {self.returncode} before a line like {pattern!r}\n{self.tail()}")
            return None

        return self.signal.wait(found, timeout, f"line like {pattern!r} from {self.name}", self.tail)

    def await_exit(self, timeout=PATIENCE):
        """Its exit code, once it ended and everything it wrote was read."""
        self.signal.wait(lambda: not self.alive and self._open_pipes == 0, timeout, f"end of {self.name}", self.tail)
        return self.returncode

    def say(self, line):
        """A line to its stdin (started with stdin=subprocess.PIPE)."""
        self._child.stdin.write(line.encode() + b"\n")
        self._child.stdin.flush()

    # -- stopping ------------------------------------------------------------------------------------------------

    def send_signal(self, number):
        if self.alive:
            with contextlib.suppress(ProcessLookupError):  # it has ended in this moment
                os.kill(self.pid, number)

    def stop(self, timeout=PATIENCE, number=signal.SIGTERM):
        """Asks it to end, then makes it; its exit code."""
        self.send_signal(number)
        try:
            return self.await_end(timeout)
        except Timeout:
            self.kill()
            raise

    def await_end(self, timeout):
        self.signal.wait(lambda: not self.alive, timeout, f"end of {self.name}", self.tail)
        return self.returncode

    def kill(self):
        """SIGKILL, and wait for it to be gone."""
        self.send_signal(signal.SIGKILL)
        self.signal.wait(lambda: not self.alive, PATIENCE, f"end of {self.name}")

    # -- looking -------------------------------------------------------------------------------------------------

    def tail(self, lines=60):
        shown = self.lines[-lines:]
        return f"--- {self.name} (pid {self.pid}, exit {self.returncode}), {len(self.lines)} lines, the last:\n" + "\n".join(shown)

    def complaint(self):
        """The first line that a sanitizer or a dying C++ program wrote, or None."""
        return next((line for line in self.lines if CRASH.search(line)), None)


def _matches(event, fields):
    return all(want(event.get(key)) if callable(want) else event.get(key) == want for key, want in fields.items())


def run_tool(arguments, timeout=60.0, **options):
    """Runs a short-lived tool to its end; (exit code, everything it wrote)."""
    process = Process(arguments, os.path.basename(str(arguments[0])), **options)
    try:
        return process.await_exit(timeout), process.output
    finally:
        if process.alive:
            process.kill()


def children_of(pid):
    """The ids of a process's children now."""
    found = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as children:
                found += [int(child) for child in children.read().split()]
        except OSError:
            continue
    return found


def command_line(pid):
    """The arguments of a process, or [] when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def exists(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
