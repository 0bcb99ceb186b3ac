# SPDX-License-Identifier: MIT
"""Starting the daemon: the command line, the background, other users, a full disk."""
import errno
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import POOLFS, read, text, wait_for, write

SILENT = """[pool silent]
type = ssh
host = 127.0.0.1
ssh_port = 1
known_hosts = /dev/null
"""


def poolfs(*words, **more):
    """Runs poolfs; returns (exit status, standard output, standard error)."""
    done = subprocess.run([POOLFS, *words], capture_output=True, text=True,
                          timeout=harness.PATIENCE, **more)
    return done.returncode, done.stdout, done.stderr


class CommandLine(unittest.TestCase):
    """What is answered without a mount."""

    def test_answers(self):
        for words, expected in ((["--version"], "poolfs "), (["--help"], "usage: poolfs"),
                                (["--backends"], "qemu"), (["--help-backend", "qemu"], "kernel")):
            status, out, err = poolfs(*words)
            self.assertEqual((status, err), (0, ""), words)
            self.assertIn(expected, out)

    def test_mistakes(self):
        for words in ([], ["config"], ["a", "b", "c"], ["--nonsense"], ["--check"]):
            status, out, err = poolfs(*words)
            self.assertEqual((status, out), (2, ""), words)
            self.assertIn("poolfs", err)
        self.assertEqual(poolfs("--help-backend", "nonsense")[0], 1)


class Start(unittest.TestCase):
    """Starts in the background, as a user or mount(8) does."""

    def setUp(self):
        self.mount = harness.Mount(SILENT, start=False)
        self.addCleanup(self.mount.clear)

    def start(self, *options, **more):
        return subprocess.run([POOLFS, *options, self.mount.config, self.mount.path],
                              timeout=harness.PATIENCE, **more).returncode

    def daemon(self):
        return int((self.mount.work / "lock").read_text())

    def end(self):
        pid = self.daemon()
        self.mount.unmount()
        wait_for(lambda: not harness.alive(pid), "end of the daemon")
        self.assertEqual(self.mount.leftovers(), [])

    def test_background(self):
        self.assertEqual(self.start(), 0)
        self.assertIn("poolfs", text(self.mount.path / "version"))
        (self.mount.path / "silent/a").mkdir()
        self.assertEqual(os.readlink(f"/proc/{self.daemon()}/cwd"), "/")
        self.assertEqual(os.getsid(self.daemon()), self.daemon())
        self.end()

    def test_without_standard_descriptors(self):
        status = self.start(preexec_fn=lambda: os.closerange(0, 3))
        self.assertEqual(status, 0)
        (self.mount.path / "silent/a").mkdir()
        for fd in range(3):
            self.assertEqual(os.readlink(f"/proc/{self.daemon()}/fd/{fd}"), "/dev/null")
        self.end()

    def test_bad_configuration(self):
        self.mount.config.write_text("[pool a]\ntype = nonsense\n")
        for options in ([], ["-f"], ["--check"]):
            status, out, err = poolfs(*options, self.mount.config, self.mount.path)
            self.assertEqual((status, out), (1, ""), options)
            self.assertIn("nonsense", err)
        self.assertFalse(self.mount.mounted())

    def test_check(self):
        self.assertEqual(poolfs("--check", self.mount.config, self.mount.path), (0, "", ""))
        self.assertEqual(poolfs("--check", self.mount.config), (0, "", ""))
        self.assertFalse(self.mount.mounted() or self.mount.work.exists())

    def test_bad_mount_points(self):
        for path, expected in ((self.mount.base / "none", "does not exist"),
                               (self.mount.config, "not a directory"),
                               (self.mount.base, "below the mount point")):
            status, out, err = poolfs(self.mount.config, path)
            self.assertEqual((status, out), (1, ""), path)
            self.assertIn(expected, err)

    def test_unknown_mount_option(self):
        status, out, err = poolfs("-o", "nonsense", self.mount.config, self.mount.path)
        self.assertEqual(status, 1)
        self.assertIn("nonsense", err)
        self.assertFalse(self.mount.mounted())

    def mount_options(self):
        with open("/proc/self/mounts") as mounts:
            for line in mounts:
                words = line.split()
                if words[1] == str(self.mount.path):
                    return words[2], words[3].split(",")
        raise AssertionError("not mounted")

    def test_guests_get_no_devices_and_no_setuid(self):
        if os.getuid() == 0:
            self.assertEqual(self.start("-o", "rw,suid,dev"), 0)
        else:
            self.assertEqual(self.start(), 0)
        kind, options = self.mount_options()
        self.assertEqual(kind, "fuse.poolfs")
        self.assertTrue({"nosuid", "nodev"} <= set(options), options)
        self.end()

    def test_mount_helper(self):
        helper = shutil.which("mount.fuse3", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if not helper or os.getuid() != 0:
            self.skipTest("needs root and mount.fuse3")
        # As mount(8) calls it; there the program is found in the path.
        subprocess.run([helper, f"{POOLFS}#{self.mount.config}", self.mount.path, "-o", "rw"],
                       check=True, timeout=harness.PATIENCE)
        kind, options = self.mount_options()
        self.assertEqual(kind, "fuse.poolfs")
        self.assertTrue({"nosuid", "nodev"} <= set(options), options)
        self.end()


class FullDisk(unittest.TestCase):
    """A working directory without space."""

    def setUp(self):
        if os.getuid() != 0:
            self.skipTest("mounting a small file system needs root")
        self.sshd = harness.Sshd(tempfile.mkdtemp(prefix="poolfs-sshd."))
        self.addCleanup(shutil.rmtree, self.sshd.directory, ignore_errors=True)
        self.addCleanup(self.sshd.stop)
        (self.sshd.directory / "home").mkdir()
        self.mount = harness.Mount(harness.ssh_pool(self.sshd, files=self.sshd.directory / "home"),
                                   start=False)
        self.addCleanup(self.mount.clear)
        self.mount.work.mkdir(mode=0o700)
        harness.sh(f"mount -t tmpfs -o size=1m,nr_inodes=200 none {self.mount.work}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.mount.work])
        self.mount.start()
        self.filler = self.mount.work / "filler"

    def fill(self):
        with open(self.filler, "wb", buffering=0) as file:
            with self.assertRaises(OSError):
                while True:
                    file.write(bytes(1024))

    def make(self):
        instance = self.mount.path / "host/a"
        instance.mkdir()
        read(instance / "ready")
        return instance

    def run_in(self, instance, command):
        write(instance / "cmd", command)
        run = instance / os.readlink(instance / "last")
        return read(run / "output"), text(run / "exit")

    def test_output(self):
        instance = self.make()
        output, status = self.run_in(instance, "head -c 3000000 /dev/zero; exit 3")
        self.assertEqual(status, "3\n")
        self.assertLess(len(output), 1 << 20)
        self.assertRegex(output, rb"\[poolfs: \d+ bytes dropped\]\n$")
        self.assertIn("bytes are dropped: No space left", text(instance / "log"))
        self.assertEqual(text(instance / "state"), "ready\n")
        instance.joinpath("runs/1").rmdir()
        self.assertEqual(self.run_in(instance, "echo again"), (b"again\n", "0\n"))
        self.mount.stop()

    def test_mkdir(self):
        self.fill()
        path = self.mount.path / "host/a"
        try:
            path.mkdir()
        except OSError as error:
            self.assertEqual(error.errno, errno.ENOSPC)
        else:
            with self.assertRaises(OSError) as raised:
                read(path / "ready")
            self.assertEqual(raised.exception.errno, errno.EIO)
            self.assertIn("No space left", text(path / "error"))
            path.rmdir()
        self.filler.unlink()
        self.assertEqual(self.run_in(self.make(), "echo well"), (b"well\n", "0\n"))
        self.mount.stop()


    def test_no_place_for_messages(self):
        self.mount.unmount()
        self.assertEqual(self.mount.ended(), 0)
        subprocess.run([POOLFS, self.mount.config, self.mount.path], check=True,
                       timeout=harness.PATIENCE)
        pid = int((self.mount.work / "lock").read_text())
        # As many files as its directory, description and socket need, and no more.
        for number in range(200):
            try:
                (self.mount.work / f"filler{number}").touch()
            except OSError:
                break
        for last in range(number - 3, number):
            (self.mount.work / f"filler{last}").unlink()
        path = self.mount.path / "host/a"
        path.mkdir()
        with self.assertRaises(OSError):
            read(path / "ready")
        self.assertIn("its process ended", text(path / "error"))
        self.mount.unmount()
        wait_for(lambda: not harness.alive(pid), "end of the daemon")
        self.assertEqual(self.mount.leftovers(), [])


class Users(unittest.TestCase):
    """Users other than root, as root."""

    def setUp(self):
        if os.getuid() != 0:
            self.skipTest("becoming another user needs root")
        if not shutil.which("setpriv"):
            self.skipTest("needs setpriv of util-linux")
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-test."))
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)

    @staticmethod
    def as_user(*words, user=65534, **more):
        return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                               *words], capture_output=True, text=True,
                              timeout=harness.PATIENCE, **more)

    @staticmethod
    def open_device():
        """Where only root may open /dev/fuse, this process and its children get a device of their own
        in its place, which everybody may open."""
        if os.geteuid() != 0 or os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
            return
        if not harness.own_mounts():
            return
        with tempfile.TemporaryDirectory() as directory:
            harness.sh(f"mknod -m 0666 {directory}/fuse c 10 229 && "
                       f"mount --bind {directory}/fuse /dev/fuse", check=False)

    def test_ordinary_user(self):
        self.open_device()
        config, path = self.base / "poolfs.ini", self.base / "mnt"
        path.mkdir()
        config.write_text(SILENT)
        for name in (self.base, config, path):
            os.chown(name, 65534, 65534)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.base)}
        if self.as_user("test", "-x", POOLFS).returncode != 0:
            self.skipTest("the build directory is closed to other users")
        done = self.as_user(POOLFS, config, path, env=environment)
        if "cannot be mounted" in done.stderr:
            self.skipTest("ordinary users may not mount here: " + done.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)
        try:
            done = self.as_user("sh", "-c", f"cd {path}/silent && mkdir a && cat a/state && "
                                            "echo true >a/cmd && cat a/runs/1/state && rmdir a && "
                                            "ls")
            self.assertEqual(done.stderr, "")
            self.assertEqual(done.stdout.split()[:2], ["booting", "queued"])
            with self.assertRaises(PermissionError):
                os.listdir(path)
            state = self.base / ".local/state/poolfs"
            work = next(state.iterdir())
            self.assertEqual(work.stat().st_mode & 0o777, 0o700)
            pid = int((work / "lock").read_text())
        finally:
            self.as_user("fusermount3", "-u", "-z", path)
        wait_for(lambda: not harness.alive(pid), "end of the daemon")
        self.assertEqual([name for name in os.listdir(work) if name.isdigit()], [])

    def test_instances_of_others(self):
        mount = harness.Mount("allow_other = yes\n" + SILENT)
        self.addCleanup(mount.clear)
        os.chmod(mount.base, 0o755)
        pool = mount.path / "silent"
        (pool / "mine").mkdir()
        done = self.as_user("sh", "-c", f"cd {pool} && ls && mkdir theirs && cat theirs/state")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for script in ("ls mine", "cat mine/state", "echo true >mine/cmd", "rmdir mine",
                       "echo >mine/ctl", "mkdir mine/runs/x"):
            done = self.as_user("sh", "-c", f"cd {pool} && {script}")
            self.assertNotEqual(done.returncode, 0, script)
            self.assertRegex(done.stderr, "Permission denied|not permitted", script)
        for script in ("ls theirs", "rmdir theirs"):
            done = self.as_user("sh", "-c", f"cd {pool} && {script}", user=1234)
            self.assertNotEqual(done.returncode, 0, script)
        self.assertTrue((pool / "mine").exists())
        done = self.as_user("rmdir", pool / "theirs")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        mount.stop()


if __name__ == "__main__":
    harness.main()
