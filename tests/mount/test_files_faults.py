# SPDX-License-Identifier: MIT
"""files/: while the machine boots, when its server dies or stands still, and after that."""
import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

import guestfiles
import harness
from harness import read, sh, text, wait_for, write

GONE = (errno.EHOSTDOWN, errno.EIO, errno.ETIMEDOUT)


class FaultsTest(harness.MountTest):
    """Pool `near` reaches the server through a proxy, pool `host` directly."""

    @classmethod
    def configure(cls):
        os.umask(0o022)
        cls.sshd = harness.Sshd(tempfile.mkdtemp(prefix="poolfs-sshd."))
        cls.proxy = guestfiles.Proxy(cls.sshd.port)
        cls.addClassCleanup(cls.proxy.stop)
        cls.home = cls.sshd.directory / "home"
        cls.home.mkdir()
        known = cls.sshd.directory / "known_hosts"
        known.write_text(text(known) + text(known).replace(str(cls.sshd.port), str(cls.proxy.port)))
        return (harness.ssh_pool(cls.sshd, files=cls.home) +
                harness.ssh_pool(cls.sshd, "near", files=cls.home, ssh_port=cls.proxy.port))

    def setUp(self):
        self.proxy.open.set()
        for name in os.listdir(self.home):
            path = self.home / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def start(self, *command, stdout=subprocess.PIPE, **more):
        """Starts a program whose end the test awaits."""
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, **more)
        self.addCleanup(process.stderr.close)
        if process.stdout:
            self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def waits(self, process):
        """Awaits that the program waits for an answer of ours."""
        wait_for(lambda: "request_wait" in text(f"/proc/{process.pid}/wchan"), "request that waits", 10)

    def gone(self, call, *arguments):
        """Awaits that the call fails as it must without a connection, for as long as it succeeds yet."""
        def fails():
            try:
                call(*arguments)
            except OSError as error:
                self.assertIn(error.errno, GONE, error)
                return True
            return False
        wait_for(fails, "failure", 20)

    def back(self, instance):
        """Awaits the next connection."""
        def works():
            with contextlib.suppress(OSError):
                return os.stat(instance / "files/x")
        self.proxy.open.set()
        wait_for(works, "new connection")

    def test_before_ready(self):
        self.proxy.open.clear()
        write(self.home / "x", "content")
        instance = self.new("near", ready=False)
        began = time.monotonic()
        sh("ls -l; stat files; test -d files; cat state", cwd=instance)
        self.assertLess(time.monotonic() - began, 5)
        programs = [self.start(*command) for command in (
            ["cat", instance / "files/x"], ["ls", instance / "files"],
            ["cp", "/etc/passwd", instance / "files/passwd"])]
        self.assertRaises(subprocess.TimeoutExpired, programs[0].wait, 0.2)
        self.proxy.open.set()
        self.assertEqual([program.wait(harness.PATIENCE) for program in programs], [0, 0, 0])
        self.assertEqual(programs[0].stdout.read(), b"content")
        self.assertEqual(read(self.home / "passwd"), read("/etc/passwd"))

    def test_interrupted_before_ready(self):
        self.proxy.open.clear()
        instance = self.new("near", ready=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            victim = self.start("cat", instance / "files/x")
            self.waits(victim)
            began = time.monotonic()
            victim.send_signal(number)
            self.assertEqual(victim.wait(5), -number)
            self.assertLess(time.monotonic() - began, 2)

    def test_removed_before_ready(self):
        self.proxy.open.clear()
        instance = self.new("near", ready=False)
        program = self.start("cat", instance / "files/x")
        self.waits(program)
        instance.rmdir()
        self.assertEqual(program.wait(10), 1)
        self.assertRegex(program.stderr.read(), b"No such device|Host is down")

    def test_connection_lost(self):
        write(self.home / "x", "content")
        instance = self.new("near")
        (self.home / "d").mkdir()
        with open(instance / "files/x", "r+b", buffering=0) as file, \
                os.scandir(instance / "files") as directory:
            self.assertEqual(file.read(3), b"con")
            self.proxy.cut()
            self.gone(os.stat, instance / "files/x")
            wait_for(lambda: text(instance / "state") == "lost\n", "loss")
            for call in (lambda: os.stat(instance / "files/x"), lambda: os.listdir(instance / "files"),
                         lambda: write(instance / "files/new", "x"), lambda: file.write(b"x"),
                         lambda: os.fsync(file.fileno()), lambda: os.mkdir(instance / "files/e")):
                began = time.monotonic()
                self.gone(call)
                self.assertLess(time.monotonic() - began, 5)
            sh("ls -l; cat state error status", cwd=instance)
            self.back(instance)
            # The open file goes on: nothing was written before.
            self.assertEqual(file.write(b"T"), 1)
            os.fsync(file.fileno())
            self.assertEqual(os.fstat(file.fileno()).st_size, 7)
            self.assertEqual(read(self.home / "x"), b"conTent")
            file.truncate(2)
            self.assertEqual(sorted(entry.name for entry in directory), ["d", "x"])
        self.assertEqual(read(instance / "files/x"), b"co")
        write(instance / "files/new", "new")
        self.assertEqual(read(self.home / "new"), b"new")
        self.assertEqual(sorted(os.listdir(instance / "files")), ["d", "new", "x"])

    def open_at_server(self):
        """What the server has open below files/."""
        found = []
        for pid in guestfiles.servers(self.sshd):
            with contextlib.suppress(OSError):
                for name in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        return [path for path in found if path.startswith(str(self.home))]

    def test_interrupted_callers_leave_nothing_open(self):
        for i in range(2000):
            (self.home / f"{i:04d}").touch()
        instance = self.new("host")
        delays = random.Random(6)
        programs = ("ls -l", "cat 00*", "sort 01*", "find . -newer 0000")
        for i in range(80):
            program = self.start("sh", "-c", "exec " + programs[i % 4], cwd=instance / "files",
                                 stdout=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(delays.random() * 0.05)
            program.send_signal((signal.SIGINT, signal.SIGKILL)[i % 2])
            program.wait(10)
        wait_for(lambda: not self.open_at_server(), "end of what the callers had open", 10)
        with open(instance / "files/0000") as file:
            self.assertEqual(self.open_at_server(), [str(self.home / "0000")])
        self.assertEqual(len(os.listdir(instance / "files")), 2000)

    def test_server_stands_still(self):
        write(self.home / "x", "content")
        host = self.new("host", "b")
        read(host / "files/x")
        others = guestfiles.servers(self.sshd)
        near = self.new("near")
        read(near / "files/x")
        stopped = guestfiles.servers(self.sshd) - others
        self.assertTrue(stopped)
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            self.addCleanup(self.kill, pid)
        began = time.monotonic()
        program = self.start("cat", near / "files/x")
        other = self.start("dd", "if=/dev/zero", f"of={near}/files/new", "bs=1M", "count=3")
        slowest = 0.0
        while program.poll() is None:
            start = time.monotonic()
            os.stat(host / "files/x")
            text(near / "state")
            text(host / "state")
            os.listdir(near)
            slowest = max(slowest, time.monotonic() - start)
            self.assertLess(time.monotonic() - began, 30)
            time.sleep(0.02)
        took = time.monotonic() - began
        self.assertEqual(program.wait(), 1)
        self.assertRegex(program.stderr.read(), b"timed out|Host is down|Input/output")
        self.assertGreater(took, 5)
        self.assertLess(took, 20)
        self.assertLess(slowest, 1)
        self.assertNotEqual(other.wait(20), 0)
        self.back(near)
        self.assertEqual(read(near / "files/x"), b"content")

    @staticmethod
    def kill(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def test_server_killed(self):
        write(self.home / "x", "content")
        others = guestfiles.servers(self.sshd)
        instance = self.new("near")
        file = open(instance / "files/big", "wb", buffering=0)
        file.write(bytes(1 << 20))
        for pid in guestfiles.servers(self.sshd) - others:
            self.kill(pid)
        self.gone(file.write, b"x")
        with contextlib.suppress(OSError): # what had not been written is told again
            file.close()
        self.back(instance)
        self.assertEqual(read(instance / "files/x"), b"content")


if __name__ == "__main__":
    harness.main()
