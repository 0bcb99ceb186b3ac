# SPDX-License-Identifier: MIT
"""What is done in a machine that is lent: before an instance is ready, and after it has left."""
import os
import pathlib
import unittest

import harness
import runs
from harness import text, value, wait_for
from targets import TargetsTest, check, pool


class Duties(TargetsTest):
    """One machine in pools that prepare and leave it in different ways."""

    servers = 1
    mark = runs.token()
    # It has a process in a session of its own.
    hanging = f"setsid sleep {mark} & sleep {mark}"

    @classmethod
    def pools(cls):
        server = cls.machines[0]
        cls.record = cls.base / "record"
        cls.flag = cls.base / "flag"
        cls.boot = cls.base / "boot"
        cls.boot.write_text("first\n")
        cls.program("cat", "case $1 in */boot_id) exec /bin/cat " + str(cls.boot) +
                    ";; esac; exec /bin/cat \"$@\"")
        # It goes down at once, but is there again for a while before it boots.
        cls.program("reboot", f"echo reboot >>{cls.record}; (sleep 1.5; echo second >{cls.boot}) "
                    "</dev/null >/dev/null 2>&1 & kill -9 $PPID; sleep 60")
        at = {"targets": f"127.0.0.1:{server.port}"}
        log = f"echo $MACHINE $(pwd) >>{cls.record}"
        return (pool("plain", cls.known, server, **at) +
                pool("home", cls.known, server, files=".", **at) +
                pool("started", cls.known, server, startup=log, **at) +
                pool("kept", cls.known, server, files=cls.files, startup=log, **at) +
                pool("fails", cls.known, server, startup="echo no disk; exit 3", **at) +
                pool("hangs", cls.known, server, startup=cls.hanging, boot_timeout=2, **at) +
                pool("waits", cls.known, server, startup=cls.hanging, **at) +
                pool("reset", cls.known, server, files=cls.files,
                     reset=f"echo reset >>{cls.record}", **at) +
                pool("reboot", cls.known, server, files=cls.files, reset="reboot",
                     reset_timeout=30, **at) +
                pool("slow", cls.known, server, reset=f"test -e {cls.flag} || {cls.hanging}",
                     reset_timeout=1, **at))

    @classmethod
    def program(cls, name, script):
        path = cls.base / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def setUp(self):
        super().setUp()
        self.record.unlink(missing_ok=True)

    def leave(self, instance):
        instance.rmdir()
        self.free(instance.parent.name, 1)

    def test_directory_of_its_own(self):
        instance = self.new("plain")
        output, status = self.run_in(instance, "pwd; echo x >y")
        path = pathlib.Path(output.decode().strip())
        self.assertEqual(status, 0)
        self.assertEqual(value(instance, "directory"), str(path))
        self.assertEqual(path.stat().st_mode & 0o777, 0o700)
        self.assertEqual(text(instance / "files/y"), "x\n")
        (instance / "files/d").mkdir()
        (instance / "files/d/e").write_text("z")
        self.assertEqual((path / "d/e").read_text(), "z")
        self.leave(instance)
        self.assertFalse(path.exists())

    def test_home(self):
        instance = self.new("home")
        here, home = self.run_in(instance, "pwd -P; cd; pwd -P")[0].split()
        self.assertEqual(here, home)
        self.assertEqual(set(os.listdir(home)), {os.fsencode(name) for name in
                                                 os.listdir(instance / "files")})

    def test_directory_after_a_failed_boot(self):
        """However the machine's own end and that of the instance follow each other."""
        before = set(pathlib.Path("/tmp").glob("poolfs.*"))
        for _ in range(3):
            error = self.fails("fails")
            self.assertIn("cannot be prepared", error)
            self.assertIn("status 3: no disk", error)
            self.leave(self.mount.path / "fails/a")
            self.assertLessEqual(set(pathlib.Path("/tmp").glob("poolfs.*")), before)

    def test_startup(self):
        instance = self.new("started")
        self.assertEqual(self.record.read_text(), f"0 {value(instance, 'directory')}\n")
        self.leave(instance)
        instance = self.new("kept")
        self.assertEqual(self.record.read_text().splitlines()[1], f"0 {self.files}")
        (instance / "files/stays").write_text("x")
        self.leave(instance)
        self.assertEqual((self.files / "stays").read_text(), "x")

    def test_startup_takes_too_long(self):
        self.assertIn("within 2 s (boot_timeout); the last attempt: logged in, but what runs first",
                      self.fails("hangs"))
        wait_for(lambda: not runs.local_processes(self.mark), "end of startup's processes")

    def test_rmdir_during_startup(self):
        instance = self.new("waits", ready=False)

        def directories():
            """Where startup's two sleeps are; all of it."""
            found = [pid for pid in runs.local_processes(self.mark)
                     if harness.sh(f"cat /proc/{pid}/comm", check=False) == "sleep\n"]
            return len(found) == 2 and [pathlib.Path(os.readlink(f"/proc/{pid}/cwd")) for pid in found]
        directory = wait_for(directories, "processes")[0]
        self.assertTrue(directory.name.startswith("poolfs."), directory)
        self.leave(instance)
        self.assertEqual(runs.local_processes(self.mark), [])
        self.assertFalse(directory.exists())

    def test_reset(self):
        instance = self.new("reset")
        self.assertFalse(self.record.exists())
        self.leave(instance)
        self.assertEqual(self.record.read_text(), "reset\n")
        # One that never was in the machine resets nothing.
        (self.mount.path / "reset/b").mkdir()
        self.leave(self.mount.path / "reset/b")

    def test_reset_after_the_connection_was_lost(self):
        instance = self.new("reset")
        port = self.machines[0].port
        self.machines[0].stop()
        self.run_lost(instance)
        os.environ["SSHD_PORT"] = str(port)
        try:
            instance.rmdir()
            self.machines[0].__init__(self.machines[0].directory, "SetEnv MACHINE=0 "
                                      f"PATH={self.base}/bin:{os.environ['PATH']}")
        finally:
            del os.environ["SSHD_PORT"]
        self.free("reset", 1)
        self.assertEqual(self.record.read_text(), "reset\n")

    def run_lost(self, instance):
        """Ends the instance's connection, whose server has ended."""
        self.assertEqual(self.run_in(instance, "kill -9 $PPID")[1], 255)
        wait_for(lambda: text(instance / "state") == "lost\n", "loss")

    def test_reboot(self):
        self.boot.write_text("first\n")
        instance = self.new("reboot")
        instance.rmdir()
        wait_for(lambda: self.record.exists(), "reboot")
        self.assertEqual(self.boot.read_text(), "first\n")
        self.assertEqual(self.status("reboot")["targets_free"], "0")
        self.free("reboot", 1)
        self.assertEqual((self.boot.read_text(), self.record.read_text()), ("second\n", "reboot\n"))

    def test_zz_reset_fails(self):
        # The machine is of no use afterwards: the last test.
        self.new("slow").rmdir()
        wait_for(lambda: " bad " in text(self.mount.path / "slow/pool.status"), "verdict")
        self.assertIn("bad reset failed: it took more than reset_timeout",
                      text(self.mount.path / "plain/pool.status"))
        self.assertEqual(runs.local_processes(self.mark), [])
        self.assertIn("is bad: reset failed", self.refused(self.mount.path / "plain/a"))
        self.assertIn("is not lent any more: reset failed", text(self.mount.path / "events"))


class Configuration(unittest.TestCase):
    """Keys of other kinds are not taken."""

    def test_check(self):
        self.assertEqual(check("targets = a\nreset = reboot\nreset_timeout = 2m\nstartup = true\n"), "")
        self.assertIn("reset_timeout", check("targets = a\nreset_timeout = 2h\n"))


if __name__ == "__main__":
    harness.main()
