# SPDX-License-Identifier: MIT
"""files/ with files_mode = eager: what is answered before the guest has done it, and what waits for it."""
import contextlib
import errno
import os
import signal
import threading

import guestfiles
import harness
import test_files_model
import test_files_plain
from harness import read, text, wait_for, write


class Eager(guestfiles.FilesTest):
    keys = {"files_mode": "eager"}

    @contextlib.contextmanager
    def stopped(self):
        """The server does nothing meanwhile."""
        pids = guestfiles.servers(self.sshd)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.go_on(pids)

    @staticmethod
    def go_on(pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def setUp(self):
        super().setUp()
        self.run_in(self.instance, "true") # nothing is believed to be absent

    def lost(self):
        return text(self.mount.path / "events").count(" ready lost")

    def errors(self):
        lines = dict(line.split(" ", 1) for line in text(self.instance / "status").splitlines())
        return int(lines["files_errors"])

    def known(self):
        """A directory made here, in which nothing needs to be looked up."""
        top = self.here / "top"
        top.mkdir()
        self.run_in(self.instance, "true")
        (top / "sub").mkdir()
        return top / "sub"


class Answers(Eager):
    def test_ahead(self):
        """All of this is answered while the server stands still, and seen here as it is going to be."""
        top = self.known()
        with self.stopped():
            fd = os.open(top / "x", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640)
            os.write(fd, b"0123456789")
            os.fchmod(fd, 0o600)
            os.utime(fd, (100, 200))
            status = os.fstat(fd)
            self.assertEqual((status.st_size, status.st_mode, int(status.st_mtime)),
                             (10, 0o100600, 200))
            os.close(fd)
            (top / "d").mkdir()
            os.symlink("x", top / "l")
            os.utime(top / "x", (300, 400))
            os.chmod(top / "x", 0o644)
            status = os.stat(top / "x")
            self.assertEqual((status.st_size, status.st_mode, int(status.st_mtime)),
                             (10, 0o100644, 400))
            number = status.st_ino
        self.run_in(self.instance, "true")
        there = self.there / "top/sub"
        self.assertEqual(read(there / "x"), b"0123456789")
        for side in (top, there):
            status = os.stat(side / "x")
            self.assertEqual((status.st_size, status.st_mode, int(status.st_mtime)),
                             (10, 0o100644, 400))
        self.assertEqual(os.stat(top / "x").st_ino, number)
        self.assertEqual(os.readlink(there / "l"), "x")
        self.assertTrue((there / "d").is_dir())
        self.assertEqual(self.errors(), 0)

    def test_runs_wait(self):
        top = self.known()
        for i in range(300):
            write(top / f"f{i}", b"%d" % i)
        output, status = self.run_in(self.instance, f"cd {self.there}/top/sub && cat f299 && echo && ls | wc -l")
        self.assertEqual((output.split(), status), ([b"299", b"300"], 0))

    def test_opens_see_what_was_written(self):
        top = self.known()
        for i in range(100):
            write(top / "x", b"%d" % i)
            self.assertEqual(read(top / "x"), b"%d" % i)
        self.assertEqual(os.listdir(top), ["x"])

    def test_fsync_waits(self):
        top = self.known()
        fd = os.open(top / "x", os.O_CREAT | os.O_WRONLY)
        done = []
        with self.stopped():
            os.write(fd, b"data")
            thread = threading.Thread(target=lambda: done.append(os.fsync(fd)), daemon=True)
            thread.start()
            thread.join(0.3)
            self.assertEqual(done, [])
        thread.join(harness.PATIENCE)
        self.assertEqual(done, [None])
        self.assertEqual(read(self.there / "top/sub/x"), b"data")
        os.close(fd)

    def test_many_at_once(self):
        """More than may be under way."""
        top = self.known()
        for i in range(3000):
            with open(top / f"f{i}", "wb", buffering=0) as file:
                file.write(b"%d" % i)
        self.run_in(self.instance, "true")
        there = self.there / "top/sub"
        self.assertEqual(len(os.listdir(there)), 3000)
        self.assertEqual(b"".join(read(there / f"f{i}") for i in range(3000)),
                         b"".join(b"%d" % i for i in range(3000)))
        self.assertEqual(self.errors(), 0)


class Errors(Eager):
    def test_create(self):
        """What came in the way meanwhile is told by fsync of the file and of the directory, and in error."""
        top = self.known()
        directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, directory)
        before = self.errors()
        wait_for((self.there / "top/sub").is_dir, "directory")
        with self.stopped():
            fd = os.open(top / "x", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(fd, b"lost")
            write(self.there / "top/sub/x", b"in the way")
        self.fails(errno.EEXIST, os.fsync, fd)
        os.close(fd)
        self.assertGreater(self.errors(), before)
        self.assertIn("top/sub/x: ", text(self.instance / "error"))
        self.assertIn("top/sub/x: File exists", text(self.mount.path / "events"))
        self.assertEqual(self.both("top/sub/x"), b"in the way")
        self.fails(errno.EEXIST, os.fsync, directory)
        os.fsync(directory)

    def test_full_disk(self):
        if os.getuid() != 0:
            self.skipTest("needs root")
        self.mount_there("size=64k")
        self.run_in(self.instance, "true")
        before = self.errors()
        fd = os.open(self.here / "x", os.O_CREAT | os.O_WRONLY)
        os.write(fd, bytes(100000))
        self.fails(errno.ENOSPC, os.fsync, fd)
        os.close(fd)
        self.assertGreater(self.errors(), before)
        self.assertIn("No space left on device", text(self.instance / "error"))

    def test_loss(self):
        """What was under way when the connection was lost is an error of the files."""
        top = self.known()
        before, pids, lost = self.errors(), guestfiles.servers(self.sshd), self.lost()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            fd = os.open(top / "x", os.O_CREAT | os.O_WRONLY)
            os.write(fd, b"lost")
            write(top / "y", b"lost too")
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.errors() >= before + 2, "errors")
        self.fails(errno.EIO, os.close, fd)
        self.assertIn("Input/output error", text(self.instance / "error"))
        wait_for(lambda: self.lost() > lost, "loss")
        wait_for(lambda: text(self.instance / "state") == "ready\n", "new connection")
        write(top / "z", b"again")
        self.run_in(self.instance, "true")
        self.assertEqual(read(self.there / "top/sub/z"), b"again")


class Ends(Eager):
    def make_many(self, instance):
        """Many small files in a new directory."""
        top = instance / "files" / self.there.name / "new"
        top.mkdir()
        for i in range(200):
            write(top / f"f{i}", b"%d" % i)

    def assert_made(self):
        """They are there, whole."""
        self.assertEqual([read(self.there / f"new/f{i}") for i in range(200)],
                         [b"%d" % i for i in range(200)])

    def test_rmdir_of_the_instance(self):
        """What was answered is done before the instance goes."""
        other = self.mount.path / "host/other"
        other.mkdir()
        read(other / "ready")
        self.make_many(other)
        other.rmdir()
        wait_for(lambda: "host/other closing -" in text(self.mount.path / "events"), "end")
        self.assert_made()

    def test_unmount(self):
        mount = harness.Mount(harness.ssh_pool(self.sshd, files=self.sshd.directory / "home",
                                               files_mode="eager"))
        instance = mount.path / "host/a"
        instance.mkdir()
        read(instance / "ready")
        self.make_many(instance)
        mount.stop()
        self.assert_made()


class Model(test_files_model.Operations, Eager):
    """Random operations, as in test_files_model.py; the guest's own come when all from here are done."""

    count = 1500

    def guest(self, source):
        for side in (self.model, self.mine):
            side.close_all()
        self.run_in(self.instance, "true")
        super().guest(source)

    def test_random_operations(self):
        super().test_random_operations()
        self.run_in(self.instance, "true")
        self.assertEqual(self.errors(), 0)


class ModelOfOwners(Model):
    """With the guest's owners, which what is made up must have too."""

    keys = {**Eager.keys, "owner": "guest"}
    count = 500


class ModelPlain(test_files_plain.PlainServer, test_files_plain.PlainOperations, Model):
    """With a server that changes attributes in several steps."""

    count = 500


if __name__ == "__main__":
    harness.main()
