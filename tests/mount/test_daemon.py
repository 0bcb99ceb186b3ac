# SPDX-License-Identifier: MIT
"""Life and death of the daemon: every way to end it, and what the next one finds."""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import harness
from harness import alive, read, sh, text, wait_for, write


class Daemons(unittest.TestCase):
    """Each test has daemons of its own; the SSH server is shared."""

    sshd = None

    @classmethod
    def setUpClass(cls):
        cls.sshd = harness.Sshd(tempfile.mkdtemp(prefix="poolfs-sshd."))
        cls.addClassCleanup(shutil.rmtree, cls.sshd.directory, ignore_errors=True)
        cls.addClassCleanup(cls.sshd.stop)
        (cls.sshd.directory / "home").mkdir()

    def pools(self):
        """One pool of logins, and one whose machine never answers."""
        return (harness.ssh_pool(self.sshd, files=self.sshd.directory / "home") +
                harness.ssh_pool(self.sshd, "silent", ssh_port=1))

    def mount(self, config=None, **more):
        mount = harness.Mount(self.pools() if config is None else config, **more)
        self.addCleanup(mount.clear)
        self.addCleanup(lambda: mount.process and mount.process.poll() is None and self.kill(mount))
        return mount

    def make(self, mount, pool="host", name="a"):
        """Makes an instance; one of the pool host is ready."""
        path = mount.path / pool / name
        path.mkdir()
        if pool == "host":
            read(path / "ready")
        return path

    def begin(self, instance, command):
        """Starts a command and waits until it runs."""
        write(instance / "cmd", f"echo begun $$; {command}")
        run = instance / os.readlink(instance / "last")
        with open(run / "output", "rb", buffering=0) as output:
            self.pid = int(output.read(64).split()[1])
        self.addCleanup(self.end_command, self.pid)
        return run

    @staticmethod
    def end_command(pid):
        """What runs on an existing machine may outlive the connection."""
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)

    @staticmethod
    def kill(mount):
        mount.process.kill()
        mount.process.wait()

    def assert_clean_end(self, mount):
        self.assertEqual(mount.ended(), 0, mount.log_text())
        self.assertEqual(mount.leftovers(), [])

    def restart(self, mount):
        """Starts on the same mount point, and waits until the new daemon serves it."""
        mount.start()

        def served():
            self.assertIsNone(mount.process.poll(), mount.log_text())
            try:
                return text(mount.path / "version")
            except OSError:
                return None
        wait_for(served, "mount that works")
        with open("/proc/self/mounts") as mounts:
            count = sum(line.split()[1] == str(mount.path) for line in mounts)
        self.assertEqual(count, 1, "the dead mount is left below")


class Ends(Daemons):
    """A daemon that is asked to end."""

    @contextlib.contextmanager
    def other_namespace(self, mount):
        """Somebody with a mount namespace of his own."""
        user = [] if os.getuid() == 0 else ["-Ur"]
        with subprocess.Popen(["unshare", *user, "-m", "sh", "-c", "echo; exec cat"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            if not other.stdout.readline():
                self.skipTest("no mount namespaces")
            self.assertIn(f" {mount.path} ", text(f"/proc/{other.pid}/mountinfo"))
            try:
                yield
            finally:
                other.stdin.close()

    def test_unmount_while_there_are_other_copies(self):
        """A mount namespace that somebody made meanwhile has one. What is mounted there next stays."""
        mount = self.mount()
        self.make(mount)
        with self.other_namespace(mount):
            mount.unmount()
            if os.getuid() == 0:
                sh(f"mount -t tmpfs none {mount.path}")
                self.addCleanup(sh, f"umount {mount.path}")
            self.assertEqual(mount.ended(), 0)
        if os.getuid() == 0:
            self.assertIn(f" {mount.path} tmpfs ", text("/proc/self/mounts"))

    def test_lazy_unmount_while_there_are_other_copies(self):
        """Whoever has a file open is not disturbed."""
        mount = self.mount()
        instance = self.make(mount)
        with self.other_namespace(mount):
            with open(instance / "cmd", "r+b", buffering=0) as cmd:
                mount.unmount()
                cmd.write(b"echo still here")
                self.assertEqual(cmd.read(), b"1\n")
            self.assertEqual(mount.ended(), 0)
        self.assert_clean_end(mount)

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number):
                mount = self.mount()
                self.make(mount)
                mount.process.send_signal(number)
                self.assert_clean_end(mount)

    def test_unmount(self):
        mount = self.mount()
        self.make(mount)
        sh(f"fusermount3 -u {mount.path}")
        self.assert_clean_end(mount)

    def test_lazy_unmount_with_an_open_file(self):
        mount = self.mount()
        instance = self.make(mount)
        with open(instance / "cmd", "r+b", buffering=0) as cmd:
            mount.unmount()
            self.assertFalse(mount.mounted())
            cmd.write(b"echo still here")
            self.assertEqual(cmd.read(), b"1\n")
            self.assertIsNone(mount.process.poll())
        self.assert_clean_end(mount)

    def test_while_booting(self):
        mount = self.mount()
        instance = self.make(mount, "silent")
        reader = subprocess.Popen(["cat", instance / "ready"], stderr=subprocess.DEVNULL)
        began = time.monotonic()
        mount.process.terminate()
        self.assert_clean_end(mount)
        self.assertLess(time.monotonic() - began, 8)
        self.assertNotEqual(reader.wait(harness.PATIENCE), 0)

    def test_while_a_virtual_machine_boots(self):
        harness.need_guest()
        mount = self.mount(harness.qemu_pool(memory="128M"))
        instance = self.make(mount, "linux")
        wait_for(lambda: harness.value(instance, "pid"), "emulator")
        emulator = int(harness.value(instance, "pid"))
        mount.process.terminate()
        self.assert_clean_end(mount)
        self.assertFalse(alive(emulator))

    def test_during_a_command(self):
        mount = self.mount()
        run = self.begin(self.make(mount), "exec sleep 1000")
        reader = subprocess.Popen(["cat", run / "output"], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
        self.assertEqual(os.read(reader.stdout.fileno(), 5), b"begun")
        mount.process.terminate()
        self.assert_clean_end(mount)
        reader.communicate(timeout=harness.PATIENCE)

    def test_during_a_copy(self):
        mount = self.mount()
        target = self.make(mount) / "files/copy"
        copy = subprocess.Popen(["dd", "if=/dev/zero", f"of={target}", "bs=64K", "count=100000"],
                                stderr=subprocess.DEVNULL)
        copied = self.sshd.directory / "home/copy"
        try:
            wait_for(lambda: copied.exists() and copied.stat().st_size > 1000000, "copy under way")
            mount.process.terminate()
            self.assert_clean_end(mount)
            self.assertNotEqual(copy.wait(harness.PATIENCE), 0)
        finally:
            copy.kill()
            copy.wait()
            copied.unlink()

    def test_stopped_and_continued(self):
        mount = self.mount()
        instance = self.make(mount)
        run = self.begin(instance, "echo more; sleep 0.2; echo end")
        mount.process.send_signal(signal.SIGSTOP)
        reader = subprocess.Popen(["cat", run / "stdout"], stdout=subprocess.PIPE, text=True)
        wait_for(lambda: not alive(self.pid), "end of the command")
        mount.process.send_signal(signal.SIGCONT)
        self.assertEqual(reader.communicate(timeout=harness.PATIENCE)[0],
                         f"begun {self.pid}\nmore\nend\n")
        self.assertEqual(text(run / "exit"), "0\n")
        mount.unmount()
        self.assert_clean_end(mount)


class Killed(Daemons):
    """A daemon that is killed, and the next one."""

    def test_daemon(self):
        mount = self.mount()
        self.begin(self.make(mount), "exec sleep 1000")
        shim = mount.shim_pid("host", "a")
        self.kill(mount)
        self.assertTrue(alive(shim))
        self.assertTrue(alive(self.pid), "the command does not go on")
        self.restart(mount)
        self.assertFalse(alive(shim))
        self.assertEqual([name for name in os.listdir(mount.work) if name.isdigit()], [])
        self.assertEqual([name for name in os.listdir(mount.path / "host")
                          if not name.startswith("pool.")], [])
        self.begin(self.make(mount), "true")
        mount.stop()

    def test_daemon_of_a_virtual_machine(self):
        harness.need_guest()
        mount = self.mount(harness.qemu_pool(memory="128M"))
        instance = self.make(mount, "linux")
        wait_for(lambda: harness.value(instance, "pid"), "emulator")
        emulator = int(harness.value(instance, "pid"))
        directory = mount.directory_of("linux", "a")
        self.kill(mount)
        self.assertTrue(alive(emulator))
        size = (directory / "console").stat().st_size
        wait_for(lambda: (directory / "console").stat().st_size > size, "more on the console")
        self.restart(mount)
        self.assertFalse(alive(emulator))
        self.assertFalse(directory.exists())
        mount.stop()

    def test_daemon_and_shims(self):
        mount = self.mount()
        self.make(mount)
        self.make(mount, name="b")
        shims = [mount.shim_pid("host", name) for name in "ab"]
        self.kill(mount)
        for shim in shims:
            os.kill(shim, signal.SIGKILL)
        self.restart(mount)
        self.assertEqual([name for name in os.listdir(mount.work) if name.isdigit()], [])
        mount.stop()

    def test_daemon_whose_shim_stands_still(self):
        mount = self.mount()
        self.make(mount)
        shim = mount.shim_pid("host", "a")
        os.kill(shim, signal.SIGSTOP)
        self.kill(mount)
        self.restart(mount)
        wait_for(lambda: not alive(shim), "end of the shim")
        mount.stop()

    def test_stale_number_of_a_process(self):
        mount = self.mount()
        self.make(mount)
        shim, directory = mount.shim_pid("host", "a"), mount.directory_of("host", "a")
        self.kill(mount)
        os.kill(shim, signal.SIGKILL)
        other = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        (directory / "shim.pid").write_text(f"{other.pid} 1\n")
        self.restart(mount)
        self.assertIsNone(other.poll(), "a process that is not ours was killed")
        mount.stop()

    def test_files_that_are_none(self):
        """A shim's directory is its own: to read what it left there takes no time, whatever that is."""
        mount = self.mount()
        instance = self.make(mount)
        self.make(mount, name="b")
        shims = {}
        for name, file in (("a", "shim.stderr"), ("b", "shim.pid")):
            shims[name] = mount.shim_pid("host", name)
            path = mount.directory_of("host", name) / file
            path.unlink(missing_ok=True)
            os.mkfifo(path)
        os.kill(shims["a"], signal.SIGKILL)
        wait_for(lambda: text(instance / "state") == "stopped\n", "end of the machine")
        self.kill(mount)
        os.kill(shims["b"], signal.SIGKILL)
        self.restart(mount)
        self.assertEqual([name for name in os.listdir(mount.work) if name.isdigit()], [])
        mount.stop()

    def test_second_daemon(self):
        mount = self.mount()
        instance = self.make(mount)
        other = mount.base / "other"
        other.mkdir()
        done = subprocess.run([harness.POOLFS, "-f", mount.config, other], stderr=subprocess.PIPE,
                              text=True, timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"pid {mount.process.pid}", done.stderr)
        self.assertEqual(text(instance / "state"), "ready\n")
        mount.stop()

    def test_descriptors(self):
        mount = self.mount()
        pool = mount.path / "silent"

        def cycle(count):
            for number in range(count):
                (pool / f"i{number % 8}").mkdir()
                (pool / f"i{number % 8}").rmdir()
            wait_for(lambda: not [name for name in os.listdir(mount.work) if name.isdigit()],
                     "end of the instances")

        def descriptors():
            return len(os.listdir(f"/proc/{mount.process.pid}/fd"))

        cycle(4)
        first = descriptors()
        cycle(50)
        # A directory is closed just after it is gone.
        wait_for(lambda: descriptors() <= first, "end of the descriptors", 10)
        mount.stop()


if __name__ == "__main__":
    harness.main()
