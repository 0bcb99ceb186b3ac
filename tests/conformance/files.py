# SPDX-License-Identifier: MIT
"""files/: what is done here is seen in the machine, and the reverse."""
import contextlib
import os
import random
import stat

import lab
from lab import error_of, read, write

NAME_BYTES = [byte for byte in range(1, 256) if byte != ord("/")]


class Files(lab.Case):
    """A directory for each test; commands of it start there."""

    def setUp(self):
        super().setUp()
        self.need("files", "runs")
        self.machine = self.instance
        self.name = self._testMethodName
        self.here = self.machine / "files" / self.name
        self.here.mkdir()
        self.addCleanup(self.clear)

    def clear(self):
        with contextlib.suppress(OSError):
            self.there(f"cd ..; chmod -R u+rwx {self.name}; rm -rf {self.name}")

    def there(self, command):
        """The output of a command that runs in the directory."""
        return self.says(command, self.machine, cwd=self.name)

    def test_write_and_read(self):
        data = random.randbytes(100000)
        write(self.here / "x", data)
        self.assertEqual(self.there("cat x"), data)
        self.assertEqual(read(self.here / "x"), data)
        self.there("printf 'from the machine' >y")
        self.assertEqual(read(self.here / "y"), b"from the machine")
        self.assertEqual(os.stat(self.here / "y").st_size, 16)

    def test_large_file(self):
        data = random.randbytes(2 << 20)
        write(self.here / "large", data)
        self.assertEqual(os.stat(self.here / "large").st_size, len(data))
        self.assertEqual(self.there("cat large"), data)
        self.there("cat large large >twice")
        self.assertEqual(read(self.here / "twice"), data * 2)

    def test_parts_of_a_file(self):
        write(self.here / "x", b"0123456789")
        with open(self.here / "x", "r+b", buffering=0) as file:
            file.seek(4)
            file.write(b"abc")
            self.assertEqual(os.pread(file.fileno(), 4, 3), b"3abc")
            file.truncate(8)
        self.assertEqual(self.there("cat x"), b"0123abc7")
        with open(self.here / "x", "ab") as file:
            file.write(b"!")
        self.assertEqual(self.there("cat x"), b"0123abc7!")
        with open(self.here / "x", "r+b", buffering=0) as file:
            file.seek(20)
            file.write(b"end")
        self.assertEqual(self.there("cat x"), b"0123abc7!" + bytes(11) + b"end")

    def test_creation(self):
        write(self.here / "x", b"old")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.assertEqual(error_of(os.open, self.here / "x", flags), "EEXIST")
        os.close(os.open(self.here / "empty", flags))
        self.assertEqual(self.there("wc -c <empty").strip(), b"0")
        write(self.here / "x", b"n")
        self.assertEqual(self.there("cat x"), b"n")

    def test_what_is_not_there(self):
        self.assertEqual(error_of(read, self.here / "no"), "ENOENT")
        self.assertEqual(error_of(os.unlink, self.here / "no"), "ENOENT")
        self.assertEqual(error_of(os.rmdir, self.here / "no"), "ENOENT")
        self.assertEqual(error_of(os.rename, self.here / "no", self.here / "x"), "ENOENT")
        self.assertEqual(error_of(os.mkdir, self.here / "no/x"), "ENOENT")
        write(self.here / "file", b"")
        self.assertEqual(error_of(read, self.here / "file/x"), "ENOTDIR")

    def test_directories(self):
        os.makedirs(self.here / "one/two/three")
        write(self.here / "one/two/x", b"x")
        self.assertEqual(error_of(os.rmdir, self.here / "one/two"), "ENOTEMPTY")
        self.assertIn(error_of(os.unlink, self.here / "one/two/three"), ("EISDIR", "EPERM"))
        self.there("mkdir -p one/four; mv one/two/x one/four/y; test -d one/two/three")
        self.assertEqual(sorted(os.listdir(self.here / "one")), ["four", "two"])
        self.assertEqual(os.listdir(self.here / "one/four"), ["y"])
        os.rmdir(self.here / "one/two/three")
        os.rmdir(self.here / "one/two")
        self.assertEqual(self.there("ls one").split(), [b"four"])

    def test_many_entries(self):
        names = {f"entry-{number:04}" for number in range(300)}
        self.there("i=1000; while [ $i -lt 1300 ]; do : >entry-0${i#1}; i=$((i+1)); done")
        self.assertEqual(set(os.listdir(self.here)), names)

    def test_rename(self):
        write(self.here / "a", b"a")
        write(self.here / "b", b"b")
        os.rename(self.here / "a", self.here / "c")
        self.assertEqual(self.there("ls").split(), [b"b", b"c"])
        os.rename(self.here / "c", self.here / "b")
        self.assertEqual(self.there("ls; cat b"), b"b\na")
        (self.here / "d/e").mkdir(parents=True)
        os.rename(self.here / "d", self.here / "f")
        os.rename(self.here / "b", self.here / "f/e/b")
        self.assertEqual(self.there("cat f/e/b"), b"a")
        self.assertEqual(error_of(os.rename, self.here / "f", self.here / "f/e/f"), "EINVAL")

    def test_names_of_any_bytes(self):
        pieces = [bytes(NAME_BYTES[at:at + 64]) for at in range(0, len(NAME_BYTES), 64)]
        names = {b"n" + piece for piece in pieces} | {
            b"n \n", b"n-", b"n$(exit)`exit`", b"n'\"", b"n\\", b"n*?[a]", b"n" + b"x" * 200}
        top = os.fsencode(self.here)
        for number, name in enumerate(sorted(names)):
            write(os.path.join(top, name), f"{number:03}")
        found = self.there("cat ./n*")
        self.assertEqual(sorted(found[at:at + 3] for at in range(0, len(found), 3)),
                         [f"{number:03}".encode() for number in range(len(names))])
        self.assertEqual(set(os.listdir(top)), names)
        self.there('mkdir moved; for f in ./n*; do mv "$f" moved/ || exit 1; done')
        self.assertEqual(set(os.listdir(os.path.join(top, b"moved"))), names)
        for number, name in enumerate(sorted(names)):
            path = os.path.join(top, b"moved", name)
            self.assertEqual(read(path), f"{number:03}".encode())
            os.rename(path, os.path.join(top, name))
            os.unlink(os.path.join(top, name))
        self.assertEqual(self.there("ls; ls moved"), b"moved\n")

    def test_attributes(self):
        write(self.here / "x", b"#!/bin/sh\necho run\n")
        os.chmod(self.here / "x", 0o750)
        self.assertEqual(self.there("./x"), b"run\n")
        self.assertEqual(stat.S_IMODE(os.stat(self.here / "x").st_mode), 0o750)
        self.there("chmod 0604 x")
        self.assertEqual(stat.S_IMODE(os.stat(self.here / "x").st_mode), 0o604)
        os.utime(self.here / "x", (1000000000, 1234567890))
        self.there("touch new; test new -nt x && ! test x -nt new")
        os.truncate(self.here / "x", 3)
        self.assertEqual(self.there("cat x"), b"#!/")
        os.utime(self.here / "x", (1000000000, 1234567890))
        status = os.stat(self.here / "x")
        self.assertEqual((status.st_mtime, status.st_size), (1234567890, 3))
        self.assertTrue(stat.S_ISREG(status.st_mode))
        self.assertTrue(stat.S_ISDIR(os.stat(self.here).st_mode))

    def test_links(self):
        write(self.here / "x", b"x")
        os.symlink("x", self.here / "link")
        self.assertEqual(os.readlink(self.here / "link"), "x")
        self.assertEqual(read(self.here / "link"), b"x")
        self.assertEqual(self.there("test -L link && cat link"), b"x")
        os.symlink("nowhere", self.here / "broken")
        self.assertEqual(error_of(read, self.here / "broken"), "ENOENT")
        self.assertTrue(os.path.islink(self.here / "broken"))
        os.unlink(self.here / "link")
        self.assertEqual(read(self.here / "x"), b"x")

    def test_links_lead_nowhere_else(self):
        self.there("ln -s /etc/passwd absolute; ln -s ../../../../../../../../etc/passwd up; "
                   "ln -s / root; ln -s ../../../../../../../../../.. top")
        for name in ("absolute", "up", "root/etc/passwd", "top/etc/passwd"):
            self.assertIn(error_of(read, self.here / name), ("EPERM", "EACCES"), name)
        for name in ("root", "top"):
            self.assertIn(error_of(os.listdir, self.here / name), ("EPERM", "EACCES"), name)

    def test_what_is_no_file(self):
        if self.result("mkfifo fifo", self.machine, cwd=self.name)[2] != 0:
            self.skipTest("the machine makes no FIFO")
        self.assertEqual(error_of(os.open, self.here / "fifo", os.O_RDONLY), "ENXIO")
        os.unlink(self.here / "fifo")
        self.assertEqual(self.there("ls"), b"")

    def test_what_the_machine_refuses(self):
        if self.there("id -u").strip() == b"0":
            self.skipTest("the login may do everything")
        self.there("mkdir closed; : >closed/x; chmod 0500 closed")
        self.assertEqual(error_of(write, self.here / "closed/new", b"x"), "EACCES")
        self.assertEqual(error_of(os.unlink, self.here / "closed/x"), "EACCES")

    def test_open_file_survives_its_name(self):
        write(self.here / "x", b"kept")
        with open(self.here / "x", "rb", buffering=0) as file:
            os.unlink(self.here / "x")
            self.assertEqual(file.read(), b"kept")
        self.assertEqual(os.listdir(self.here), [])

    def test_what_a_command_changes_is_seen_at_its_end(self):
        write(self.here / "x", b"before")
        self.assertEqual(read(self.here / "x"), b"before")
        self.assertFalse((self.here / "y").exists())
        self.there("printf 'behind it' >x; : >y; mkdir z")
        self.assertEqual(read(self.here / "x"), b"behind it")
        self.assertEqual(sorted(os.listdir(self.here)), ["x", "y", "z"])


CASES = (Files,)
