# SPDX-License-Identifier: MIT
"""
What the tests of containers share: a pool of them, one instance for a class, and the whole file once
more as an ordinary user, where it is root who runs it.
"""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness
from harness import text, value

USER = 65534


def container_pool(name="box", **keys):
    lines = {"type": "container", **keys}
    return f"[pool {name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def need_containers():
    """Skips where the kernel lets this user make no namespaces with mounts in them."""
    done = subprocess.run(["unshare", "-Urmpf", "sh", "-c", "mount -t tmpfs x /mnt"],
                          capture_output=True, text=True, timeout=harness.PATIENCE)
    if done.returncode != 0:
        raise unittest.SkipTest("no user namespaces for this user: " + done.stderr.strip())


class ContainerTest(harness.MountTest):
    """A mount with a pool `box` of containers."""

    keys = {}

    @classmethod
    def configure(cls):
        need_containers()
        return container_pool(**cls.keys)

    @staticmethod
    def agent(instance):
        """The number on the host of a container's first process."""
        return int(value(instance, "pid"))


class OneContainer(ContainerTest):
    """One instance for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.instance = cls.make("box")


def children(pid):
    """The processes whose parent this one is."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int(text(entry / "stat").rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def descendants(pid):
    """All processes below this one."""
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def open_device():
    """Where only root may open /dev/fuse, this process and its children get a device of their own in
    its place, which everybody may open."""
    if os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
        return
    if not harness.own_mounts():
        raise unittest.SkipTest("only root may open /dev/fuse")
    with tempfile.TemporaryDirectory() as directory:
        harness.sh(f"mknod -m 0666 {directory}/fuse c 10 229 && "
                   f"mount --bind {directory}/fuse /dev/fuse")


def give_ids(base):
    """For this process and its children, the ordinary user may give away a range of ids."""
    if not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        raise unittest.SkipTest("no newuidmap and newgidmap")
    if not harness.own_mounts():
        raise unittest.SkipTest("no mount namespace")
    harness.sh(f"cd {base} && mkdir upper work && chmod 755 upper && "
               f"for file in subuid subgid; do echo {USER}:700000:65536 >upper/$file; done && "
               f"mount -t overlay etc -o lowerdir=/etc,upperdir=upper,workdir=work /etc")


def as_user(base):
    """What to put before a command that is to run as an ordinary user, and its environment; base is a
    directory, which becomes that user's. Skips where that cannot be."""
    if os.getuid() != 0:
        raise unittest.SkipTest("the tests run as an ordinary user anyway")
    if not shutil.which("setpriv"):
        raise unittest.SkipTest("needs setpriv of util-linux")
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    for flag, file in ("-x", harness.POOLFS), ("-r", __file__):
        if subprocess.run([*become, "test", flag, file], check=False).returncode != 0:
            raise unittest.SkipTest(f"{file} is closed to other users")
    open_device()
    os.chown(base, USER, USER)
    return become, {**os.environ, "HOME": str(base), "TMPDIR": str(base)}


class AsOrdinaryUser(unittest.TestCase):
    """All other tests of the program, as an ordinary user."""

    def test_all(self):
        base = tempfile.mkdtemp(prefix="poolfs-user.")
        self.addCleanup(shutil.rmtree, base, ignore_errors=True)
        become, environment = as_user(base)
        names = [name for name, thing in vars(sys.modules["__main__"]).items()
                 if isinstance(thing, type) and issubclass(thing, unittest.TestCase) and
                 name not in ("AsOrdinaryUser", "WithGivenIds") and thing.__module__ == "__main__"]
        done = subprocess.run([*become, sys.executable, "-B", os.path.abspath(sys.argv[0]), *names],
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=10 * harness.PATIENCE)
        print(done.stdout)
        if done.returncode == 77:
            self.skipTest("skipped as an ordinary user, too")
        self.assertEqual(done.returncode, 0, "see above")
