# SPDX-License-Identifier: MIT
"""files/: what single system calls do, compared with the directory on the server."""
import errno
import fcntl
import mmap
import os
import random
import select
import stat

import guestfiles
import harness
from harness import read, sh, text, write


class Calls:
    """System calls, against any server."""

    def test_create_write_read(self):
        write(self.here / "x", "one\n")
        self.assertEqual(self.both(), b"one\n")
        write(self.here / "x", "")
        self.assertEqual(self.both(), b"")
        with open(self.here / "x", "ab", buffering=0) as file:
            file.write(b"two")
            file.write(b"three")
        self.assertEqual(self.both(), b"twothree")

    def test_modes_of_new_files(self):
        for mode in (0o644, 0o600, 0o755, 0o444):
            os.close(os.open(self.here / f"f{mode:o}", os.O_CREAT | os.O_WRONLY, mode))
            os.mkdir(self.here / f"d{mode:o}", mode)
            for name in (f"f{mode:o}", f"d{mode:o}"):
                for side in (self.here, self.there):
                    self.assertEqual(stat.S_IMODE(os.stat(side / name).st_mode), mode, name)

    def test_open_flags(self):
        path = self.here / "x"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        self.fails(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.fails(errno.ENOENT, os.open, self.here / "none", os.O_RDONLY)
        self.fails(errno.EISDIR, os.open, self.here, os.O_WRONLY)
        self.fails(errno.ENOTDIR, os.open, path / "below", os.O_RDONLY)
        self.fails(errno.ENOTDIR, os.open, path, os.O_RDONLY | os.O_DIRECTORY)
        write(path, "long content")
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        self.assertEqual(self.both(), b"")
        # The server's file is there only for the server's O_EXCL to see.
        (self.there / "late").touch()
        self.fails(errno.EEXIST, os.open, self.here / "late", os.O_CREAT | os.O_EXCL)

    def test_truncate_and_holes(self):
        path = self.here / "x"
        write(path, "0123456789")
        os.truncate(path, 4)
        self.assertEqual(self.both(), b"0123")
        os.truncate(path, 8)
        self.assertEqual(self.both(), b"0123\0\0\0\0")
        with open(path, "r+b", buffering=0) as file:
            file.truncate(2)
            file.seek(5000)
            file.write(b"end")
            self.assertEqual(os.fstat(file.fileno()).st_size, 5003)
        self.assertEqual(self.both(), b"01" + bytes(4998) + b"end")
        with open(path, "rb", buffering=0) as file:
            self.assertEqual(os.pread(file.fileno(), 100, 5000), b"end")
            self.assertEqual(os.pread(file.fileno(), 100, 5003), b"")
            self.assertEqual(os.pread(file.fileno(), 100, 1 << 40), b"")
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_END), 5003)

    def test_append_by_two(self):
        fds = [self.open("x", os.O_CREAT | os.O_APPEND | os.O_WRONLY) for _ in range(2)]
        for i in range(100):
            os.write(fds[i % 2], b"%03d\n" % i)
        self.assertEqual(self.both(), b"".join(b"%03d\n" % i for i in range(100)))

    def test_append_beside_the_server(self):
        fd = self.open("x", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        with open(self.there / "x", "ab", buffering=0) as file:
            for i in range(20):
                os.write(fd, b"here%02d\n" % i)
                file.write(b"there%02d\n" % i)
        self.assertEqual(self.both(), b"".join(b"here%02d\nthere%02d\n" % (i, i) for i in range(20)))

    def test_random_access(self):
        random.seed(1)
        with open(self.here / "x", "w+b", buffering=0) as file, \
                open(self.there.parent / "reference", "w+b", buffering=0) as model:
            for _ in range(300):
                offset, size = random.randrange(1 << 20), random.choice((1, 100, 4096, 150000))
                if random.random() < 0.5:
                    data = random.randbytes(size)
                    os.pwrite(file.fileno(), data, offset)
                    os.pwrite(model.fileno(), data, offset)
                else:
                    self.assertEqual(os.pread(file.fileno(), size, offset),
                                     os.pread(model.fileno(), size, offset))
        self.assertEqual(self.both(), read(self.there.parent / "reference"))

    def test_large_writes_and_reads(self):
        data = random.Random(2).randbytes(3 << 20)
        fd = self.open("x", os.O_CREAT | os.O_RDWR)
        self.assertEqual(os.write(fd, data), len(data))
        self.assertEqual(os.pread(fd, len(data) + 5, 0), data)
        os.fsync(fd)
        os.fdatasync(fd)
        self.assertEqual(self.both(), data)

    def test_mmap(self):
        write(self.there / "x", b"a" * 10000)
        with open(self.here / "x", "r+b") as file:
            with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as area:
                area[:3] = b"xyz"
                self.assertEqual(area[:4], b"xyza")
            self.assertEqual(self.both(), b"a" * 10000)
            with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED) as area:
                area[5000:5003] = b"xyz"
                area.flush()
                self.assertEqual(read(self.there / "x")[4999:5004], b"axyza")
                area[9999:] = b"z"
        self.assertEqual(self.both()[9998:], b"az")

    def test_unlinked_but_open(self):
        with open(self.here / "x", "w+b", buffering=0) as file:
            file.write(b"before")
            os.unlink(self.here / "x")
            self.assertFalse((self.there / "x").exists())
            file.write(b", after")
            self.assertEqual(os.pread(file.fileno(), 100, 0), b"before, after")
            self.assertEqual(os.fstat(file.fileno()).st_size, 13)
            file.truncate(3)
            self.assertEqual(os.pread(file.fileno(), 100, 0), b"bef")
            write(self.here / "x", "another")
            self.assertEqual(os.fstat(file.fileno()).st_size, 3)
            self.assertNotEqual(os.fstat(file.fileno()).st_ino, os.stat(self.here / "x").st_ino)

    def test_removed_by_the_server_but_open(self):
        write(self.there / "x", "content")
        with open(self.here / "x", "r+b", buffering=0) as file:
            os.unlink(self.there / "x")
            self.assertEqual(os.fstat(file.fileno()).st_size, 7)
            self.assertEqual(file.read(), b"content")

    def test_truncate_needs_only_the_open_file(self):
        fd = self.open("x", os.O_CREAT | os.O_WRONLY, 0o400)
        os.write(fd, b"12345")
        os.rename(self.there / "x", self.there / "y")
        os.ftruncate(fd, 2)
        self.assertEqual(read(self.there / "y"), b"12")

    def test_rename(self):
        with open(self.here / "a", "w+b", buffering=0) as file:
            os.rename(self.here / "a", self.here / "b")
            file.write(b"through the old name")
        self.assertEqual(self.both("b"), b"through the old name")
        write(self.here / "c", "replaced")
        with open(self.here / "c", "rb", buffering=0) as old:
            os.rename(self.here / "b", self.here / "c")
            self.assertEqual(old.read(), b"replaced")
        self.assertEqual(self.both("c"), b"through the old name")
        self.assertEqual(os.listdir(self.there), ["c"])
        os.makedirs(self.here / "d/sub/deep")
        os.makedirs(self.here / "full/of")
        write(self.here / "d/sub/deep/x", "moves along")
        with open(self.here / "d/sub/deep/x", "rb", buffering=0) as file:
            os.rename(self.here / "d/sub", self.here / "e")
            self.assertEqual(os.fstat(file.fileno()).st_size, 11)
            self.assertEqual(file.read(), b"moves along")
        self.assertEqual(self.both("e/deep/x"), b"moves along")
        self.fails(errno.ENOTEMPTY, os.rename, self.here / "e", self.here / "full")
        self.fails(errno.EISDIR, os.rename, self.here / "c", self.here / "full")
        self.fails(errno.ENOTDIR, os.rename, self.here / "full", self.here / "c")
        self.fails(errno.EINVAL, os.rename, self.here / "e", self.here / "e/deep/e")
        self.fails(errno.ENOENT, os.rename, self.here / "none", self.here / "c")
        os.rename(self.here / "e", self.here / "d")
        self.assertTrue((self.there / "d/deep/x").exists())

    def test_renamed_and_new_are_two_files(self):
        for name in ("a", "b", "c"):
            write(self.here / "log", name)
            os.rename(self.here / "log", self.here / name)
        write(self.here / "log", "new")
        numbers = {entry.name: entry.inode() for entry in os.scandir(self.here)}
        self.assertEqual(len(set(numbers.values())), 4)
        for name, number in numbers.items():
            self.assertEqual(os.stat(self.here / name).st_ino, number, name)
        sh("cp log a", cwd=self.here)
        self.assertEqual(self.both("a"), b"new")

    def test_hard_links(self):
        write(self.here / "a", "one")
        os.link(self.here / "a", self.here / "b")
        self.assertEqual(os.stat(self.there / "a").st_nlink, 2)
        write(self.here / "b", "two!")
        self.assertEqual(self.both("a"), b"two!")
        self.fails(errno.EEXIST, os.link, self.here / "a", self.here / "b")
        self.assertTrue(os.path.samefile(self.here / "a", self.here / "b"))
        os.unlink(self.here / "a")
        self.assertEqual(self.both("b"), b"two!")
        write(self.here / "a", "another")
        self.assertFalse(os.path.samefile(self.here / "a", self.here / "b"))

    def test_names(self):
        names = [b"with space", b"new\nline", b"\xff\xfe not UTF-8", b"-rf", b"*", b"...", b"'\"$`\\",
                 b"n" * 255, "ünïcödé".encode()]
        directory = os.fsencode(self.here)
        for name in names:
            write(directory + b"/" + name, b"in " + name)
        self.assertEqual(sorted(os.listdir(directory)), sorted(names))
        self.assertEqual(sorted(os.listdir(os.fsencode(self.there))), sorted(names))
        for name in names:
            self.assertEqual(read(directory + b"/" + name), b"in " + name)
            os.unlink(directory + b"/" + name)
        self.assertEqual(os.listdir(self.there), [])
        long = directory + b"/" + b"n" * 256
        for call in (os.stat, os.mkdir, os.unlink):
            self.fails(errno.ENAMETOOLONG, call, long)
        self.fails(errno.ENAMETOOLONG, os.open, long, os.O_CREAT)
        self.fails(errno.ENAMETOOLONG, os.rename, directory, long)

    def test_deep(self):
        path = self.here
        for _ in range(20):
            path = path / ("d" * 100)
            path.mkdir()
        write(path / "x", "deep")
        self.assertEqual(read(path / "x"), b"deep")
        sh("rm -r d*", cwd=self.here)
        self.assertEqual(os.listdir(self.there), [])

    def test_removal(self):
        (self.there / "d/e").mkdir(parents=True)
        (self.there / "x").touch()
        self.fails(errno.ENOTEMPTY, os.rmdir, self.here / "d")
        self.fails(errno.ENOTDIR, os.rmdir, self.here / "x")
        self.fails(errno.EISDIR, os.unlink, self.here / "d")
        self.fails(errno.ENOENT, os.unlink, self.here / "none")
        self.fails(errno.ENOENT, os.rmdir, self.here / "none")
        self.fails(errno.EEXIST, os.mkdir, self.here / "d")
        self.fails(errno.EEXIST, os.mkdir, self.here / "x")
        self.fails(errno.EEXIST, os.symlink, "target", self.here / "x")
        self.fails(errno.ENOENT, os.mkdir, self.here / "none/d")
        os.rmdir(self.here / "d/e")
        os.rmdir(self.here / "d")
        os.unlink(self.here / "x")
        self.assertEqual(os.listdir(self.there), [])

    def test_attributes(self):
        write(self.here / "x", "content")
        os.chmod(self.here / "x", 0o640)
        os.utime(self.here / "x", (1000000000, 1200000000))
        for side in (self.here, self.there):
            status = os.stat(side / "x")
            self.assertEqual((stat.S_IMODE(status.st_mode), status.st_atime, status.st_mtime,
                              status.st_size), (0o640, 1000000000, 1200000000, 7))
        sh("touch -a -d @1300000000 x", cwd=self.here)
        self.assertEqual((os.stat(self.there / "x").st_atime, os.stat(self.there / "x").st_mtime),
                         (1300000000, 1200000000))
        sh("touch -m -d @1400000000 x", cwd=self.here)
        self.assertEqual((os.stat(self.there / "x").st_atime, os.stat(self.there / "x").st_mtime),
                         (1300000000, 1400000000))
        os.chown(self.here / "x", os.getuid(), os.getgid())
        os.chown(self.here / "x", os.getuid(), -1)
        os.chown(self.here / "x", -1, os.getgid())
        os.symlink("none", self.here / "l")
        sh("touch -h -d @1500000000 l", cwd=self.here)
        self.assertEqual(os.lstat(self.there / "l").st_mtime, 1500000000)

    def test_setuid_is_not_shown(self):
        (self.there / "x").touch()
        os.chmod(self.there / "x", 0o6755)
        self.assertEqual(stat.S_IMODE(os.stat(self.here / "x").st_mode), 0o755)
        self.assertIn("nosuid", next(line for line in text("/proc/self/mounts").splitlines()
                                     if str(self.mount.path) in line))

    def test_statfs_and_poll(self):
        ours, theirs = os.statvfs(self.here), os.statvfs(self.there)
        self.assertEqual(ours.f_blocks * ours.f_frsize, theirs.f_blocks * theirs.f_frsize)
        self.assertGreater(ours.f_bavail, 0)
        write(self.here / "x", "content")
        with open(self.here / "x", "rb") as file:
            self.assertEqual(select.select([file], [], [], 0)[0], [file])
        # Polling a file of the guest must not end poll(2) for the whole mount.
        with open(self.instance / "console.follow" if (self.instance / "console").exists()
                  else self.mount.path / "events.follow", "rb", buffering=0) as file:
            os.set_blocking(file.fileno(), False)
            while file.read(65536):
                pass
            self.assertEqual(select.select([file], [], [], 0)[0], [])

    def test_locks(self):
        with open(self.here / "x", "w") as one, open(self.here / "x") as two:
            fcntl.flock(one, fcntl.LOCK_EX)
            self.fails(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)


class OpenSsh(Calls, guestfiles.FilesTest):
    """OpenSSH's server."""


class DropbearServer(Calls, guestfiles.FilesTest):
    """Dropbear with OpenSSH's sftp-server."""

    server = harness.Dropbear
    sshd_config = ()


if __name__ == "__main__":
    harness.main()
