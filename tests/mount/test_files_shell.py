# SPDX-License-Identifier: MIT
"""
files/ of a machine without an SFTP server: what the other tests of files/ ask for holds by shell
commands too, whatever the shell, with this host's tools and those of busybox. Where the machine's doing
differs, the manual says so.
"""
import errno
import os
import pathlib
import shutil
import tempfile
import unittest

import guestfiles
import harness
import test_files
import test_files_attributes
import test_files_calls
import test_files_directories
import test_files_eager
import test_files_model
import test_files_writing
from harness import read, sh, text, value, wait_for, write

BUSYBOX = ("cat", "chmod", "chown", "date", "dd", "find", "ln", "ls", "mkdir", "mv", "readlink", "rm", "rmdir",
           "stat", "sync", "touch")


class Calls(guestfiles.ByShell, test_files.Calls, guestfiles.FilesTest):
    """dash, and this host's tools."""

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
        self.assertEqual(self.both("y"), b"12")
        self.assertEqual(os.stat(self.there / "y").st_mode & 0o7777, 0o400)


class CallsBusybox(Calls):
    """busybox' shell and tools."""

    shell = "busybox"
    busybox = BUSYBOX


class CallsDropbear(Calls):
    """Dropbear's server, which starts the subsystem though there is no program for it."""

    server = harness.Dropbear


class Attributes(guestfiles.ByShell, test_files_attributes.Mount):
    shell = "bash"


class AttributesOfGuest(guestfiles.ByShell, test_files_attributes.Guest):
    shell = "busybox"
    busybox = BUSYBOX


class Listing(guestfiles.ByShell, test_files_directories.Listing):
    # These are many requests, and of the daemon's own doing.
    test_positions = test_removal_while_listing = None


class Links(guestfiles.ByShell, test_files_directories.Links):
    shell = "busybox"
    busybox = BUSYBOX


class Changes(guestfiles.ByShell, test_files_directories.Changes):
    shell = "bash"

    def test_read_only(self):
        if os.getuid() != 0:
            self.skipTest("only root can mount")
        self.mount_there("ro")
        # Better than what SFTP tells.
        self.fails(errno.EROFS, os.mkdir, self.here / "d")

    test_full = None # the same


class OtherCalls(guestfiles.ByShell, test_files_calls.OtherCalls):
    test_every_byte_in_names = None # the same; tests/unit/test_shellfiles.c has them


class Unlinked(guestfiles.ByShell, test_files_calls.Unlinked):
    test_removed_by_the_guest = None # the machine has nothing open for it: as above


class Full(guestfiles.ByShell, test_files_writing.Full):
    test_programs_fail = None # the same


class EagerModel(guestfiles.ByShell, test_files_eager.Model):
    count = 300


class Model(guestfiles.ByShell, test_files_model.Model):
    count = 300


class ModelBash(guestfiles.ByShell, test_files_model.ModelWithoutCache):
    shell = "bash"
    count = 300


class ModelBusybox(Model):
    shell = "busybox"
    busybox = BUSYBOX


class Programs(guestfiles.ByShell, guestfiles.FilesTest):
    """What people use, on a small tree."""

    def setUp(self):
        super().setUp()
        self.local = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-programs."))
        self.addCleanup(shutil.rmtree, self.local)
        tree = self.local / "tree"
        (tree / "bin/deep").mkdir(parents=True)
        for number in range(12):
            write(tree / f"file {number}", os.urandom(number * 7001))
        write(tree / "bin/run\n", "#!/bin/sh\n")
        os.chmod(tree / "bin/run\n", 0o755)
        write(tree / "bin/deep/read", "only")
        os.chmod(tree / "bin/deep/read", 0o444)
        os.symlink("../file 3", tree / "bin/link")
        os.link(tree / "file 4", tree / "hard")
        sh("find . -depth -exec touch -h -d '2001-02-03 04:05:06' {} +", cwd=tree)
        self.tree = tree

    def listing(self, top):
        return sh("find . -type d -printf '%P %y %m\n' -o -printf '%P %y %m %Ts %s %l\n' | LC_ALL=C sort", cwd=top)

    def check(self, top):
        self.assertEqual(self.listing(top), self.listing(self.tree))
        sh(f"diff -r '{self.tree}' '{top}'")

    def test_cp(self):
        sh(f"cp -a '{self.tree}' a; cp -a a b", cwd=self.here)
        for name in "ab":
            self.check(self.here / name)
            self.check(self.there / name)
        sh("rm -r a b", cwd=self.here)
        self.assertEqual(os.listdir(self.there), [])

    def test_tar(self):
        sh(f"tar -C '{self.tree}' -c . | tar -xp; tar -c . >'{self.local}/a.tar'; mkdir '{self.local}/back'; "
           f"tar -C '{self.local}/back' -xpf '{self.local}/a.tar'", cwd=self.here)
        self.check(self.there)
        self.check(self.local / "back")

    @unittest.skipUnless(shutil.which("rsync"), "no rsync")
    def test_rsync(self):
        sh(f"rsync -a '{self.tree}/' a/", cwd=self.here)
        self.check(self.there / "a")
        write(self.there / "a/file 2", "other")
        self.run_in(self.instance, "true")
        self.assertEqual(sh(f"rsync -ai '{self.tree}/' a/", cwd=self.here).split(), [">f.st......", "file", "2"])
        self.assertEqual(sh(f"rsync -ai a/ '{self.tree}/'", cwd=self.here), "")

    @unittest.skipUnless(shutil.which("git"), "no git")
    def test_git(self):
        git = ("export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 "
               "GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'; "
               "git() { command git -c user.name=n -c user.email=e@example.org \"$@\"; }; set -e; ")
        sh(git + "git init -q; echo one >one; ln -s one two; git add .; git commit -qm first", cwd=self.here)
        self.assertEqual(sh(git + "git status --porcelain; echo x >>one; rm two; git status --porcelain; "
                            "git commit -qam second; git fsck --strict; git log --oneline | wc -l", cwd=self.here),
                         " M one\n D two\n2\n")


class Forced(guestfiles.FilesTest):
    """The server has SFTP, which is not to be used; then it has, and it is."""

    keys = {"files_by": "shell"}

    def test_shell(self):
        write(self.here / "x", "content")
        self.assertEqual(read(self.there / "x"), b"content")
        self.assertEqual(value(self.instance, "files_by"), "shell")
        self.assertIn("files/ works by shell commands", text(self.instance / "log"))


class NoProgram(guestfiles.FilesTest):
    """The server has the subsystem, but not the program for it."""

    @classmethod
    def configure(cls):
        os.environ["SSHD_SFTP"] = "/nonexistent/sftp-server"
        try:
            return super().configure()
        finally:
            del os.environ["SSHD_SFTP"]

    def test_shell(self):
        write(self.here / "x", "content")
        self.assertEqual(read(self.there / "x"), b"content")
        self.assertIn("the machine has no SFTP server", text(self.instance / "log"))


class Killed(guestfiles.ByShell, guestfiles.FilesTest):
    """The shell in the machine ends: another one takes its place."""

    def test_killed(self):
        fd = self.open("x", os.O_CREAT | os.O_RDWR)
        for number in range(3):
            os.pwrite(fd, b"content", number * 7)
            os.fsync(fd)
            # The one that is asked to kill it is not its child.
            self.run_in(self.instance, "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q "
                        "'^sh -c while IFS= read' && readlink $p/cwd | grep -q '" + str(self.there.parent) + "$' && "
                        "kill -9 ${p##*/}; done; true")
            wait_for(lambda: text(self.instance / "log").count("is given up") > number, "the shell's end")
        self.assertEqual(self.both(), b"content" * 3)


if __name__ == "__main__":
    harness.main()
