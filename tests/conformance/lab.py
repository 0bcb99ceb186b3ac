# SPDX-License-Identifier: MIT
"""
What the cases share: the keeper, a process above all others that nothing can leave; a daemon with its
mount; instances, runs, and waiting.
"""
import contextlib
import ctypes
import errno
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

# The longest wait for anything that takes no longer when all is well; set by --patience.
PATIENCE = 60
# What must not wait for a machine; a busy host gets some more.
QUICK = 5
# How often it is looked whether what is waited for has come, in seconds.
TICK = 0.01


def wait_for(condition, what, seconds=None):
    """The first true value of condition(); fails when there is none in time."""
    seconds = PATIENCE if seconds is None else seconds
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"in {seconds:g} s there was no {what}")
        time.sleep(TICK)
    return value


def read(path):
    with open(path, "rb") as file:
        return file.read()


def text(path):
    return read(path).decode(errors="replace")


def write(path, data):
    """Writes all of it with one open; unlike open().write(), EAGAIN is an error."""
    data = data.encode() if isinstance(data, str) else data
    with open(path, "wb", buffering=0) as file:
        while data:
            count = file.write(data)
            if count is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
            data = data[count:]


def so_far(path):
    """What a stream that goes on has by now."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pieces = []
    try:
        while piece := os.read(fd, 1 << 16):
            pieces.append(piece)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
    return b"".join(pieces)


def error_of(call, *arguments):
    """The name of the errno with which a call fails; None: it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


# ---- Processes ------------------------------------------------------------------------------------

def parents():
    """The parent of each process of this host that has not ended."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = text(entry / "stat").rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent)
    return found


def descendants(pid):
    """All processes below one."""
    tree, found = parents(), set()
    while more := {child for child, parent in tree.items()
                   if parent in found | {pid}} - found:
        found |= more
    return found


def describe(pids):
    """Processes for a message."""
    lines = []
    for pid in pids:
        with contextlib.suppress(OSError):
            lines.append(f"{pid}: " + text(f"/proc/{pid}/cmdline").replace("\0", " ")[:200])
    return "; ".join(lines)


def mounts_below(path):
    """The mount points below a directory, deepest first."""
    points = [line.split()[4] for line in text("/proc/self/mountinfo").splitlines()]
    return sorted((point for point in points if point.startswith(str(path) + "/")), key=len,
                  reverse=True)


def keep(work):
    """Calls work(base), which returns an exit status, in a child, and returns that. What it starts
    cannot get away from this process, even by a session of its own: whoever loses its parent becomes
    our child (PR_SET_CHILD_SUBREAPER). In the end base, a directory, goes, and whatever is left."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-conformance."))
    if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) fails")
    child = os.fork()
    if child == 0:
        leave(work, base)

    def stop(number, _frame):
        end(base)
        os._exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    status = None
    while status is None:
        pid, ended = os.wait()
        if pid == child:
            status = os.waitstatus_to_exitcode(ended)
    end(base)
    return status if status >= 0 else 1


def leave(work, *arguments):
    """Ends a forked process with what work returns; nothing of its parent's runs in it."""
    status = 1
    try:
        status = work(*arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end(base):
    """Ends what is left below this process, its mounts and its files."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    for point in mounts_below(base):
        subprocess.run(["fusermount3", "-u", "-z", point], check=False, stderr=subprocess.DEVNULL)
    if not mounts_below(base):
        shutil.rmtree(base, ignore_errors=True)


# ---- The daemon -----------------------------------------------------------------------------------

class Daemon:
    """poolfs with one configuration, in the foreground."""

    numbers = itertools.count()

    def __init__(self, program, config, pool, base):
        self.base = base / str(next(Daemon.numbers))
        self.mount, self.log, self.pool_name = self.base / "mnt", self.base / "log", pool
        self.pool, self.stopped = self.mount / pool, False
        for path in (self.base, self.mount, self.base / "tmp"):
            path.mkdir()
        self.groups = self.control_groups()
        environment = {**os.environ, "TMPDIR": str(self.base / "tmp")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*program, "-f", config, self.mount], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env=environment,
                                            start_new_session=True)
        wait_for(lambda: mounts_below(self.base) or self.process.poll() is not None, "mount")
        if self.process.poll() is not None:
            raise AssertionError("poolfs did not start: " + text(self.log))
        self.workdir = self.find_workdir()
        if not self.pool.is_dir():
            self.stop()
            raise AssertionError(f"{config} has no pool {pool}")

    def find_workdir(self):
        """The working directory: it has the lock that the daemon has open."""
        for entry in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.basename(target := os.readlink(entry)) == "lock":
                    return pathlib.Path(target).parent
        raise AssertionError("the daemon has no lock file open")

    def count(self):
        """How many instances there may be."""
        return int(text(self.pool / "pool.count"))

    def instances(self):
        """The directories of all instances."""
        return sorted(path for path in self.pool.iterdir() if path.is_dir())

    def make(self, name):
        """mkdir; where all machines are lent, waits for one to come back."""
        path = self.pool / name

        def made():
            try:
                path.mkdir()
                return True
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return False
        wait_for(made, "free machine: " + text(self.pool / "pool.status"))
        return path

    def directory_of(self, name):
        """An instance's directory below the working directory: poolfs-shim(8)."""
        for path in self.workdir.glob("*/instance.json"):
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(text(path))
                if (found["pool"], found["name"]) == (self.pool_name, name):
                    return path.parent
        raise AssertionError(f"{name} has no directory below {self.workdir}")

    def shim(self, name):
        """The process of an instance."""
        return int(text(self.directory_of(name) / "shim.pid").split()[0])

    @staticmethod
    def control_groups():
        """Control groups that bear poolfs' name: those of mounts that others use too."""
        return {os.path.join(top, name) for top, names, _ in os.walk("/sys/fs/cgroup")
                for name in names if name.startswith("poolfs-")}

    def gone(self):
        """Whether every instance has been destroyed."""
        return not [name for name in os.listdir(self.workdir) if name.isdigit()]

    def stop(self):
        """Unmounts, and returns what is wrong afterwards, as lines; once."""
        problems = []
        if self.stopped:
            return problems
        self.stopped = True
        subprocess.run(["fusermount3", "-u", "-z", self.mount], check=True, timeout=PATIENCE)
        try:
            if status := self.process.wait(PATIENCE):
                problems.append(f"the daemon ended with status {status}")
        except subprocess.TimeoutExpired:
            problems.append("the daemon does not end after the unmount; " + self.show_log())
            self.process.kill()
            self.process.wait()
        problems += self.left()
        # The daemon's own, named after the mount point, which nobody has again.
        if self.workdir.name.startswith(self.mount.name + "-") and not problems:
            (self.workdir / "lock").unlink(missing_ok=True)
            self.workdir.rmdir()
        return problems

    def left(self):
        """What is left after the end."""
        keeper, ours = os.getppid(), os.getpid()

        def awaited(look):
            """What look() still finds at the end of a wait for nothing."""
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not look(), "end")
            return look()
        processes = awaited(lambda: descendants(keeper) - {ours})
        groups = awaited(lambda: [group for group in self.control_groups() - self.groups
                                  if not os.path.exists("/proc/" + group.rpartition("-")[2])])
        problems = [f"a process is left: {describe([pid])}" for pid in processes]
        problems += [f"a control group is left: {group}" for group in groups]
        problems += [f"a mount is left: {point}" for point in
                     [*mounts_below(self.base), *mounts_below(self.workdir)]]
        problems += [f"a socket is left: {line.split()[-1]}" for line in
                     text("/proc/net/unix").splitlines()
                     if f"{self.workdir}/" in line or f"{self.base}/" in line]
        problems += [f"an instance's directory is left: {self.workdir / name}: "
                     + " ".join(os.listdir(self.workdir / name))
                     for name in os.listdir(self.workdir) if name.isdigit()]
        problems += [f"a file is left: {path}" for path in (self.base / "tmp").iterdir()]
        log = text(self.log)
        problems += [f"the log says: {line}" for line in log.splitlines()
                     if re.search(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion", line)]
        return problems

    def show_log(self):
        """The end of the daemon's log, for a test that failed."""
        return "the daemon's log ends:\n" + "".join(text(self.log).splitlines(True)[-20:])


# ---- Cases ----------------------------------------------------------------------------------------

class Lab:
    """What the program was called with, and what all cases use."""

    def __init__(self, options, base):
        self.options, self.base = options, base
        self.daemon = Daemon(options.poolfs, options.config, options.pool, base)

    def begin(self):
        """Starts the boots of the instances that most cases use, so that they boot beside each
        other, and writes commands to the first before it can be ready."""
        began = time.monotonic()
        first = self.daemon.make("a")
        self.mkdir_seconds = time.monotonic() - began
        for number in range(3) if (first / "cmd").exists() else ():
            write(first / "cmd", f"echo early {number}; exit {number}")
        for name in ("b", "c")[:self.daemon.count() - 1]:
            self.daemon.make(name)

    def stop(self):
        """The end of the mount, if it is there; what is wrong afterwards."""
        return self.daemon.stop()

    def make(self, name):
        """mkdir; where there is no room, another instance has to go. It is made again on demand."""
        others = self.daemon.instances()
        if len(others) >= self.daemon.count():
            others[0].rmdir()
        return self.daemon.make(name)

    def instance(self, name="a"):
        """An instance that is ready; one that is not usable any more is made anew."""
        path = self.daemon.pool / name
        if path.is_dir() and text(path / "state").strip() not in ("booting", "ready"):
            path.rmdir()
        if not path.is_dir():
            self.make(name)
        return booted(path)


def booted(path):
    """Waits for the end of a boot, which must be a good one."""
    try:
        read(path / "ready")
    except OSError as error:
        raise AssertionError(f"{path.name} did not boot: {error.strerror}: "
                             + text(path / "error")) from None
    return path


def drop(path):
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()


class Case(unittest.TestCase):
    """A case that may take some time, but ends."""

    lab = None
    seconds = 3
    runs = itertools.count()

    def setUp(self):
        # What waits in the mount can be interrupted: then the handler runs, and the test fails.
        signal.signal(signal.SIGALRM, self.too_long)
        signal.alarm(int(self.seconds * PATIENCE))
        self.addCleanup(signal.alarm, 0)

    def too_long(self, *_):
        signal.alarm(int(PATIENCE))  # for the clean-up
        raise AssertionError(f"after {self.seconds * PATIENCE:g} s this goes on; "
                             + self.lab.daemon.show_log())

    def need(self, *names):
        """Skips what takes a file that this kind's instances do not have."""
        for name in names:
            if not (self.instance / name).exists():
                self.skipTest(f"the instances of this kind have no {name}")

    @property
    def daemon(self):
        return self.lab.daemon

    @property
    def instance(self):
        return self.lab.instance()

    def new(self, name):
        """An instance that boots, and goes with the test."""
        path = self.lab.make(name)
        self.addCleanup(drop, path)
        return path

    def start(self, command, instance=None, stdin=b"", **settings):
        """Starts a run; stdin=None leaves its input open."""
        path = (instance or self.instance) / "runs" / f"r{next(Case.runs)}"
        path.mkdir()
        self.addCleanup(drop, path)
        for name, value in settings.items():
            write(path / name, value)
        write(path / "cmd", command)
        if stdin is not None:
            with open(path / "stdin", "wb", buffering=0) as file:
                while stdin:
                    stdin = stdin[file.write(stdin):]
        return path

    def result(self, command, instance=None, stdin=b"", **settings):
        """Runs it to the end: (standard output, standard error, exit, state)."""
        run = self.start(command, instance, stdin, **settings)
        status = int(text(run / "exit"))
        return read(run / "stdout"), read(run / "stderr"), status, text(run / "state").strip()

    def says(self, command, instance=None, **settings):
        """The output of a command that must succeed."""
        out, err, status, state = self.result(command, instance, **settings)
        self.assertEqual((status, state), (0, "exited"), (command, out, err))
        return out

    def put_out(self, run, pattern):
        """Waits until a run has put something out; the match."""
        return wait_for(lambda: re.search(pattern, so_far(run / "stdout")),
                        f"{pattern} in the output")

    def no_process(self, *pids, instance=None):
        """Waits until processes have ended, numbered as the machine numbers them."""
        for pid in pids:
            wait_for(lambda: self.result(f"kill -0 {pid}", instance)[2] != 0, f"end of process {pid}")

    def quickly(self, call, *arguments):
        """Calls what must not wait for a machine."""
        began = time.monotonic()
        value = call(*arguments)
        self.assertLess(time.monotonic() - began, QUICK, "that waited for the machine")
        return value
