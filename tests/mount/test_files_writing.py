# SPDX-License-Identifier: MIT
"""
files/: writes that are answered before the guest has them. No error of theirs may be lost, what
follows them must find them done, and they must stay within their limits.
"""
import contextlib
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import guestfiles
import harness
from harness import read, sh, text, wait_for, write

MIB = 1 << 20
LOST = (errno.EIO, errno.EHOSTDOWN)


def until_error(fd, *calls):
    """The errno of the first call that fails, and how many went before; None when none does."""
    for i, call in enumerate(calls):
        try:
            call(fd)
        except OSError as error:
            return error.errno, i
    return None, len(calls)


class Stopped:
    """For a FilesTest: lets the server stand still for a while."""

    @contextlib.contextmanager
    def stopped(self):
        pids = guestfiles.servers(self.sshd)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError): # one that was just ending
                os.kill(pid, signal.SIGSTOP)
        try:
            yield pids
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def start(self, call, *arguments):
        """Runs a call that is going to wait; the thread, and what came of it."""
        result = []

        def work():
            try:
                result.append(call(*arguments))
            except OSError as error:
                result.append(error.errno)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread, result


class Behind(Stopped, guestfiles.FilesTest):
    def test_writes_do_not_wait_but_closes_do(self):
        fd = os.open(self.here / "x", os.O_CREAT | os.O_WRONLY)
        with self.stopped():
            for i in range(4):
                self.assertEqual(os.write(fd, bytes([i]) * MIB), MIB)
            closing, result = self.start(os.close, fd)
            closing.join(0.3)
            self.assertTrue(closing.is_alive())
        closing.join(harness.PATIENCE)
        self.assertEqual(result, [None])
        self.assertEqual(self.both(), b"".join(bytes([i]) * MIB for i in range(4)))

    def test_limit(self):
        """More than is allowed to be under way waits; the shim stays small."""
        fds = [self.open(f"x{i}", os.O_CREAT | os.O_WRONLY) for i in range(6)]
        written = [0] * len(fds)

        data = os.urandom(MIB)

        def work(i):
            for _ in range(16):
                written[i] += os.write(fds[i], data)
        with self.stopped():
            threads = [self.start(work, i)[0] for i in range(len(fds))]
            wait_for(lambda: sum(written) == 12 * MIB, "the limit", 9)
            threads[0].join(0.5)
            self.assertTrue(all(thread.is_alive() for thread in threads))
            self.assertEqual(sum(written), 12 * MIB)
            self.assertLess(self.peak(), 64 << 10)
        for thread in threads:
            thread.join(harness.PATIENCE)
        self.assertEqual(written, [16 * MIB] * len(fds))
        self.assertLess(self.peak(), 64 << 10)

    def test_many_small_writes(self):
        """More than there may be requests."""
        fd = os.open(self.here / "x", os.O_CREAT | os.O_WRONLY)
        with self.stopped():
            writing, result = self.start(lambda: [os.write(fd, b"%04d" % i) for i in range(9000)])
            writing.join(1)
            self.assertTrue(writing.is_alive())
        writing.join(harness.PATIENCE)
        self.assertEqual(result, [[4] * 9000])
        os.close(fd)
        self.assertEqual(read(self.there / "x"), b"".join(b"%04d" % i for i in range(9000)))

    def peak(self):
        """The most memory that the shim ever had, in KiB."""
        if "libasan" in text(f"/proc/{self.mount.shim_pid('host', 'a')}/maps"):
            return 0 # it measures the sanitizer
        status = text(f"/proc/{self.mount.shim_pid('host', 'a')}/status")
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    def test_sync_writes_wait(self):
        for flags in (os.O_SYNC, os.O_DSYNC):
            fd = self.open("x", os.O_CREAT | os.O_WRONLY | flags)
            with self.stopped():
                writing, result = self.start(os.write, fd, b"content")
                writing.join(0.3)
                self.assertTrue(writing.is_alive())
            writing.join(harness.PATIENCE)
            self.assertEqual(result, [7])

    def test_what_follows_finds_it_done(self):
        """Every kind of request behind a write that is under way."""
        followers = {
            "stat": lambda path, fd: os.stat(path).st_size == 5 * MIB,
            "fstat": lambda path, fd: os.fstat(fd).st_size == 5 * MIB,
            "read": lambda path, fd: os.pread(fd, 10, 5 * MIB - 5) == b"44444",
            "other": lambda path, fd: read(path)[-3:] == b"444",
            "append": lambda path, fd: self.append(path) and os.stat(path).st_size == 5 * MIB + 3,
            "truncate": lambda path, fd: os.truncate(path, 7) is None and os.fstat(fd).st_size == 7,
            "rename": lambda path, fd: os.rename(path, f"{path}.new") is None and
                      read(f"{path}.new")[-1:] == b"4",
            "unlink": lambda path, fd: os.unlink(path) is None and os.fstat(fd).st_size == 5 * MIB,
            "list": lambda path, fd: os.stat(path).st_size in
                    {entry.stat().st_size for entry in os.scandir(os.path.dirname(path))},
        }
        for name, follower in followers.items():
            with self.subTest(name):
                fd = os.open(self.here / name, os.O_CREAT | os.O_RDWR)
                with self.stopped():
                    for i in range(5):
                        os.write(fd, b"%d" % i * MIB)
                    following, result = self.start(follower, str(self.here / name), fd)
                    following.join(0.1)
                following.join(harness.PATIENCE)
                self.assertEqual(result, [True])
                os.close(fd)

    @staticmethod
    def append(path):
        with open(path, "ab", buffering=0) as file:
            return file.write(b"end")

    def test_waiting_close_is_interrupted(self):
        script = ("import os, sys\nfd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n"
                  "sys.stdin.read(1)\nos.write(fd, bytes(1 << 20))\nprint('written', flush=True)\n"
                  "os.close(fd)\n")
        process = subprocess.Popen([harness.sys.executable, "-c", script, self.here / "x"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        wait_for((self.there / "x").exists, "the file")
        with self.stopped():
            process.stdin.write(b"\n")
            process.stdin.close()
            self.assertEqual(process.stdout.readline(), b"written\n")
            wait_for(lambda: "request_wait" in text(f"/proc/{process.pid}/wchan"), "waiting close")
            process.kill()
            self.assertEqual(process.wait(5), -signal.SIGKILL)
        wait_for(lambda: os.stat(self.there / "x").st_size == MIB, "what was written")


class Lost(Stopped, guestfiles.FilesTest):
    """The connection ends while something is under way."""

    def lost(self):
        return sum(" ready lost" in line for line in text(self.mount.path / "events").splitlines())

    def test_lost_with_the_connection(self):
        for last in (os.close, os.fsync, self.write_on):
            fd = os.open(self.here / "x", os.O_CREAT | os.O_WRONLY)
            other = os.open(self.here / "x", os.O_WRONLY)
            before = self.lost()
            with self.stopped() as pids:
                os.write(fd, bytes(MIB))
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            # The other open file is told, too.
            numbers = until_error(fd, last)[0], until_error(other, os.close)[0]
            if last != os.close:
                self.assertIn(until_error(fd, os.close)[0], LOST + (None,))
            self.assertIn(numbers[0], LOST)
            self.assertIn(numbers[1], LOST)
            wait_for(lambda: self.lost() > before and text(self.instance / "state") == "ready\n",
                     "new connection")

    @staticmethod
    def write_on(fd):
        """Writes until the loss is noticed."""
        for _ in range(1000):
            os.write(fd, b"x")
            time.sleep(0.01)


class Full(guestfiles.FilesTest):
    """The guest's disk is a small one."""

    @classmethod
    def configure(cls):
        if os.getuid() != 0:
            raise unittest.SkipTest("not root")
        configuration = super().configure()
        home = cls.sshd.directory / "home"
        sh(f"mount -t tmpfs -o size=2m none {home}")
        return configuration

    @classmethod
    def tearDownClass(cls):
        if cls.sshd and os.path.ismount(cls.sshd.directory / "home"):
            sh(f"umount -l {cls.sshd.directory}/home")
        super().tearDownClass()

    def tearDown(self):
        shutil.rmtree(self.there)

    def test_told_at_the_latest_by_close(self):
        for calls in ([lambda fd: os.write(fd, bytes(MIB))] * 8 + [os.close],
                      [lambda fd: os.write(fd, bytes(MIB))] * 3 + [os.fsync],
                      [lambda fd: os.pwrite(fd, bytes(MIB), 5 * MIB)] * 1 + [
                          lambda fd: os.pwrite(fd, bytes(MIB), 0), lambda fd: os.pwrite(fd, b"x" * MIB, MIB),
                          os.close]):
            fd = os.open(self.here / "x", os.O_CREAT | os.O_WRONLY)
            number, before = until_error(fd, *calls)
            self.assertEqual(number, errno.ENOSPC)
            if before < len(calls) - 1 or calls[-1] != os.close:
                with contextlib.suppress(OSError):
                    os.close(fd)
            os.unlink(self.here / "x")

    def test_programs_fail(self):
        for command in ("cp {big} x", "dd if={big} of=x bs=64k", "dd if={big} of=x bs=1M conv=fsync",
                        "cat {big} >x", "tar cf x {big}"):
            with tempfile.NamedTemporaryFile() as big:
                big.write(os.urandom(8 * MIB))
                big.flush()
                done = subprocess.run(command.format(big=big.name), shell=True, cwd=self.here,
                                      stderr=subprocess.PIPE, text=True)
                self.assertNotEqual(done.returncode, 0, command)
                self.assertIn("No space left", done.stderr)
                os.unlink(self.here / "x")

    def test_told_once_to_each(self):
        one = os.open(self.here / "x", os.O_CREAT | os.O_WRONLY)
        other = os.open(self.here / "x", os.O_WRONLY)
        number, _ = until_error(one, *[lambda fd: os.write(fd, bytes(MIB))] * 6, os.fsync)
        self.assertEqual(number, errno.ENOSPC)
        self.fails(errno.ENOSPC, os.fsync, other)
        os.fsync(other)
        os.close(other)
        later = os.open(self.here / "x", os.O_WRONLY)
        os.close(later)
        with contextlib.suppress(OSError):
            os.close(one)


class Quota(guestfiles.FilesTest):
    """The server may not write files beyond a size, which SFTP says as a mere failure."""

    @classmethod
    def configure(cls):
        program = "/usr/lib/openssh/sftp-server"
        if not os.path.exists(program):
            raise unittest.SkipTest("no sftp-server that is a program of its own")
        directory = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-quota."))
        cls.addClassCleanup(shutil.rmtree, directory)
        write(directory / "server", f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 1024\nexec {program}\n")
        (directory / "server").chmod(0o755)
        os.environ["SSHD_SFTP"] = str(directory / "server")
        try:
            return super().configure()
        finally:
            del os.environ["SSHD_SFTP"]

    def test_told(self):
        fd = os.open(self.here / "x", os.O_CREAT | os.O_WRONLY)
        os.write(fd, bytes(400000))
        number, _ = until_error(fd, lambda fd: os.write(fd, bytes(MIB)), os.close)
        self.assertEqual(number, errno.EIO)


if __name__ == "__main__":
    harness.main()
