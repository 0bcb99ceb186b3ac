# SPDX-License-Identifier: MIT
"""
files/ of a container: the tests of files/ over SSH once more. The other side is the container's own
tree, by its first process: to get there, an ordinary user needs the right to trace, and root could
make no files, as it has no number in the container. So root runs this as an ordinary user with that.
"""
import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import containers
import guestfiles
import harness
import test_files
import test_files_calls
import test_files_directories
import test_files_model
import test_files_tools
from harness import value, wait_for

TRACER = "POOLFS_TEST_TRACER"


class ContainerFiles(guestfiles.FilesTest):
    """Instead of an SSH server's directory, the home of a container."""

    @classmethod
    def configure(cls):
        containers.need_containers()
        return containers.container_pool("host", **cls.keys)

    def setUp(self):
        name = self._testMethodName
        pid = int(value(self.instance, "pid"))
        self.there = pathlib.Path(f"/proc/{pid}/root/root") / name
        self.here = self.instance / "files" / name
        (self.there if TRACER in os.environ else self.here).mkdir()


class Model(test_files_model.Operations, ContainerFiles):
    """As root, for whom the model's rights are the container's."""

    def guest(self, random):
        """Root can only look at the other side; that is done at the end."""


class ModelWithoutCache(Model):
    keys = {"cache": 0}
    believes = False


AS_ROOT = (Model, ModelWithoutCache)


# Below, what is None looks at the other side by a path that the container does not have, or at
# rights that its root is not refused.

class Calls(test_files.Calls, ContainerFiles):
    pass


class OtherCalls(test_files_calls.OtherCalls, ContainerFiles):
    test_record_locks = None # starts the interpreter again, which may be root's


class Unlinked(test_files_calls.Unlinked, ContainerFiles):
    pass


class Listing(test_files_directories.Listing, ContainerFiles):
    test_between_instances = None


class Links(test_files_directories.Links, ContainerFiles):
    test_inside = None

    def test_absolute(self):
        os.symlink(f"/root/{self._testMethodName}/x", self.there / "in")
        os.symlink("/etc/passwd", self.there / "out")
        (self.there / "x").write_text("inside")
        self.assertEqual(os.readlink(self.here / "in"), "../test_absolute/x")
        self.assertEqual((self.here / "in").read_text(), "inside")
        self.fails(errno.EPERM, os.readlink, self.here / "out")


class Changes(test_files_directories.Changes, ContainerFiles):
    test_commands_and_files_are_one = None
    test_forbidden = None


class Tools(test_files_tools.Tools, ContainerFiles):
    test_sqlite = None # resolves the other side's name


class Killed(ContainerFiles):
    """The process that serves files is killed from inside: another one comes."""

    def test_killed(self):
        (self.here / "x").write_text("x")
        held = self.open("x", os.O_RDONLY)
        pids = self.run_in(
            self.instance, "grep -l poolfs-files /proc/[0-9]*/comm")[0].decode().split("/")
        self.assertEqual(self.run_in(self.instance, f"kill -9 {pids[2]}")[1], 0)
        wait_for(lambda: self.reads(self.here / "x"), "another process for files")
        self.assertIn(self.outcome(held), (b"x", errno.ESTALE))

    @staticmethod
    def reads(path):
        with contextlib.suppress(OSError):
            return path.read_text() == "x"

    @staticmethod
    def outcome(fd):
        try:
            return os.pread(fd, 10, 0)
        except OSError as error:
            return error.errno


def load_tests(loader, tests, pattern):
    """Only what fits who we are."""
    chosen = [thing for thing in globals().values()
              if isinstance(thing, type) and issubclass(thing, ContainerFiles) and
              thing is not ContainerFiles and (thing in AS_ROOT) == (TRACER not in os.environ)]
    return unittest.TestSuite(loader.loadTestsFromTestCase(thing) for thing in chosen)


def become_tracer():
    """Goes on as an ordinary user with CAP_SYS_PTRACE; the exit status."""
    base = tempfile.mkdtemp(prefix="poolfs-user.")
    try:
        (setpriv, *who), environment = containers.as_user(base)
        done = subprocess.run([
            setpriv, *who, "--inh-caps=+sys_ptrace", "--ambient-caps=+sys_ptrace",
            sys.executable, "-B", *sys.argv], env={**environment, TRACER: "1"}, check=False)
        return done.returncode
    except unittest.SkipTest as reason:
        print(reason)
        return 77
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    if TRACER not in os.environ:
        status = become_tracer()
        if status != 0:
            sys.exit(status)
    harness.main()
