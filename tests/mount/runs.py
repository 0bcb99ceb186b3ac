# SPDX-License-Identifier: MIT
"""
What the tests of runs share: one instance for all tests of a class, runs with names of their own,
and a look at which processes of a run are there, by a number that only they have as an argument.
"""
import contextlib
import errno
import itertools
import os
import pathlib
import random

import harness
from harness import read, text, wait_for, write

counter = itertools.count()


def token():
    """A time to sleep that no other process sleeps."""
    return f"{random.randint(1000, 9999)}.{random.randint(10**8, 10**9 - 1)}"


def local_processes(argument):
    """The pids of this machine's processes that have an argument in their command line. A process whose
    first thread has ended shows it in the others only."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.name) != os.getpid() and any(
                    argument.encode() in (thread / "cmdline").read_bytes()
                    for thread in (process / "task").iterdir()):
                found.append(int(process.name))
    return found


def parent(pid):
    """The parent of a process; none when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def so_far(path):
    """What a stream that may not have ended has."""
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


class RunTools:
    """For a MountTest whose class has an `instance`."""

    def named(self, name=None, **settings):
        """Makes a run with a name and settings."""
        run = self.instance / "runs" / (name or f"r{next(counter)}")
        run.mkdir()
        self.addCleanup(self.drop, run)
        for key, value in settings.items():
            write(run / key, value)
        return run

    def start(self, command, name=None, **settings):
        """Starts a run that has no input unless it is written before."""
        run = self.named(name, **settings)
        write(run / "cmd", command)
        return run

    def quiet(self, command, name=None, **settings):
        """Starts a run whose input is at its end."""
        run = self.start(command, name, **settings)
        write(run / "stdin", b"")
        return run

    def result(self, command, **settings):
        """Runs to the end: (stdout, stderr, exit, state)."""
        run = self.quiet(command, **settings)
        status = int(text(run / "exit"))
        return read(run / "stdout"), read(run / "stderr"), status, text(run / "state").strip()

    def ended(self, run):
        """Waits for a run's end: (exit, state)."""
        return int(text(run / "exit")), text(run / "state").strip()

    def running(self, run):
        wait_for(lambda: text(run / "state") == "running\n", "start of the run")
        return run

    def put_out(self, run, word):
        """Waits until a run has put out a word."""
        wait_for(lambda: word in so_far(run / "output"), f"{word} in the output")
        return run

    def refused(self, path, data):
        """The name of the error that a write meets."""
        try:
            write(path, data)
        except OSError as error:
            return errno.errorcode[error.errno]
        return None


class HostRuns(RunTools, harness.SshTest):
    """One instance on an SSH server of this machine; its processes are those of this machine."""

    sshd_config = ("MaxSessions 100",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.instance = cls.make("host")

    def processes(self, argument):
        return local_processes(argument)


class GuestRuns(RunTools, harness.GuestTest):
    """One virtual machine, with busybox and Dropbear."""

    keys = {"memory": "128M"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.instance = cls.make("linux")

    def processes(self, argument):
        """The pids in the guest. The brackets keep the search from finding itself."""
        output, _ = self.run_in(self.instance, f"grep -ls '{argument[:-1]}[{argument[-1]}]' "
                                               "/proc/[0-9]*/cmdline")
        return output.decode().split()
