# SPDX-License-Identifier: MIT
"""files/: open files, copies and synced data when the server's connection is killed in the middle."""
import contextlib
import errno
import mmap
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile

import guestfiles
import harness
from harness import read, sh, text, wait_for, write

LOST = (errno.EHOSTDOWN, errno.EIO, errno.ETIMEDOUT)


class Losses(guestfiles.LoggedServer, guestfiles.FilesTest):
    """The connection's processes of a real server are killed."""

    def looks(self, handles):
        """Awaits that open handles (their number by their file's name) were looked at, after the last change."""
        looked = {name: set() for name in handles}

        def enough():
            for line in self.asked().splitlines():
                for name, seen in looked.items():
                    if f'/{name}"' not in line:
                        continue
                    if ": write " in line or "set " in line:
                        seen.clear()
                    elif ": fstat " in line:
                        seen.add(line.rpartition("(handle ")[2])
            return all(len(looked[name]) >= number for name, number in handles.items())
        wait_for(enough, f"looks at {handles}", 20)

    def cut(self):
        """Ends the connection."""
        self.before = self.lost()
        for pid in guestfiles.servers(self.sshd):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def back(self):
        """Awaits the next connection."""
        wait_for(lambda: self.lost() > self.before, "loss")
        wait_for(lambda: text(self.instance / "state") == "ready\n", "new connection")

    def kill(self):
        self.cut()
        self.back()

    def lost(self):
        return sum(" ready lost" in line for line in text(self.mount.path / "events").splitlines())

    def fresh(self, name, flags, data=b"0123456789"):
        """An open file that was not used lately."""
        write(self.here / name, data)
        return self.open(name, flags)

    def test_open_files_go_on(self):
        reader, writer = self.fresh("x", os.O_RDONLY), self.open("x", os.O_RDWR)
        appender = self.fresh("y", os.O_WRONLY | os.O_APPEND)
        renamed = self.fresh("z", os.O_RDWR)
        os.mkdir(self.here / "d")
        os.rename(self.here / "z", self.here / "d/z")
        self.assertEqual(os.read(reader, 2), b"01")
        os.pwrite(writer, b"two", 2)
        os.write(appender, b"+")
        os.pwrite(renamed, b"r", 0)
        self.looks({"x": 2, "y": 1, "z": 1})
        self.kill()
        self.assertEqual(os.read(reader, 4), b"two5")
        os.pwrite(writer, b"SIX", 6)
        self.assertEqual(os.write(appender, b"-"), 1)
        os.pwrite(renamed, b"R", 1)
        self.assertEqual(os.fstat(writer).st_size, 10)
        os.ftruncate(writer, 12)
        for fd in (writer, appender, renamed):
            # What was not synced before may have been lost by the machine.
            self.fails(errno.EIO, os.fsync, fd)
            os.fsync(fd)
        self.assertEqual(self.both("x"), b"01two5SIX9\0\0")
        self.assertEqual(self.both("y"), b"0123456789+-")
        self.assertEqual(self.both("d/z"), b"rR23456789")
        # And once more.
        self.looks({"x": 2})
        self.kill()
        self.assertEqual(os.pread(reader, 3, 0), b"01t")
        os.pwrite(writer, b"again", 0)
        os.fsync(writer)
        self.assertEqual(self.both("x"), b"again5SIX9\0\0")

    def test_synced_before_is_no_error_after(self):
        fd = self.fresh("x", os.O_RDWR)
        os.write(fd, b"synced")
        os.fsync(fd)
        self.looks({"x": 1})
        self.kill()
        os.fsync(fd)
        os.pwrite(fd, b"more", 6)
        os.fsync(fd)
        self.assertEqual(self.both(), b"syncedmore")

    def test_other_files_are_stale(self):
        def removed(path):
            path.unlink()

        def replaced(path):
            (path.parent / "new").write_bytes(b"0123456789")
            shutil.copystat(path, path.parent / "new")
            os.utime(path.parent / "new", (1, 2))
            os.rename(path.parent / "new", path)

        def grown(path):
            with open(path, "ab") as file:
                file.write(b"more")

        def directory(path):
            path.unlink()
            path.mkdir()

        def link(path):
            os.rename(path, path.parent / f"{path.name}.moved")
            os.symlink(f"{path.name}.moved", path)

        def fifo(path):
            path.unlink()
            os.mkfifo(path)
        changes = (removed, replaced, grown, directory, link, fifo)
        fds = {change: self.fresh(change.__name__, os.O_RDWR) for change in changes}
        unlinked = self.fresh("unlinked", os.O_RDWR)
        os.unlink(self.here / "unlinked")
        write(self.here / "unlinked", b"0123456789")
        self.kill()
        for change in changes:
            change(self.there / change.__name__)
        for name, fd in [(change.__name__, fd) for change, fd in fds.items()] + [("unlinked", unlinked)]:
            with self.subTest(name):
                self.fails(errno.ESTALE, os.pwrite, fd, b"x", 0)
                self.fails(errno.ESTALE, os.pread, fd, 1, 0)
                self.fails(errno.EIO, os.fsync, fd)
                self.fails(errno.ESTALE, os.fsync, fd)
        for name in ("replaced", "grown", "unlinked"):
            self.assertEqual(read(self.there / name)[:10], b"0123456789")
            write(self.here / name, b"written anew")
            self.assertEqual(self.both(name), b"written anew")
        # What is stale stays so, even when the old file comes back.
        self.fails(errno.ESTALE, os.pwrite, fds[grown], b"x", 0)

    def test_a_file_that_is_being_written(self):
        fd = self.fresh("x", os.O_RDWR)
        error, written = None, 0
        block = bytes(1 << 20)
        for i in range(1000):
            if i == 10:
                self.cut()
            try:
                written += os.pwrite(fd, block, written)
            except OSError as caught:
                error = caught
                break
        self.assertIn(error.errno, LOST)
        self.back()
        # It may be the same or not: nobody can tell. Some of what write(2) took may be lost.
        self.fails(errno.EIO, os.fsync, fd)
        self.fails(errno.ESTALE, os.pwrite, fd, b"x", 0)
        self.assertGreater(os.stat(self.there / "x").st_size, 0)
        self.assertGreater(written, 0)

    def test_what_was_synced_is_there(self):
        fd = self.fresh("x", os.O_WRONLY, b"")
        synced = 0
        random.seed(8)
        for i in range(200):
            if i == 150:
                self.cut()
            data = random.randbytes(5000)
            try:
                os.pwrite(fd, data, i * 5000)
                os.fsync(fd)
            except OSError as error:
                self.assertIn(error.errno, LOST + (errno.ESTALE,))
                break
            synced = i + 1
        random.seed(8)
        self.assertGreaterEqual(synced, 150)
        self.assertEqual(read(self.there / "x")[:synced * 5000],
                         b"".join(random.randbytes(5000) for _ in range(synced)))
        self.back()

    def test_mapped(self):
        fd = self.fresh("x", os.O_RDWR, bytes(100000))
        with mmap.mmap(fd, 100000) as area:
            area[0:5] = b"first"
            area.flush()
            os.fsync(fd)
            self.looks({"x": 1})
            self.kill()
            area[50000:50006] = b"second"
            area.flush()
        self.assertEqual(self.both()[:5] + self.both()[50000:50006], b"firstsecond")

    def interrupted_copy(self, command, destination):
        """Kills the connection while the command copies; it must fail, and succeed when run again."""
        program = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        wait_for(lambda: sum(path.stat().st_size for path in destination.rglob("*")
                             if path.is_file()) > 5 << 20, "beginning of the copy")
        self.cut()
        self.assertNotEqual(program.wait(harness.PATIENCE), 0)
        self.assertRegex(program.stdout.read(), b"Host is down|Input/output error|timed out")
        self.back()
        sh(command)

    def source(self):
        directory = tempfile.TemporaryDirectory(prefix="poolfs-losses.")
        self.addCleanup(directory.cleanup)
        data = random.Random(9).randbytes(1 << 20)
        for i in range(4):
            write(f"{directory.name}/{i}", b"%d" % i + data * 40)
        return pathlib.Path(directory.name)

    def test_cp(self):
        source = self.source()
        self.interrupted_copy(f"cp -rT '{source}' '{self.here}'", self.there)
        sh(f"diff -r '{source}' '{self.here}'; diff -r '{source}' '{self.there}'")

    def test_rsync(self):
        if not shutil.which("rsync"):
            self.skipTest("no rsync")
        source = self.source()
        self.interrupted_copy(f"rsync -a '{source}/' '{self.here}/'", self.there)
        # What rsync could not remove without a connection is left.
        sh(f"rm -f '{self.here}'/.?.*; diff -r '{source}' '{self.here}'; diff -r '{source}' '{self.there}'")

    def test_reading_goes_on(self):
        data = random.Random(10).randbytes(30 << 20)
        write(self.there / "x", data)
        fd, got = self.open("x", os.O_RDONLY), b""
        killed = False
        while len(got) < len(data):
            if len(got) > 8 << 20 and not killed:
                killed = True
                self.kill()
            with contextlib.suppress(OSError):
                got += os.pread(fd, 100000, len(got))
        self.assertTrue(got == data)


if __name__ == "__main__":
    harness.main()
