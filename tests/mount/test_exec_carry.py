# SPDX-License-Identifier: MIT
"""files/ by the programs push and pull of kind exec, beside run."""
import errno
import os
import threading

import guestfiles
import harness
import runs
import test_files
import test_files_model
from harness import read, text, value, wait_for, write
from programs import ExecTest

LARGE = 300000
PUSH = 'echo "push $1" >>\'@.log\'; cat >"$1"\n'
PULL = 'echo "pull $1" >>\'@.log\'; cat "$1"\n'


class CarryTest(ExecTest):
    """One instance of pool a; its machine is this host. Each test has a directory of its own, as in FilesTest."""

    keys = {}

    @classmethod
    def configure(cls):
        os.umask(0o022)
        cls.pools = {"a": {"push": PUSH, "pull": PULL, **cls.keys}}
        return super().configure()

    @classmethod
    def pool(cls, name, **keys):
        cls.home = cls.base / "home"
        cls.home.mkdir(exist_ok=True)
        return super().pool(name, files=cls.home, **{key: str(value).replace("@", str(cls.base / name))
                                                    for key, value in keys.items()})

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.instance = cls.make("a")

    def setUp(self):
        name = self._testMethodName
        self.there = self.home / name
        self.here = self.instance / "files" / name
        self.there.mkdir()

    fails = guestfiles.FilesTest.fails
    open = guestfiles.FilesTest.open
    both = guestfiles.FilesTest.both

    def carried(self, word="", name=None):
        """What was pushed or pulled of the test's own files."""
        with open(self.base / "a.log", "a+", encoding="utf-8", errors="surrogateescape") as log:
            log.seek(0)
            return [line.split()[0] for line in log
                    if self.there.name + "/" in line and word in line and (not name or name in line)]

    def only(self, *names):
        """Nothing else is in the directory: nothing is left of any push."""
        self.assertEqual(sorted(os.listdir(self.there)), sorted(names))


class Calls(test_files.Calls, CarryTest):
    """Everything by push and pull; what holds else holds here."""

    keys = {"carry_from": "0"}

    def test_removed_by_the_server_but_open(self):
        write(self.there / "x", "content")
        fd = self.open("x", os.O_RDWR)
        os.unlink(self.there / "x")
        os.write(fd, b"other")
        self.fails(errno.ESTALE, os.fsync, fd)
        self.assertFalse((self.there / "x").exists())

    def test_truncate_needs_only_the_open_file(self):
        fd = self.open("x", os.O_CREAT | os.O_WRONLY, 0o400)
        os.write(fd, b"12345")
        os.rename(self.here / "x", self.here / "y")
        os.ftruncate(fd, 2)
        os.close(os.dup(fd))
        self.assertEqual(self.both("y"), b"12")
        self.assertEqual(os.stat(self.there / "y").st_mode & 0o7777, 0o400)


class Model(test_files_model.Operations, CarryTest):
    """Random operations, everything by push and pull."""

    keys = {"carry_from": "0"}
    count = 200

    def tree(self, top):
        """What is not closed is not in the machine."""
        if top == self.there:
            self.mine.close_all()
        return super().tree(top)


class Contents(CarryTest):
    """What is pushed and pulled, and when."""

    def test_large_files_are_and_small_ones_are_not(self):
        for name, size in (("small", 65536), ("large", 65537)):
            data = os.urandom(size)
            write(self.here / name, data)
            self.assertEqual(read(self.there / name), data)
            write(self.there / f"{name}.there", data)
            self.assertEqual(read(self.here / f"{name}.there"), data)
        self.assertEqual(self.carried(), ["push", "pull"])
        self.assertEqual(self.carried(f"{self.there}/large.there"), ["pull"])
        self.only("large", "large.there", "small", "small.there")
        self.assertEqual(value(self.instance, "files_by"), "shell, push and pull")

    def test_what_is_there_already(self):
        write(self.there / "x", b"old" * LARGE)
        os.chmod(self.there / "x", 0o751)
        if os.getuid() == 0:
            os.chown(self.there / "x", 12, 34)
        before = os.stat(self.there / "x")
        with open(self.here / "x", "wb", buffering=0) as file:
            file.write(b"new" * LARGE)
            self.assertEqual(os.fstat(file.fileno()).st_size, 3 * LARGE)
            # Until the close the machine has the old content, and whoever opens it from here the new one.
            self.assertEqual(read(self.there / "x"), b"old" * LARGE)
            self.assertEqual(read(self.here / "x"), b"new" * LARGE)
        self.assertEqual(self.both(), b"new" * LARGE)
        after = os.stat(self.there / "x")
        self.assertEqual((before.st_mode, before.st_uid, before.st_gid), (after.st_mode, after.st_uid, after.st_gid))
        self.only("x")

    def test_part_of_a_file_is_changed_by_commands(self):
        write(self.there / "x", bytes(LARGE))
        with open(self.here / "x", "r+b", buffering=0) as file:
            file.seek(1000)
            file.write(b"middle")
            os.fsync(file.fileno())
            self.assertEqual(read(self.there / "x")[998:1008], b"\0\0middle\0\0")
        with open(self.here / "x", "ab") as file:
            file.write(b"end" * 50000)
        self.assertEqual(read(self.there / "x")[LARGE:], b"end" * 50000)
        self.assertEqual(self.carried("push"), [])

    def test_cp_mv_and_tar(self):
        source = self.base / "source"
        source.mkdir(exist_ok=True)
        for i, name in enumerate(("a b", "-n", "it's \"x\"", "new\nline", "*$HOME", "\udcff\udcfe", "größe")):
            write(source / name, os.urandom(70000 + i))
            os.utime(source / name, (1000000000, 1100000000 + i))
            os.chmod(source / name, 0o640)
        harness.sh(f"cp -rp '{source}' '{self.here}/cp'; tar -C '{source}' -cf - . | tar -C '{self.here}' -xf -; "
                   f"cp -rp '{self.here}/cp' '{self.base}/back'; diff -r '{source}' '{self.base}/back'")
        for name in os.listdir(source):
            for there in (self.there / "cp" / name, self.there / name, self.base / "back" / name):
                self.assertEqual(read(there), read(source / name))
                stat = os.stat(there)
                self.assertEqual((stat.st_mode & 0o777, stat.st_mtime), (0o640, os.stat(source / name).st_mtime))
        self.assertIn("push", self.carried("cp/"))
        os.rename(self.here / "a b", self.here / "c")
        self.assertEqual(self.both("c"), read(source / "a b"))

    def test_renamed_linked_and_removed_while_written(self):
        data = os.urandom(LARGE)
        with open(self.here / "a", "wb", buffering=0) as file:
            file.write(data)
            os.rename(self.here / "a", self.here / "b")
            self.assertEqual(read(self.there / "b"), data)
            file.write(b"more")
            os.link(self.here / "b", self.here / "c")
            self.assertEqual(read(self.there / "c"), data + b"more")
            file.write(b"end")
        self.assertEqual((self.both("b"), self.both("c")), (data + b"moreend",) * 2)
        with open(self.here / "d", "w+b", buffering=0) as file:
            file.write(data)
            os.unlink(self.here / "d")
            file.write(b"x")
            self.assertEqual(os.pread(file.fileno(), LARGE + 9, 0), data + b"x")
        self.only("b", "c")

    def test_two_who_write(self):
        with open(self.here / "x", "wb", buffering=0) as one:
            one.write(b"1" * LARGE)
            with open(self.here / "x", "r+b", buffering=0) as other:
                other.seek(LARGE)
                other.write(b"2" * LARGE)
        self.assertEqual(self.both(), b"1" * LARGE + b"2" * LARGE)

    def test_sync_and_later_writes(self):
        fd = self.open("x", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"a" * LARGE)
        os.fsync(fd)
        self.assertEqual(read(self.there / "x"), b"a" * LARGE)
        os.pwrite(fd, b"b", 5)
        os.ftruncate(fd, LARGE - 1)
        os.fsync(fd)
        self.assertEqual(self.both(), b"aaaaab" + b"a" * (LARGE - 7))

    def test_read_anywhere(self):
        data = os.urandom(20 << 20)
        write(self.there / "x", data)
        fd = self.open("x", os.O_RDONLY)
        for offset in (len(data) - 5000, 10 << 20, 0, 1 << 20, 5):
            self.assertEqual(os.pread(fd, 5000, offset), data[offset:offset + 5000])
        self.assertEqual(read(self.here / "x"), data)
        # It grows; who has it open sees that.
        with open(self.there / "x", "ab") as file:
            file.write(b"tail")
        os.utime(self.there / "x")
        wait_for(lambda: os.pread(fd, 100, len(data)) == b"tail", "what was added")

    def test_who_has_it_open_reads_what_is_written(self):
        for name, size in (("small", 10), ("large", LARGE)):
            write(self.there / name, b"old" * size)
            fd = self.open(name, os.O_RDONLY)
            self.assertEqual(os.pread(fd, 6, 0), b"oldold")
            with open(self.here / name, "wb", buffering=0) as file:
                file.write(b"new" * size)
                self.assertEqual(os.pread(fd, 6, 3), b"newnew")
            self.assertEqual(os.pread(fd, 7, 3 * size - 6), b"newnew")
            # And what the machine adds then.
            with open(self.there / name, "ab") as file:
                file.write(b"tail")
            wait_for(lambda fd=fd, size=size: os.pread(fd, 9, 3 * size) == b"tail", "what was added")

    def test_commands_find_it(self):
        write(self.here / "x", b"x" * LARGE)
        out = self.run_in(self.instance, f"wc -c <{self.there.name}/x")[0]
        self.assertEqual(out.strip(), str(LARGE).encode())


class Eager(CarryTest):
    """What is answered ahead of the machine is brought by the close all the same."""

    keys = {"files_mode": "eager", "carry_from": "0"}

    test_cp_mv_and_tar = Contents.test_cp_mv_and_tar
    test_commands_find_it = Contents.test_commands_find_it

    def test_names_change_while_written(self):
        data = os.urandom(LARGE)
        for i in range(20):
            with open(self.here / f"a{i}", "wb", buffering=0) as file:
                file.write(data)
                os.rename(self.here / f"a{i}", self.here / f"b{i}")
                self.assertEqual(read(self.here / f"b{i}"), data)
                os.utime(self.here / f"b{i}", (1000000000, 1100000000))
                file.write(b"end")
                os.rename(self.here / f"b{i}", self.here / f"c{i}")
        for i in range(20):
            self.assertEqual(self.both(f"c{i}"), data + b"end")
        self.only(*(f"c{i}" for i in range(20)))

    test_two_who_write = Contents.test_two_who_write


class Failures(CarryTest):
    """Programs that fail, lie or hang."""

    hang = "(setsid sleep @ &); trap '' TERM; sleep @ & wait; wait; wait\n"
    token = runs.token()
    keys = {"carry_from": "0", "carry_timeout": "1",
            "push": "case $1 in */silent/*) cat >/dev/null;; */full/*) head -c 1000 >\"$1\"; echo 'cp: disk: No space left "
                    "on device' >&2; exit 1;; */killed/*) head -c 1000 >\"$1\"; kill -9 $$;; */short/*) head -c 1000 "
                    ">\"$1\";; */elsewhere/*) cat >\"$1.x\"; rm \"$1.x\";; */hang/*) " + hang + ";; *) cat >\"$1\";; esac\n",
            "pull": "case $1 in */fails/*) head -c 1000 \"$1\"; echo 'cat: x: Permission denied' >&2; exit 1;; */more/*) "
                    "cat \"$1\"; yes;; */less/*) head -c 1000 \"$1\";; */stuck/*) head -c 1000 \"$1\"; " + hang +
                    ";; *) cat \"$1\";; esac\n"}

    @classmethod
    def pool(cls, name, **keys):
        return super().pool(name, **{key: str(text_).replace("@", cls.token) for key, text_ in keys.items()})

    def directory(self, name):
        (self.there / name).mkdir()
        return self.here / name / "x", self.there / name / "x"

    def test_broken_pushes_leave_the_old_content(self):
        for name, number, words in (
                ("silent", errno.EIO, "has not written all"), ("short", errno.EIO, "has not written all"),
                ("elsewhere", errno.EIO, "has not written all"),
                ("full", errno.ENOSPC, "push ended with status 1: cp: disk: No space left"),
                ("killed", errno.EIO, "push was ended by signal 9"),
                ("hang", errno.ETIMEDOUT, "push neither took nor printed anything for 1 s (carry_timeout)")):
            with self.subTest(name):
                here, there = self.directory(name)
                write(there, b"old")
                with self.assertRaises(OSError) as caught:
                    write(here, b"new" * LARGE)
                self.assertEqual(caught.exception.errno, number)
                self.assertEqual(read(there), b"old")
                self.assertEqual(read(here), b"old")
                wait_for(lambda: os.listdir(there.parent) == ["x"], "end of what was pushed")
                self.assertIn(words, text(self.instance / "log"))
        wait_for(lambda: not runs.local_processes(self.token), "end of what hangs")

    def test_broken_pulls(self):
        for name, number in (("fails", errno.EACCES), ("stuck", errno.ETIMEDOUT)):
            with self.subTest(name):
                here, there = self.directory(name)
                write(there, b"x" * LARGE)
                self.fails(number, read, here)
        for name in ("more", "less"):
            with self.subTest(name):
                here, there = self.directory(name)
                data = os.urandom(LARGE)
                write(there, data)
                self.assertEqual(read(here), data)
        wait_for(lambda: not runs.local_processes(self.token), "end of what hangs")


class Cancelled(CarryTest):
    """What is under way ends with the instance."""

    token = Failures.token
    hang = Failures.hang.replace("@", token)
    keys = {"push": "read -r x; " + hang, "pull": "head -c 1000 \"$1\"; " + hang}

    def test_with_the_instance(self):
        path = self.new("a", "b")
        failed = []

        def put():
            try:
                write(path / "files/late", b"line\n" * LARGE)
            except OSError as error:
                failed.append(error.errno)
        writer = threading.Thread(target=put)
        writer.start()
        wait_for(lambda: len(runs.local_processes(self.token)) >= 2, "start of the program")
        path.rmdir()
        writer.join()
        self.assertIn(failed, ([errno.EHOSTDOWN], [errno.ENODEV], [errno.EIO]))
        wait_for(lambda: not runs.local_processes(self.token), "end of the program")
        self.assertFalse((self.home / "late").exists() and read(self.home / "late"))


if __name__ == "__main__":
    harness.main()
