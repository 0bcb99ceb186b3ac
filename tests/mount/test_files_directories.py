# SPDX-License-Identifier: MIT
"""files/: directories, links, files of other types, and changes that the server makes."""
import ctypes
import errno
import os
import re
import shutil
import signal
import socket
import stat
import subprocess

import guestfiles
import harness
from harness import read, sh, wait_for, write

libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.telldir.restype = ctypes.c_long
for function in (libc.readdir, libc.rewinddir, libc.telldir, libc.closedir):
    function.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


class Directory:
    """readdir(3) and its friends, which Python does not have."""

    def __init__(self, path):
        self.stream = libc.opendir(os.fsencode(path))

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        libc.closedir(self.stream)

    def next(self):
        entry = libc.readdir(self.stream)
        # struct dirent: 8 bytes number, 8 offset, 2 length, 1 type, then the name.
        return ctypes.string_at(entry + 19).decode() if entry else None

    def rest(self):
        return list(iter(self.next, None))

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, position):
        libc.seekdir(self.stream, position)

    def rewind(self):
        libc.rewinddir(self.stream)


def renameat2(one, other, flags):
    if libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Listing(guestfiles.FilesTest):
    """Directories."""

    def many(self, count):
        names = [f"{i:05d}-{'x' * (i % 60)}" for i in range(count)]
        for name in names:
            (self.there / name).touch()
        return names

    def test_three_thousand(self):
        names = self.many(3000)
        self.assertEqual(sorted(os.listdir(self.here)), names)
        self.assertEqual(len(sh("ls -l", cwd=self.here).splitlines()), 3001)
        self.assertEqual(sum(entry.stat().st_size == 0 for entry in os.scandir(self.here)), 3000)

    def test_positions(self):
        # More than one answer of any size that is in use.
        names = self.many(20000)
        with Directory(self.here) as directory:
            seen, positions = [], []
            while True:
                position = directory.tell()
                name = directory.next()
                if name is None:
                    break
                seen.append(name)
                positions.append(position)
            self.assertEqual(sorted(seen), [".", ".."] + names)
            for at in (19000, 3, 10000, 20001, 0, 12345):
                directory.seek(positions[at])
                self.assertEqual(directory.next(), seen[at])
            directory.seek(positions[19990])
            self.assertEqual(directory.rest(), seen[19990:])

    def test_rewind_sees_what_is_new(self):
        names = self.many(10)
        with Directory(self.here) as directory:
            self.assertEqual(sorted(directory.rest()), [".", ".."] + names)
            (self.there / "z").touch()
            directory.rewind()
            self.assertEqual(sorted(directory.rest()), [".", ".."] + names + ["z"])

    def test_removal_while_listing(self):
        names = self.many(2000)
        for entry in os.scandir(self.here):
            os.unlink(entry.path)
            names.remove(entry.name)
        self.assertEqual(names, [])
        self.assertEqual(os.listdir(self.there), [])

    def test_rename_flags(self):
        for name in ("a", "b"):
            write(self.here / name, name)
        (self.here / "d").mkdir()
        self.fails(errno.EEXIST, renameat2, self.here / "a", self.here / "b", RENAME_NOREPLACE)
        self.fails(errno.EEXIST, renameat2, self.here / "d", self.here / "b", RENAME_NOREPLACE)
        self.fails(errno.EINVAL, renameat2, self.here / "a", self.here / "b", RENAME_EXCHANGE)
        renameat2(self.here / "a", self.here / "c", RENAME_NOREPLACE)
        renameat2(self.here / "d", self.here / "e", RENAME_NOREPLACE)
        self.assertEqual(sorted(os.listdir(self.there)), ["b", "c", "e"])
        self.assertEqual((self.both("b"), self.both("c")), (b"b", b"a"))

    def test_out_of_files(self):
        write(self.here / "x", "x")
        self.fails(errno.EPERM, os.rename, self.here / "x", self.instance / "x")
        self.fails(errno.EPERM, os.rename, self.instance / "cmd", self.here / "cmd")
        self.fails(errno.EPERM, os.link, self.here / "x", self.instance / "x")
        self.fails(errno.EPERM, os.link, self.instance / "cmd", self.here / "cmd")

    def test_between_instances(self):
        other = self.new("host", "b")
        write(self.here / "x", "x")
        self.fails(errno.EXDEV, os.rename, self.here / "x", other / "files/y")
        self.fails(errno.EXDEV, os.link, self.here / "x", other / "files/y")
        # Both show the same directory of the server here: mv copies and removes, in that order.
        sh(f"mv x '{other}/files/{self.there.name}/y'", cwd=self.here)
        self.assertEqual(os.listdir(self.there), ["y"])


class Walks(guestfiles.LoggedServer, guestfiles.FilesTest):
    """Who goes through a tree has the next directories asked for before they are opened."""

    keys = {"cache": 300}

    def setUp(self):
        super().setUp()
        self.log = ""

    def opened(self):
        """The directories of the test that the server was asked to open until now."""
        self.log += self.asked()
        return re.findall(rf'opendir "{re.escape(str(self.there))}/?([^"]*)"', self.log)

    def directories(self, count, below):
        for i in range(count):
            for name in below:
                (self.there / f"d{i}" / name).mkdir(parents=True)

    def test_each_is_asked_for_once(self):
        self.directories(9, ("x/y", "z"))
        seen = {os.path.relpath(path, self.here): sorted(names) for path, names, _ in os.walk(self.here)}
        self.assertEqual(seen, {os.path.relpath(path, self.there): sorted(names)
                                for path, names, _ in os.walk(self.there)})
        self.assertEqual(sorted(self.opened()), sorted("" if name == "." else name for name in seen))

    def test_the_next_ones(self):
        """A few of many, more with each that is opened."""
        self.directories(300, ("x",))
        names = os.listdir(self.here)
        self.assertEqual(self.opened(), [""])
        self.assertEqual(os.listdir(self.here / names[7]), ["x"])
        wait_for(lambda: set(names[8:12]) <= set(self.opened()), "directories that were not asked for")
        self.assertLessEqual(set(self.opened()), {"", *names[7:24], f"{names[7]}/x"})
        for name in names[8:11]:
            self.assertEqual(os.listdir(self.here / name), ["x"])
        wait_for(lambda: set(names[12:27]) <= set(self.opened()), "more of them")
        self.assertTrue(set(names[:7] + names[27:]).isdisjoint(self.opened()))

    def test_a_look_into_one_is_no_walk(self):
        self.directories(20, ("x",))
        self.assertEqual(os.listdir(self.here / "d3"), ["x"])
        self.assertEqual(os.listdir(self.here / "d5"), ["x"])
        (self.here / "none").exists()
        self.assertEqual(self.opened(), ["d3", "d5"])

    def test_who_waits_for_one_is_interrupted(self):
        self.directories(5, ("x",))
        names = os.listdir(self.here)
        pid = self.mount.shim_pid("host", "a")
        os.kill(pid, signal.SIGSTOP)
        try:
            first, *others = [subprocess.Popen(["ls", self.here / name], stdout=subprocess.PIPE, text=True)
                              for name in names[:3] + names[1:2]]
            for other in others[:2]:
                with self.assertRaises(subprocess.TimeoutExpired):
                    other.wait(0.2)
                other.send_signal(signal.SIGINT)
                self.assertEqual(other.communicate(timeout=harness.PATIENCE)[0], "")
                self.assertEqual(other.returncode, -signal.SIGINT)
        finally:
            os.kill(pid, signal.SIGCONT)
        for process in (first, others[2]):
            self.assertEqual(process.communicate(timeout=harness.PATIENCE)[0], "x\n")
        self.assertEqual([os.listdir(self.here / name) for name in names], [["x"]] * 5)


class Links(guestfiles.FilesTest):
    """Symbolic links stay inside."""

    def test_inside(self):
        (self.there / "d/e").mkdir(parents=True)
        write(self.there / "x", "x")
        home = self.there.parent
        for target, shown in (("x", "x"), ("./x", "./x"), ("d//e/", "d//e/"), ("../x/y", "../x/y"),
                              ("..", ".."), ("none", "none"), ("d/../x", "x"),
                              (f"{self.there}/x", f"../{self.there.name}/x"), (f"{home}", "..")):
            os.symlink(target, self.there / "l")
            self.assertEqual(os.readlink(self.here / "l"), shown)
            self.assertTrue(stat.S_ISLNK(os.lstat(self.here / "l").st_mode))
            os.unlink(self.here / "l")
        os.symlink(self.there / "x", self.here / "d/e/l")
        self.assertEqual(os.readlink(self.there / "d/e/l"), str(self.there / "x"))
        self.assertEqual(read(self.here / "d/e/l"), b"x")
        write(self.here / "d/e/l", "through the link")
        self.assertEqual(self.both("x"), b"through the link")

    def test_outside(self):
        os.makedirs(self.there / "deep/er")
        os.symlink("deep/er", self.there / "down")
        up = "../" * 30
        for target in ("/etc/passwd", "../..", "../../../x", "down/../../../x", f"{up}etc/passwd", "/",
                       f"{self.there.parent}x", f"{self.there.parent}/../x", "d/../../../x",
                       f"../{self.there.name}/../../cmd", "../../cmd"):
            os.symlink(target, self.there / "l")
            self.fails(errno.EPERM, os.readlink, self.here / "l")
            self.fails(errno.EPERM, open, self.here / "l")
            self.assertTrue(stat.S_ISLNK(os.lstat(self.here / "l").st_mode))
            os.unlink(self.there / "l")

    def test_through_directories(self):
        # d is a link to the top, so that d/.. would lead out where it is followed name by name.
        os.makedirs(self.there / "a/b/c")
        os.symlink("../../../..", self.there / "a/b/c/top")
        os.symlink("top/../state", self.there / "a/b/c/out")
        os.symlink("top/../../../state", self.there / "a/b/c/far")
        self.assertEqual(os.readlink(self.here / "a/b/c/top"), "../../../..")
        for name in ("out", "far"):
            self.assertFalse(os.path.exists(self.here / "a/b/c" / name))
        # A step upwards that the caller takes leads where the kernel's tree does: to the instance.
        self.assertEqual(os.path.realpath(self.here / "a/b/c/top"), str(self.instance / "files"))

    def test_target_that_is_no_path(self):
        os.symlink("x" * 4000, self.here / "l")
        self.assertEqual(len(os.readlink(self.there / "l")), 4000)
        self.assertEqual(len(os.readlink(self.here / "l")), 4000)
        os.symlink(b"\xff\n ", os.fsencode(self.here / "m"))
        self.assertEqual(os.readlink(os.fsencode(self.here / "m")), b"\xff\n ")


class Changes(guestfiles.FilesTest):
    """What the server has or does, seen at once: test_files_cache.py has what is seen later."""

    keys = {"cache": 0}

    def test_special_files(self):
        os.mkfifo(self.there / "fifo")
        names = ["fifo", "socket"]
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(self.there / "socket"))
        if os.getuid() == 0:
            os.mknod(self.there / "device", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            names.append("device")
        self.assertEqual(sorted(os.listdir(self.here)), sorted(names))
        for name in names:
            for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_CREAT):
                self.fails(errno.ENXIO, os.open, self.here / name, flags)
            # rsync, tar and cp -a must not make a device of it here.
            self.assertTrue(stat.S_ISSOCK(os.lstat(self.here / name).st_mode))
            os.unlink(self.here / name)
        self.fails(errno.EPERM, os.mkfifo, self.here / "fifo")

    def test_seen_at_once(self):
        for size in (5, 3, 8, 0):
            write(self.there / "x", "c" * size)
            self.assertEqual(os.stat(self.here / "x").st_size, size)
            self.assertEqual(self.both(), b"c" * size)
        for letter in "abcdef":
            # The same size, in the same second.
            write(self.there / "x", letter * 8)
            self.assertEqual(self.both(), letter.encode() * 8)
        os.unlink(self.there / "x")
        self.assertFalse((self.here / "x").exists())
        (self.there / "x").mkdir()
        self.assertEqual(os.listdir(self.here / "x"), [])
        (self.there / "x/new").touch()
        self.assertEqual(os.listdir(self.here / "x"), ["new"])
        shutil.rmtree(self.there / "x")
        write(self.there / "x", "a file again")
        self.assertEqual(self.both(), b"a file again")
        os.rename(self.there / "x", self.there / "y")
        self.assertEqual(os.listdir(self.here), ["y"])
        os.chmod(self.there / "y", 0o600)
        self.assertEqual(os.stat(self.here / "y").st_mode & 0o777, 0o600)
        os.symlink("y", self.there / "l")
        self.assertEqual(read(self.here / "l"), b"a file again")
        os.unlink(self.there / "l")
        os.symlink("none", self.there / "l")
        self.assertFalse((self.here / "l").exists())

    def test_growing_file_is_followed(self):
        write(self.there / "log", "first\n")
        tail = subprocess.Popen(["tail", "-s", "0.05", "-c", "+1", "-f", self.here / "log"],
                                stdout=subprocess.PIPE)
        try:
            for line in (b"first\n", b"second\n", b"third\n"):
                self.assertEqual(tail.stdout.readline(), line)
                with open(self.there / "log", "ab") as log:
                    log.write({b"first\n": b"second\n"}.get(line, b"third\n"))
        finally:
            tail.kill()
            tail.wait()
            tail.stdout.close()

    def test_commands_and_files_are_one(self):
        write(self.here / "in", "text")
        where = f"{self.there.name}/"
        self.assertEqual(self.run_in(self.instance, f"tr a-z A-Z <{where}in >{where}out; pwd"),
                         (f"{self.there.parent}\n".encode(), 0))
        self.assertEqual(read(self.here / "out"), b"TEXT")

    def test_full(self):
        if os.getuid() != 0:
            self.skipTest("only root can mount a small filesystem")
        self.mount_there("size=1m")
        with open(self.here / "x", "wb", buffering=0) as file:
            def fill():
                file.write(bytes(4 << 20))
                os.fsync(file.fileno())
            self.fails(errno.ENOSPC, fill)
        os.truncate(self.here / "x", 0)
        write(self.here / "x", "fits again")
        self.assertEqual(self.both(), b"fits again")

    def test_forbidden(self):
        if os.getuid() == 0:
            self.skipTest("nothing is forbidden to root")
        write(self.there / "x", "x")
        os.chmod(self.there / "x", 0)
        self.fails(errno.EACCES, open, self.here / "x")
        os.chmod(self.there, 0o500)
        self.addCleanup(os.chmod, self.there, 0o700)
        self.fails(errno.EACCES, os.mkdir, self.here / "d")
        self.fails(errno.EACCES, os.unlink, self.here / "x")

    def test_read_only(self):
        if os.getuid() != 0:
            self.skipTest("only root can mount")
        self.mount_there("ro")
        self.fails(errno.EIO, os.mkdir, self.here / "d")
        self.assertEqual(os.listdir(self.here), [])


if __name__ == "__main__":
    harness.main()
