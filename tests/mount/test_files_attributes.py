# SPDX-License-Identifier: MIT
"""files/: owners, modes, times, access(2), and where the kinds of owners are configured."""
import errno
import os
import stat
import subprocess
import tempfile

import guestfiles
import harness
from harness import sh, write

OTHER = 12345


class Attributes:
    """What holds with either kind of owner."""

    def test_times(self):
        path, there = self.here / "x", self.there / "x"
        write(path, "x")
        os.utime(path, (1111111111, 1222222222))
        sh("touch -a x", cwd=self.here)
        status = os.stat(there)
        self.assertAlmostEqual(status.st_atime, os.stat(self.there).st_mtime, delta=60)
        self.assertEqual(status.st_mtime, 1222222222)
        os.utime(path, (1111111111, 1222222222))
        sh("touch -m x", cwd=self.here)
        self.assertEqual(os.stat(there).st_atime, 1111111111)
        self.assertGreater(os.stat(there).st_mtime, 1222222222)
        sh("touch x", cwd=self.here)
        self.assertGreater(os.stat(there).st_atime, 1111111111)
        os.utime(path, ns=(1333333333_999999999, 1444444444_999999999))
        self.assertEqual((os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns),
                         (1333333333_000000000, 1444444444_000000000))
        for given, got in ((2**32 - 1, 2**32 - 1), (2**32, 2**32 - 1), (-1, 0)):
            os.utime(path, (given, given))
            self.assertEqual(os.stat(path).st_mtime, got)
        with open(path, "r+b") as file:
            os.utime(file.fileno(), (1555555555, 1666666666))
            os.unlink(path)
            os.utime(file.fileno(), (1555555556, 1666666667))
            os.fchmod(file.fileno(), 0o604)
            status = os.fstat(file.fileno())
            self.assertEqual((status.st_atime, status.st_mtime, stat.S_IMODE(status.st_mode)),
                             (1555555556, 1666666667, 0o604))

    def test_links_are_not_followed(self):
        write(self.here / "x", "x")
        os.utime(self.here / "x", (1, 2))
        os.symlink("x", self.here / "l")
        os.utime(self.here / "l", (1222222222, 1333333333), follow_symlinks=False)
        self.assertEqual(os.lstat(self.there / "l").st_mtime, 1333333333)
        self.assertEqual(os.lstat(self.here / "l").st_mtime, 1333333333)
        self.assertEqual(os.stat(self.there / "x").st_mtime, 2)
        os.utime(self.here / "l", (3, 4))
        self.assertEqual(os.stat(self.there / "x").st_mtime, 4)

    def test_modes(self):
        write(self.here / "x", "x")
        os.mkdir(self.here / "d", 0o1777)
        # The umask of this process and that of the server are both 022.
        self.assertEqual(stat.S_IMODE(os.stat(self.there / "d").st_mode), 0o1755)
        for mode in (0, 0o1, 0o777, 0o1777, 0o640):
            for name in ("x", "d"):
                os.chmod(self.here / name, mode)
                self.assertEqual(stat.S_IMODE(os.stat(self.there / name).st_mode), mode)
                self.assertEqual(stat.S_IMODE(os.stat(self.here / name).st_mode), mode)
        os.chmod(self.here / "d", 0o700)

    def test_access(self):
        write(self.here / "x", "#!/bin/sh\n")
        (self.here / "d").mkdir(mode=0o700)
        os.symlink("x", self.here / "l")
        for mode, can in ((0o644, False), (0o755, True), (0o600, False), (0o610, True)):
            os.chmod(self.here / "x", mode)
            for name in ("x", "l"):
                self.assertEqual(os.access(self.here / name, os.X_OK), can, oct(mode))
                self.assertTrue(os.access(self.here / name, os.R_OK))
        # Without the kernel's belief too.
        os.chmod(self.there / "x", 0o644)
        self.run_in(self.instance, "true")
        self.assertFalse(os.access(self.here / "x", os.X_OK))
        self.assertTrue(os.access(self.here / "d", os.X_OK | os.W_OK | os.R_OK))
        self.assertFalse(os.access(self.here / "none", os.F_OK))
        for name, mask, can in (("cmd", os.R_OK | os.W_OK, True), ("cmd", os.X_OK, False),
                                ("state", os.R_OK, True), (".", os.X_OK, True)):
            self.assertEqual(os.access(self.instance / name, mask), can, name)
        sh("test -x /bin/sh; ! test -x cmd; cd files; ! test -x x/", cwd=self.instance)

    def test_mknod(self):
        os.mknod(self.here / "x", 0o640 | stat.S_IFREG)
        self.assertEqual(os.stat(self.there / "x").st_mode, 0o640 | stat.S_IFREG)
        self.fails(errno.EEXIST, os.mknod, self.here / "x", 0o600 | stat.S_IFREG)
        self.fails(errno.EPERM, os.mknod, self.here / "fifo", 0o600 | stat.S_IFIFO)
        self.fails(errno.EPERM, os.mknod, self.instance / "x", 0o600 | stat.S_IFREG)


class Mount(Attributes, guestfiles.FilesTest):
    """All files are the mounting user's."""

    def test_owner(self):
        write(self.here / "x", "x")
        for call in (os.chown, os.lchown):
            call(self.here / "x", os.getuid(), os.getgid())
            call(self.here / "x", -1, -1)
            for owner in ((OTHER, -1), (-1, OTHER), (OTHER, OTHER), (os.getuid(), OTHER)):
                self.fails(errno.EPERM, call, self.here / "x", *owner)
        if os.getuid() == 0:
            os.chown(self.there / "x", OTHER, OTHER + 1)
            os.chown(self.here / "x", 0, 0)
            self.assertEqual((os.stat(self.there / "x").st_uid, os.stat(self.there / "x").st_gid),
                             (OTHER, OTHER + 1))
        for path in (self.here / "x", self.here, self.instance / "files"):
            self.assertEqual((os.stat(path).st_uid, os.stat(path).st_gid),
                             (os.getuid(), os.getgid()), path)


class Guest(Attributes, guestfiles.FilesTest):
    """Files are those of the guest's users."""

    keys = {"owner": "guest"}

    def test_owner(self):
        if os.getuid() != 0:
            self.skipTest("only root gives files away")
        write(self.there / "x", "x")
        os.symlink("x", self.there / "l")
        os.chown(self.there / "x", OTHER, OTHER + 1)
        self.assertEqual((os.stat(self.here / "x").st_uid, os.stat(self.here / "x").st_gid),
                         (OTHER, OTHER + 1))
        for owner, result in (((1, 2), (1, 2)), ((3, -1), (3, 2)), ((-1, 4), (3, 4)), ((-1, -1), (3, 4)),
                              ((0, 0), (0, 0)), ((2**32 - 2, 5), (2**32 - 2, 5))):
            os.chown(self.here / "x", *owner)
            for side in (self.here, self.there):
                status = os.stat(side / "x")
                self.assertEqual((status.st_uid, status.st_gid), result)
        os.lchown(self.here / "l", 7, 8)
        for side in (self.here, self.there):
            self.assertEqual((os.lstat(side / "l").st_uid, os.stat(side / "l").st_uid), (7, 2**32 - 2))
        with open(self.here / "x", "r+b") as file:
            os.unlink(self.here / "x")
            os.fchown(file.fileno(), 9, 10)
            self.assertEqual(os.fstat(file.fileno()).st_uid, 9)

    def test_tree_with_owners(self):
        if os.getuid() != 0:
            self.skipTest("only root gives files away")
        with tempfile.TemporaryDirectory(prefix="poolfs-owner.") as local:
            for i in range(3):
                write(f"{local}/{i}", str(i))
                os.chown(f"{local}/{i}", 100 + i, 200 + i)
            sh(f"cp -a '{local}' '{self.here}/cp'; tar -C '{local}' -c . | tar -C '{self.here}' -xp; "
               f"rsync -a '{local}/' '{self.here}/rsync/'")
            self.assertEqual(sh(f"rsync -ai '{local}/' '{self.here}/rsync/'"), "")
        for copy in ("cp", ".", "rsync"):
            for i in range(3):
                status = os.stat(self.there / copy / str(i))
                self.assertEqual((status.st_uid, status.st_gid), (100 + i, 200 + i), copy)


class Check(guestfiles.FilesTest):
    """The key."""

    def test_checked(self):
        with tempfile.TemporaryDirectory(prefix="poolfs-check.") as directory:
            write(f"{directory}/ini", harness.ssh_pool(self.sshd, owner="root"))
            os.mkdir(f"{directory}/mnt")
            done = subprocess.run([harness.POOLFS, "--check", f"{directory}/ini", f"{directory}/mnt"],
                                  stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("owner: not a choice: write mount or guest", done.stderr)
        self.assertIn("owner = mount", harness.text(self.mount.path / "host/pool.config"))


if __name__ == "__main__":
    harness.main()
