# SPDX-License-Identifier: MIT
"""files/: calls beyond reading and writing: fsync, copy_file_range, holes, locks, long paths."""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys

import guestfiles
import harness
from harness import read, sh, text, wait_for, write

libc = ctypes.CDLL(None, use_errno=True)


class Logged(guestfiles.LoggedServer, guestfiles.FilesTest):
    """What the server does for us."""

    def test_fsync(self):
        fd = self.open("x", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"x")
        for call, *arguments in ((os.fsync, fd), (os.fdatasync, fd),
                                 (os.fsync, self.open("", os.O_RDONLY | os.O_DIRECTORY))):
            self.asked()
            call(*arguments)
            self.assertIn("fsync", self.asked())
        (self.here / "d").mkdir()
        fd = self.open("d", os.O_RDONLY | os.O_DIRECTORY)
        os.rmdir(self.here / "d")
        os.fsync(fd)
        os.fsync(self.open("../..", os.O_RDONLY | os.O_DIRECTORY))

    def test_copy_by_the_server(self):
        data = random.Random(7).randbytes((9 << 20) + 5)
        write(self.here / "x", data)
        one, two = self.open("x", os.O_RDONLY), self.open("y", os.O_CREAT | os.O_RDWR)
        self.asked()
        done = 0
        while count := os.copy_file_range(one, two, 1 << 24):
            done += count
        self.assertEqual(done, len(data))
        self.assertEqual(read(self.there / "y"), data)
        self.assertEqual(self.both("y"), data)
        asked = self.asked()
        self.assertIn("copy-data", asked)
        self.assertNotIn("write ", asked)
        self.assertEqual(os.copy_file_range(one, two, 100, 10, 20), 100)
        self.assertEqual(os.copy_file_range(one, two, 1000, len(data) - 3, len(data)), 3)
        self.assertEqual(os.copy_file_range(one, two, 1000, len(data) + 3, 0), 0)
        self.assertEqual(os.copy_file_range(one, two, 100, 0, 100 << 20), 100)
        model = bytearray(data) + data[-3:]
        model[20:120] = data[10:110]
        model += bytes((100 << 20) - len(model)) + data[:100]
        self.assertTrue(self.both("y") == model)

    def test_copy_sees_what_was_written_before(self):
        one, two = self.open("x", os.O_CREAT | os.O_RDWR), self.open("y", os.O_CREAT | os.O_RDWR)
        os.truncate(one, 10000)
        with mmap.mmap(one, 10000) as area:
            for i in range(20):
                os.pwrite(one, b"%05d" % i, 100)
                area[5000:5005] = b"%05d" % i
                os.pwrite(two, b"%05d" % (99 - i), 0)
                self.assertEqual(os.copy_file_range(one, two, 10000, 0, 5), 10000)
                self.assertEqual(os.pread(two, 10005, 0)[:110],
                                 b"%05d" % (99 - i) + bytes(100) + b"%05d" % i)
                self.assertEqual(os.pread(two, 5, 5005), b"%05d" % i)

    def test_copies_that_the_server_cannot_do(self):
        write(self.here / "x", bytes(range(256)) * 400)
        fd = self.open("x", os.O_RDWR)
        # From a file into itself: the kernel does it then.
        self.assertEqual(os.copy_file_range(fd, fd, 1000, 0, 200000), 1000)
        os.fsync(fd)
        self.assertEqual(self.both()[200000:], (bytes(range(256)) * 400)[:1000])
        self.fails(errno.EINVAL, os.copy_file_range, fd, fd, 1000, 0, 500)
        other = self.new("host", "b")
        write(other / "files" / self.there.name / "z", "from another instance")
        with open(other / "files" / self.there.name / "z", "rb") as file, \
                open(self.instance / "status", "rb") as status:
            self.assertEqual(os.copy_file_range(file.fileno(), fd, 21, 0, 0), 21)
            os.fsync(fd)
            self.assertEqual(self.both()[:21], b"from another instance")
            size = os.fstat(status.fileno()).st_size
            self.assertEqual(os.copy_file_range(status.fileno(), fd, size, 0, 0), size)
            os.fsync(fd)
        self.assertTrue(self.both().startswith(b"state ready\n"))


class OtherCalls(guestfiles.FilesTest):
    """What the kernel does by itself above us, and what it must not."""

    def test_seek_in_holes(self):
        fd = self.open("x", os.O_CREAT | os.O_RDWR)
        os.pwrite(fd, b"end", 1 << 20)
        # All is data to a server that cannot tell, and the end is a hole.
        self.assertEqual(os.lseek(fd, 5, os.SEEK_DATA), 5)
        self.assertEqual(os.lseek(fd, 5, os.SEEK_HOLE), (1 << 20) + 3)
        self.fails(errno.ENXIO, os.lseek, fd, 1 << 21, os.SEEK_DATA)
        sh(f"cp --sparse=always x y; cp --sparse=auto x z; cp --reflink=auto x w", cwd=self.here)
        for name in "yzw":
            self.assertEqual(self.both(name), bytes(1 << 20) + b"end")
        self.assertLess(os.stat(self.there / "y").st_blocks, 1000)

    def test_sparse_files_stay_sparse(self):
        os.close(self.open_new("x"))
        os.truncate(self.here / "x", 1 << 40)
        self.assertEqual(os.stat(self.there / "x").st_size, 1 << 40)
        with open(self.here / "x", "r+b", buffering=0) as file:
            self.assertEqual(os.pread(file.fileno(), 10, 1 << 39), bytes(10))
            os.pwrite(file.fileno(), b"far", (1 << 40) - 1)
            self.assertEqual(os.pread(file.fileno(), 10, (1 << 40) - 2), b"\0far")
        self.assertLess(os.stat(self.there / "x").st_blocks, 1000)
        os.truncate(self.here / "x", 0)

    def open_new(self, name):
        return os.open(self.here / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)

    def test_what_is_not_there(self):
        fd = self.open("x", os.O_CREAT | os.O_RDWR)
        self.fails(errno.EOPNOTSUPP, os.open, self.here, os.O_TMPFILE | os.O_RDWR)
        self.fails(errno.EOPNOTSUPP, os.setxattr, self.here / "x", "user.a", b"b")
        self.assertEqual(libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(10)), -1)
        self.assertEqual(ctypes.get_errno(), errno.EOPNOTSUPP)
        os.posix_fallocate(fd, 0, 5000)
        os.fsync(fd)
        self.assertEqual(os.stat(self.there / "x").st_size, 5000)

    def test_record_locks(self):
        fd = self.open("x", os.O_CREAT | os.O_RDWR)
        os.write(fd, b"0123456789")
        fcntl.lockf(fd, fcntl.LOCK_EX, 5, 0)
        # Another process asks; the lock goes with this one's.
        script = ("import fcntl, sys\nwith open(sys.argv[1], 'r+') as file:\n"
                  "    fcntl.lockf(file, fcntl.LOCK_EX | int(sys.argv[2]), 5, int(sys.argv[3]))\n"
                  "    print('has it')\n")
        ask = [sys.executable, "-c", script, self.here / "x"]
        self.assertIn(b"Resource temporarily unavailable", subprocess.run(
            ask + [str(fcntl.LOCK_NB), "0"], stderr=subprocess.PIPE).stderr)
        subprocess.run(ask + [str(fcntl.LOCK_NB), "5"], check=True, stdout=subprocess.DEVNULL)
        waiting = subprocess.Popen(ask + ["0", "0"], stdout=subprocess.PIPE)
        self.addCleanup(waiting.stdout.close)
        self.addCleanup(waiting.wait)
        self.addCleanup(waiting.kill)
        wait_for(lambda: "setlk" in text(f"/proc/{waiting.pid}/wchan"), "process that waits for a lock")
        fcntl.lockf(fd, fcntl.LOCK_UN, 5, 0)
        self.assertEqual(waiting.stdout.read(), b"has it\n")
        # Locks of open files, as of databases.
        other = self.open("x", os.O_RDWR)
        lock = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
        fcntl.fcntl(fd, 37, lock) # F_OFD_SETLK
        self.fails(errno.EAGAIN, fcntl.fcntl, other, 37, lock)

    def test_long_paths(self):
        deep = os.fsencode(self.here)
        name = b"n" * 255
        while len(deep) + 256 < 4090:
            deep += b"/" + name
            os.mkdir(deep)
        last = deep + b"/" + b"f" * (4095 - len(deep) - 1)
        write(last, "as deep as one path goes")
        self.assertEqual(read(last), b"as deep as one path goes")
        self.fails(errno.ENAMETOOLONG, os.open, last + b"x", os.O_CREAT)
        # Step by step it goes deeper, as far as the server's own paths go.
        fd = os.open(deep, os.O_RDONLY | os.O_DIRECTORY)
        with self.assertRaises(OSError) as caught:
            for _ in range(20):
                os.mkdir(name, dir_fd=fd)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
        os.close(fd)
        self.assertEqual(os.strerror(caught.exception.errno), os.strerror(errno.ENAMETOOLONG))
        sh("rm -r n*", cwd=self.here)
        self.assertEqual(os.listdir(self.there), [])

    def test_every_byte_in_names(self):
        names = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."] + [b"a" + bytes([byte])
                 for byte in range(1, 256) if byte not in b"/"]
        here, there = os.fsencode(self.here), os.fsencode(self.there)
        for name in names:
            write(here + b"/" + name, name)
        self.assertEqual(sorted(os.listdir(there)), sorted(names))
        self.assertEqual(sorted(os.listdir(here)), sorted(names))
        self.run_in(self.instance, "true")
        for name in names:
            self.assertEqual(read(here + b"/" + name), name)
            os.rename(here + b"/" + name, here + b"/" + name + b"\xff" * 250)
        self.assertEqual(sorted(os.listdir(there)), sorted(name + b"\xff" * 250 for name in names))


class Unlinked(guestfiles.FilesTest):
    """Files that are open and have no name any more."""

    def check(self, fd, other):
        os.write(fd, b"0123456789")
        self.assertEqual(os.pread(other, 100, 0), b"0123456789")
        os.ftruncate(fd, 4)
        self.assertEqual((os.fstat(fd).st_size, os.fstat(other).st_size), (4, 4))
        os.ftruncate(fd, 6)
        self.assertEqual(os.pread(other, 100, 0), b"0123\0\0")
        os.pwrite(fd, b"end", 5000)
        os.fsync(fd)
        self.assertEqual(os.fstat(other).st_size, 5003)
        with mmap.mmap(fd, 5003) as area:
            area[0:4] = b"mmap"
            area.flush()
        self.assertEqual(os.pread(other, 5, 0), b"mmap\0")
        self.assertEqual(os.lseek(other, -3, os.SEEK_END), 5000)
        self.assertEqual(os.read(other, 10), b"end")

    def test_removed(self):
        fd, other = self.open("x", os.O_CREAT | os.O_RDWR), self.open("x", os.O_RDONLY)
        os.unlink(self.here / "x")
        write(self.here / "x", "a new one")
        self.check(fd, other)
        self.assertEqual(self.both(), b"a new one")

    def test_replaced(self):
        fd, other = self.open("x", os.O_CREAT | os.O_RDWR), self.open("x", os.O_RDONLY)
        write(self.here / "y", "a new one")
        os.rename(self.here / "y", self.here / "x")
        self.check(fd, other)
        self.assertEqual(self.both(), b"a new one")

    def test_in_a_directory_that_went(self):
        (self.here / "d").mkdir()
        fd, other = self.open("d/x", os.O_CREAT | os.O_RDWR), self.open("d/x", os.O_RDONLY)
        sh("rm -r d", cwd=self.here)
        self.check(fd, other)
        self.assertEqual(os.listdir(self.there), [])

    def test_removed_by_the_guest(self):
        fd, other = self.open("x", os.O_CREAT | os.O_RDWR), self.open("x", os.O_RDONLY)
        self.run_in(self.instance, f"rm {self.there.name}/x")
        self.check(fd, other)

    def test_write_only(self):
        fd = self.open("x", os.O_CREAT | os.O_WRONLY, 0o200)
        os.unlink(self.here / "x")
        os.write(fd, b"0123456789")
        os.ftruncate(fd, 3)
        self.assertEqual(os.fstat(fd).st_size, 3)


if __name__ == "__main__":
    harness.main()
