# SPDX-License-Identifier: MIT
"""
files/: SFTP servers that lie, stall and break the protocol, each seen through a mount. The rows of ROWS
are played side by side, each in an instance of its own, and in all of them the rules hold: nothing hangs,
a well-behaved instance is not slowed, little memory is taken, and all is well when the server is.
"""
import contextlib
import errno
import os
import pathlib
import queue
import stat
import statistics
import subprocess
import tempfile
import threading
import time
import unittest

import harness
from harness import read, sh, text, value, wait_for, write

# The limits of a shim (backends/ssh/bounds.h), and what a loaded machine may add to them.
ANSWER, START, LATE = 10, 15, 5
SECRET = "only on the host"
AT_ONCE = 12

GONE = (errno.EHOSTDOWN, errno.EIO, errno.ETIMEDOUT)
BROKEN = (errno.EIO, errno.EHOSTDOWN)
TIMEOUT = (errno.ETIMEDOUT,)


def use_stat(here):
    os.stat(here / "x")


def use_open(here):
    os.close(os.open(here / "x", os.O_RDONLY))


def use_read(here):
    read(here / "x")


def use_write(here):
    with open(here / "x", "wb", buffering=0) as file:
        file.write(bytes(100000))
        os.fsync(file.fileno())


def use_close(here):
    # Nobody waits for the last close: the next use notices.
    read(here / "x")
    wait_for(lambda: text(here.parent / "state") == "lost\n", "loss", ANSWER + LATE)
    os.stat(here / "d")


def use_list(here):
    os.listdir(here)


# Servers that must be given up: what is done, which errors it may get, and how long it may take.
LOST = [
    ("silent-start", use_stat, TIMEOUT, START),
    ("silent-stat", use_stat, TIMEOUT, ANSWER),
    ("silent-open", use_open, TIMEOUT, ANSWER),
    ("silent-read", use_read, GONE, ANSWER), # the kernel asks twice
    ("silent-write", use_write, TIMEOUT, ANSWER),
    ("silent-close", use_close, GONE, ANSWER),
    ("silent-opendir", use_list, TIMEOUT, ANSWER),
    ("silent-readdir", use_list, TIMEOUT, ANSWER),
    ("empty-packet", use_stat, BROKEN, 0),
    ("huge-packet", use_stat, BROKEN, 0),
    ("large-packet", use_stat, BROKEN, 0),
    ("cut", use_stat, BROKEN, 0),
    ("garbage", use_stat, BROKEN, 0),
    ("text", use_stat, BROKEN, 0),
    ("wrong-id", use_stat, BROKEN, 0),
    ("wrong-type", use_stat, BROKEN, 0),
    ("twice", use_stat, (0,) + BROKEN, 0),
    ("short-attrs", use_stat, BROKEN, 0),
    ("long-handle", use_open, BROKEN, 0),
    ("empty-handle", use_open, BROKEN, 0),
    ("status-for-open", use_open, BROKEN, 0),
    ("many-names", use_list, BROKEN, 0),
]


def outcome(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def links(test, here):
    for name in ("l",):
        test.assertTrue(stat.S_ISLNK(os.lstat(here / name).st_mode))
        test.assertEqual(outcome(os.readlink, here / name), errno.EPERM)
        test.assertEqual(outcome(read, here / name), errno.EPERM)
    test.assertNotEqual(subprocess.run(["cp", "-rL", here, test.local("links")],
                                       stderr=subprocess.DEVNULL).returncode, 0)


def links_swapped(test, here):
    for i in range(10):
        subprocess.run(["cp", "-rL", here / "l", test.local(f"f{i}")], stderr=subprocess.DEVNULL)
        subprocess.run(["cp", "-P", here / "l", test.local(f"l{i}")], stderr=subprocess.DEVNULL)
        subprocess.run(f"tar -C '{here}' -ch l | tar -C '{test.local('')}' -x", shell=True,
                       stderr=subprocess.DEVNULL)
    copies = list(pathlib.Path(test.local("")).iterdir())
    test.assertTrue(copies)
    for copy in copies:
        if copy.is_symlink():
            test.assertEqual(os.readlink(copy), "x")
        elif copy.is_file():
            test.assertNotIn(SECRET, copy.read_text())


def names(test, here):
    listed = os.listdir(os.fsencode(here))
    test.assertEqual(sorted(listed), [b"good", b"\xff\x01"])
    wait_for(lambda: value(here.parent, "files_entries_dropped"), "note in status", 10)
    # "", a/b, a\0b, 256 bytes, /, ../x, \0, good again, x/, \xff\x01 again
    test.assertEqual(int(value(here.parent, "files_entries_dropped")), 10)


def types(test, here):
    for name in ("fifo", "socket", "character", "block"):
        test.assertTrue(stat.S_ISSOCK(os.lstat(here / name).st_mode))
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
            test.assertEqual(outcome(os.open, here / name, flags), errno.ENXIO)
    test.assertEqual(outcome(os.stat, here / "nothing"), errno.EIO)
    test.assertEqual(read(here / "x"), b"hello")


def setuid(test, here):
    test.assertEqual(os.stat(here / "setuid").st_mode, 0o100755)
    test.assertEqual(os.stat(here / "setgid").st_mode, 0o40755)


def sizes(test, here):
    test.assertEqual(os.stat(here / "x").st_size, 2**63 - 1)
    with open(here / "x", "rb", buffering=0) as file:
        test.assertEqual(os.pread(file.fileno(), 10, 2**62), b"")
        test.assertEqual(file.read(10), b"hello")


def times(test, here):
    test.assertEqual(os.stat(here / "x").st_mtime, 2**32 - 1)
    test.assertIn("2106", sh(f"TZ=UTC ls -l --time-style=full-iso '{here}/x'"))


def changing_type(test, here):
    allowed = (0, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.ESTALE, errno.EINVAL)
    seen = {}
    for _ in range(60):
        with contextlib.suppress(OSError):
            status = os.lstat(here / "x")
            seen.setdefault(stat.S_IFMT(status.st_mode), set()).add(status.st_ino)
        for call in (read, os.listdir, os.readlink):
            test.assertIn(outcome(call, here / "x"), allowed)
    test.assertIn(stat.S_IFREG, seen)
    test.assertGreater(len(seen), 1)


def link_in_place(test, here):
    # What was a file when it was looked up is a link when it is opened: it is never followed here.
    for _ in range(30):
        test.assertIn(outcome(read, here / "x"), (0, errno.ELOOP, errno.ESTALE, errno.ENOENT, errno.EINVAL))


def long_data(test, here):
    test.assertEqual(outcome(read, here / "x"), errno.EIO)
    test.assertEqual(stat.S_IMODE(os.stat(here / "d").st_mode), 0o755)


def short_data(test, here):
    test.assertEqual(read(here / "x"), b"hello")


def endless(test, here):
    # Not a billion of them: a tool ends.
    count = sum(1 for _ in os.scandir(here / "d"))
    test.assertLessEqual(count, 1000000)
    wait_for(lambda: value(here.parent, "files_directories_cut"), "note in status", 10)


# Servers that are borne: how they are used.
BORNE = [
    ("links", links), ("links-up", links), ("links-swapped", links_swapped), ("names", names),
    ("types", types), ("setuid", setuid), ("huge-size", sizes), ("times", times),
    ("changing-type", changing_type), ("link-in-place", link_in_place), ("long-data", long_data),
    ("short-data", short_data), ("endless", endless), ("endless-names", endless),
]


def memory(pid, key):
    """VmRSS or VmHWM in bytes."""
    line = next(line for line in text(f"/proc/{pid}/status").splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


class Hostile(harness.MountTest):
    maxDiff = None
    """One daemon, one server, a pool for each way to misbehave."""

    @classmethod
    def configure(cls):
        os.environ["SSHD_SFTP"] = str(harness.TOP / "tests/ssh/hostile.py")
        try:
            cls.sshd = harness.Sshd(tempfile.mkdtemp(prefix="poolfs-sshd."), "MaxStartups 100")
        finally:
            del os.environ["SSHD_SFTP"]
        (cls.sshd.directory / "home/local").mkdir(parents=True)
        write(cls.sshd.directory / "home/secret", SECRET)
        return "".join(harness.ssh_pool(cls.sshd, name, files=cls.root(name), ssh_keepalive=300)
                       for name in ["good"] + [row[0] for row in LOST + BORNE])

    @classmethod
    def root(cls, mode):
        root = cls.sshd.directory / "home" / mode
        root.mkdir(exist_ok=True)
        return root

    def local(self, name):
        return self.sshd.directory / "home/local" / name

    def setUp(self):
        self.good = self.new("good")
        self.assertEqual(read(self.good / "files/x"), b"hello")
        self.slow, self.grown = [], {}
        self.before = memory(self.mount.process.pid, "VmRSS")
        self.done = threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        self.addCleanup(self.watcher.join)
        self.addCleanup(self.done.set)

    def watch(self):
        """What a well-behaved instance feels of it."""
        while not self.done.wait(0.02):
            began = time.monotonic()
            os.stat(self.good / "state")
            os.stat(self.good / "files/x")
            self.slow.append(time.monotonic() - began)

    def play(self, rows, one):
        """Plays all rows, AT_ONCE at a time."""
        todo, failures = queue.Queue(), []
        for row in rows:
            todo.put(row)

        def work():
            with contextlib.suppress(queue.Empty):
                while True:
                    row = todo.get_nowait()
                    try:
                        self.instance(row, one)
                    except Exception as error:
                        failures.append(f"{row[0]}: {type(error).__name__} {error}")
        workers = [threading.Thread(target=work) for _ in range(AT_ONCE)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual("\n".join(failures), "")
        if not harness.sanitized():
            self.assertLess(max(self.grown.values()), 16 << 20, self.grown)
            self.assertLess(memory(self.mount.process.pid, "VmHWM") - self.before, 16 << 20)
        self.done.set()
        self.watcher.join()
        # The machine is busy with all of them; who waits for one of them waits for its limit.
        self.assertLess(statistics.median(self.slow), 0.1)
        self.assertLess(max(self.slow), ANSWER / 2)

    def instance(self, row, one):
        """Plays one row in an instance of its own."""
        path = self.mount.path / row[0] / "a"
        path.mkdir()
        try:
            read(path / "ready")
            pid = self.mount.shim_pid(row[0], "a")
            before = memory(pid, "VmRSS")
            one(path / "files", *row)
            self.grown[row[0]] = memory(pid, "VmHWM") - before
        finally:
            path.rmdir()

    def lose(self, here, mode, use, errors, limit):
        began = time.monotonic()
        error = outcome(use, here)
        took = time.monotonic() - began
        self.assertIn(error, errors, os.strerror(error))
        self.assertLess(took, limit + LATE)
        if limit and use is not use_close:
            self.assertGreater(took, limit - 2)
        instance = f"{mode}/a"
        wait_for(lambda: any(f"{instance} ready lost" in line for line in
                             text(self.mount.path / "events").splitlines()), "loss")
        # While the connection is gone nothing waits.
        while text(here.parent / "state") == "lost\n":
            began = time.monotonic()
            outcome(os.lstat, here / "d")
            if text(here.parent / "state") == "lost\n":
                self.assertLess(time.monotonic() - began, 1)
            break
        (self.root(mode) / "heal").touch()

        def healed():
            with contextlib.suppress(OSError):
                return read(here / "x") == b"hello" and sorted(os.listdir(here)) == ["d", "l", "x"]
        wait_for(healed, "recovery", START + ANSWER + 10)

    def test_given_up(self):
        self.play(LOST, self.lose)

    def test_borne(self):
        self.play(BORNE, lambda here, mode, use: use(self, here))

    def test_unmount(self):
        """With programs that wait for a server that says nothing."""
        for mode in ("silent-stat", "silent-read"):
            path = self.mount.path / mode / "b"
            (self.root(mode) / "heal").unlink(missing_ok=True)
            path.mkdir()
            read(path / "ready")
            program = subprocess.Popen(["cat", path / "files/x"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            self.addCleanup(program.wait)
            self.addCleanup(program.kill)
            wait_for(lambda: "request_wait" in text(f"/proc/{program.pid}/wchan") or
                     "folio" in text(f"/proc/{program.pid}/wchan"), "program that waits", 10)
        self.done.set()
        self.watcher.join()
        began = time.monotonic()
        self.mount.unmount()
        self.assertFalse(self.mount.mounted())
        self.assertLess(time.monotonic() - began, 1)


def load_tests(loader, standard, pattern):
    """The unmount comes last."""
    return unittest.TestSuite(Hostile(name) for name in ("test_given_up", "test_borne", "test_unmount"))


if __name__ == "__main__":
    harness.main()
