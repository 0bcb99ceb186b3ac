# SPDX-License-Identifier: MIT
"""files/: a server of protocol 3 and nothing else: slower, but right; what it cannot do is refused."""
import errno
import os
import random
import shutil

import guestfiles
import harness
import test_files_model
from harness import read, sh, text, write

EXTENSIONS = ("posix-rename", "hardlink", "fsync", "statvfs", "fstatvfs", "lsetstat", "limits", "copy-data",
              "expand-path", "home-directory", "users-groups-by-id")


class PlainServer:
    """OpenSSH's server with every extension denied."""

    @classmethod
    def configure(cls):
        os.environ["SSHD_SFTP"] = "internal-sftp -P " + ",".join(EXTENSIONS)
        try:
            return super().configure()
        finally:
            del os.environ["SSHD_SFTP"]


class Plain(PlainServer, guestfiles.FilesTest):
    """Single calls and tools."""

    def test_rename_replaces(self):
        write(self.here / "a", "new")
        write(self.here / "b", "old")
        with open(self.here / "b", "rb", buffering=0) as old:
            os.rename(self.here / "a", self.here / "b")
            self.assertEqual(old.read(), b"old")
        self.assertEqual(self.both("b"), b"new")
        os.symlink("b", self.here / "l")
        write(self.here / "a", "newer")
        os.rename(self.here / "a", self.here / "l")
        self.assertEqual(self.both("l"), b"newer")
        for name in ("d", "empty", "full/x"):
            (self.here / name).mkdir(parents=True)
        os.rename(self.here / "d", self.here / "empty")
        self.fails(errno.ENOTEMPTY, os.rename, self.here / "empty", self.here / "full")
        self.fails(errno.EISDIR, os.rename, self.here / "b", self.here / "full")
        self.fails(errno.ENOENT, os.rename, self.here / "none", self.here / "b")
        self.assertEqual(sorted(os.listdir(self.there)), ["b", "empty", "full", "l"])
        self.assertEqual(self.both("b"), b"new")

    def test_rename_that_fails_restores(self):
        write(self.here / "b", "old")
        write(self.here / "a", "new")
        os.unlink(self.there / "a")
        with self.assertRaises(OSError):
            os.rename(self.here / "a", self.here / "b")
        self.assertEqual(self.both("b"), b"old")
        self.assertEqual(os.listdir(self.there), ["b"])

    def test_what_it_cannot_do(self):
        write(self.here / "x", "x" * 5000)
        self.fails(errno.EOPNOTSUPP, os.link, self.here / "x", self.here / "y")
        os.symlink("x", self.here / "l")
        self.fails(errno.EOPNOTSUPP, os.utime, self.here / "l", (1, 2), follow_symlinks=False)
        os.utime(self.here / "l", (1, 2))
        self.assertEqual(os.stat(self.there / "x").st_mtime, 2)
        os.statvfs(self.here)
        with open(self.here / "x", "rb") as one, open(self.here / "y", "w+b") as two:
            # Done by the kernel then, and fsync says nothing.
            self.assertEqual(os.copy_file_range(one.fileno(), two.fileno(), 5000), 5000)
            os.fsync(two.fileno())
        fd = self.open("", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        self.assertEqual(self.both("y"), b"x" * 5000)

    def test_large(self):
        data = random.Random(1).randbytes((5 << 20) + 3)
        write(self.here / "x", data)
        self.assertTrue(self.both() == data)
        with open(self.here / "x", "r+b", buffering=0) as file:
            file.seek(100000)
            file.write(data[:300000])
            file.truncate(4 << 20)
        self.assertTrue(self.both() == data[:100000] + data[:300000] + data[400000:4 << 20])

    def test_tools(self):
        sh("set -e; mkdir t; for i in 1 2 3; do echo $i >t/$i; done; sed -i s/1/one/ t/1; mv t/2 t/3; cp -r t u; "
           "tar -c t | (mkdir v; tar -C v -x); diff -r t v/t; diff -r t u; rm -r v", cwd=self.here)
        self.assertEqual(text(self.there / "u/1"), "one\n")
        if shutil.which("rsync"):
            sh("set -e; rsync -a t/ w/; echo more >>t/1; rsync -a t/ w/; diff -r t w", cwd=self.here)
        if shutil.which("git"):
            git = "git -c user.name=n -c user.email=e@example.org -c safe.directory='*' -c gc.auto=0"
            sh(f"set -e; export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory "
               f"GIT_CONFIG_VALUE_0='*'; cd t; git init -q; git add -A; {git} commit -qm one; echo x >x; git add x; "
               f"{git} commit -qm two; git fsck --strict; test -z \"$(git status --porcelain)\"", cwd=self.here)
        sh("rm -r *", cwd=self.here)
        self.assertEqual(os.listdir(self.there), [])


class PlainOperations(test_files_model.Operations):
    """Random operations, but for hard links, and times, which links cannot have."""

    def by_path(self, random):
        while True:
            found = super().by_path(random)
            if found[0] not in (test_files_model.link, test_files_model.touch):
                return found


class Model(PlainServer, PlainOperations, guestfiles.FilesTest):
    """Those, on such a server."""

    count = 1200


if __name__ == "__main__":
    harness.main()
