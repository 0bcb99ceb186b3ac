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
    # However slow a test is, what is known at its beginning is known at its end.
    keys = {"files_mode": "eager", "cache": 60}

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


class Reading(Eager):
    def test_one_after_the_other(self):
        """Files that were read ahead show what was done to them since, from here and by a run."""
        names = [f"f{i:02}" for i in range(60)]
        for name in names:
            write(self.there / name, b"first")
        self.assertEqual(sorted(os.listdir(self.here)), names)
        for i, name in enumerate(names):
            if i % 7 == 0:
                write(self.here / name, b"from here")
            elif i % 7 == 3:
                os.unlink(self.here / name)
                write(self.here / name, b"new")
            elif i % 20 == 4:
                self.run_in(self.instance, f"cd {self.there}; printf %s 'by a run' >{name}")
            expected = {0: b"from here", 3: b"new"}.get(i % 7, b"by a run" if i % 20 == 4 else b"first")
            self.assertEqual(read(self.here / name), expected)
            self.assertEqual(os.stat(self.here / name).st_size, len(expected))


class Taught(Eager):
    def taught(self):
        """As known(), and the guest has shown how it renames, and that it makes hard links."""
        top = self.known()
        write(top / "first", b"")
        os.link(top / "first", top / "second")
        os.rename(top / "second", top / "third")
        os.unlink(top / "first")
        os.unlink(top / "third")
        return top

    def settled(self, top, names):
        """The names that are there when all is done, from both sides."""
        self.run_in(self.instance, "true")
        self.assertEqual(sorted(os.listdir(top)), names)
        self.assertEqual(sorted(os.listdir(self.there / "top/sub")), names)


class Names(Taught):
    def test_ahead(self):
        """Removing, renaming and linking while the server stands still."""
        top, before = self.taught(), self.errors()
        with self.stopped():
            for name in "abcd":
                write(top / name, name.encode())
            os.unlink(top / "a")
            self.assertFalse((top / "a").exists())
            write(top / "a", b"another")
            os.rename(top / "b", top / "moved")
            self.assertFalse((top / "b").exists())
            self.assertEqual(os.stat(top / "moved").st_size, 1)
            os.replace(top / "c", top / "d")
            self.assertFalse((top / "c").exists())
            os.link(top / "d", top / "linked")
            (top / "dir").mkdir()
            write(top / "dir/f", b"f")
            os.rename(top / "dir", top / "gone")
            os.rename(top / "gone/f", top / "f")
            (top / "gone").rmdir()
            self.assertFalse((top / "gone").exists())
        self.assertEqual(os.stat(top / "d").st_ino, os.stat(top / "linked").st_ino)
        self.settled(top, ["a", "d", "f", "linked", "moved"])
        for name, data in (("a", b"another"), ("moved", b"b"), ("d", b"c"), ("linked", b"c"), ("f", b"f")):
            self.assertEqual(self.both("top/sub/" + name), data)
        self.assertEqual(self.errors(), before)

    def test_programs(self):
        """mv, which first asks to replace nothing, and rm of a whole tree that was just made."""
        top = self.taught()
        with self.stopped():
            (top / "tree").mkdir()
            write(top / "tree/f", b"f")
            harness.sh(f"mv -T '{top}/tree/f' '{top}/f' && rmdir '{top}/tree'")
        self.settled(top, ["f"])
        self.assertEqual(self.both("top/sub/f"), b"f")

    def test_many_are_removed(self):
        """More than may be under way."""
        top, before = self.taught(), self.errors()
        for i in range(1500):
            os.mknod(top / f"f{i}")
        harness.sh(f"rm -rf '{top}'")
        self.assertEqual(os.listdir(top.parent), [])
        self.assertEqual(os.listdir(self.there / "top"), [])
        self.assertEqual(self.errors(), before)

    def test_a_file_that_is_being_made(self):
        """By whatever name, it is read when it is made and written."""
        top = self.taught()
        read_back = []
        with self.stopped():
            write(top / "x", b"data")
            os.link(top / "x", top / "y")
            os.unlink(top / "x")
            os.rename(top / "y", top / "z")
            thread = threading.Thread(target=lambda: read_back.append(read(top / "z")), daemon=True)
            thread.start()
        thread.join(harness.PATIENCE)
        self.assertEqual(read_back, [b"data"])
        self.settled(top, ["z"])

    def test_open_files_go_on(self):
        top = self.taught()
        with self.stopped():
            fd = os.open(top / "x", os.O_CREAT | os.O_RDWR)
            os.write(fd, b"one")
            os.rename(top / "x", top / "y")
            os.write(fd, b"two")
            other = os.open(top / "z", os.O_CREAT | os.O_RDWR)
            os.unlink(top / "z")
            os.write(other, b"three")
        self.assertEqual((os.pread(fd, 10, 0), os.pread(other, 10, 0)), (b"onetwo", b"three"))
        self.assertEqual((os.fstat(fd).st_size, os.fstat(other).st_size), (6, 5))
        os.close(fd)
        os.close(other)
        self.settled(top, ["y"])
        self.assertEqual(self.both("top/sub/y"), b"onetwo")

    def test_what_is_not_known_waits(self):
        """A directory that may not be empty is asked for."""
        top = self.taught()
        (top / "d").mkdir()
        self.run_in(self.instance, f"touch {self.there}/top/sub/d/theirs")
        self.fails(errno.ENOTEMPTY, os.rmdir, top / "d")
        (top / "e").mkdir()
        self.fails(errno.ENOTEMPTY, os.rename, top / "e", top / "d")
        self.settled(top, ["d", "e"])


class NameErrors(Taught):
    def test_removal(self):
        """The guest put a file into a directory that was empty: that, and who wants it removed again, are told."""
        top = self.taught()
        (top / "d").mkdir()
        directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, directory)
        before = self.errors()
        wait_for((self.there / "top/sub/d").is_dir, "directory")
        with self.stopped():
            write(self.there / "top/sub/d/theirs", b"theirs")
            (top / "d").rmdir()
            self.assertFalse((top / "d").exists())
        self.fails(errno.ENOTEMPTY, os.fsync, directory)
        self.assertEqual(self.errors(), before + 1)
        self.assertIn("top/sub/d: Directory not empty", text(self.instance / "error"))
        self.assertEqual(os.listdir(top / "d"), ["theirs"])

    def test_renaming(self):
        """A file that the guest took away has no new name, and what it has left has its old one."""
        top = self.taught()
        write(top / "x", b"mine")
        (top / "d").mkdir()
        (top / "e").mkdir()
        fd = os.open(top / "d", os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, fd)
        there, before = self.there / "top/sub", self.errors()
        wait_for((there / "e").is_dir, "directory")
        with self.stopped():
            (there / "x").unlink()
            write(there / "e/theirs", b"theirs")
            os.rename(top / "x", top / "y")
            os.rename(top / "d", top / "e")
        wait_for(lambda: self.errors() == before + 2, "errors")
        self.assertEqual(sorted(os.listdir(top)), ["d", "e"])
        self.fails(errno.ENOENT, os.stat, top / "y")
        self.assertEqual(os.listdir(top / "e"), ["theirs"])
        write(top / "d/f", b"f")
        self.assertEqual(os.stat("f", dir_fd=fd).st_size, 1)


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

    keys = {"files_mode": "eager"}
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

    keys = {**Model.keys, "owner": "guest"}
    count = 500


class ModelPlain(test_files_plain.PlainServer, test_files_plain.PlainOperations, Model):
    """With a server that changes attributes in several steps."""

    count = 500


if __name__ == "__main__":
    harness.main()
