# SPDX-License-Identifier: MIT
"""rmdir in every state, a shim that is killed, steps that fail; and that nothing is left."""
import contextlib
import os
import re
import signal
import threading

import lab
from lab import Daemon, error_of, read, text, wait_for, write


class End(lab.Case):
    """Cases of instances that end."""

    def assert_dead(self, path):
        """What holds for an instance whose machine is gone for good."""
        names = os.listdir(path)
        self.assertTrue(text(path / "error").strip(), "error is empty")
        if "cmd" in names:
            self.assertEqual(error_of(write, path / "cmd", "true"), "EHOSTDOWN")
        if "files" in names:
            self.assertIn(error_of(os.listdir, path / "files"), ("EHOSTDOWN", "ENODEV"))
        for name in set(names) - {"ready", "files", "cmd"}:
            if not (path / name).is_dir():
                self.quickly(read, path / name)
        if "console" in names:
            read(path / "console.follow")


    def nothing_left(self, mount):
        """Unmounts; fails with all that is left."""
        if problems := mount.stop():
            self.fail("\n".join(problems))


class Apart(End):
    """Instances know nothing of each other."""

    def test_files_and_runs(self):
        if self.daemon.count() < 2:
            self.skipTest("the pool has one machine only")
        self.need("runs")
        one, other = self.lab.instance("a"), self.lab.instance("b")
        self.says(": >mine", one)
        self.addCleanup(self.says, "rm mine", one)
        self.assertEqual(self.says("test -e mine || echo none", other), b"none\n")
        if (other / "files").exists():
            self.assertIn("mine", os.listdir(one / "files"))
            self.assertNotIn("mine", os.listdir(other / "files"))
        run = self.start("echo up; sleep 1000", one)
        self.put_out(run, b"up\n")
        write(other / "ctl", "stop\n")
        self.assertEqual(self.says("echo also", other), b"also\n")
        self.assertEqual(text(run / "state"), "running\n")


class Rmdir(End):
    """rmdir, whatever the instance is doing."""

    def test_while_it_boots(self):
        for delay in (0, 0.02, 0.3):
            path = self.new("booting")
            # That long, or until it is ready.
            with contextlib.suppress(AssertionError):
                wait_for(lambda: text(path / "state") == "ready\n", "", delay)
            self.quickly(path.rmdir)
            self.assertFalse(path.exists())
            self.assertEqual(error_of(path.rmdir), "ENOENT")

    def test_while_it_is_busy(self):
        """Runs, readers and copies are under way."""
        self.need("runs")
        path = self.lab.instance("b")
        mark = f"/tmp/poolfs-conformance-{os.getpid()}"
        run = path / "runs" / "busy"
        run.mkdir()
        write(run / "cmd", f": >{mark}; sleep 1000 & echo $$ $! up; wait")
        pids = [int(pid) for pid in self.put_out(run, rb"(\d+) (\d+) up").groups()]
        found = {}

        def copy():
            error = None
            while not error:
                error = error_of(write, path / "files" / "copy", bytes(1 << 20))

        def look(name):
            try:
                found[name] = read(run / name)
            except OSError as error:
                found[name] = error
        threads = [threading.Thread(target=look, args=[name], daemon=True)
                   for name in ("exit", "output", "stderr")]
        if (path / "files").exists():
            threads.append(threading.Thread(target=copy, daemon=True))
        for thread in threads:
            thread.start()
        if (path / "files").exists():
            wait_for((path / "files" / "copy").exists, "begin of the copy")
        self.quickly(path.rmdir)
        for thread in threads:
            thread.join(lab.PATIENCE)
            self.assertFalse(thread.is_alive(), "somebody still waits after rmdir")
        self.assertNotIn(found["exit"], (b"0\n", b""))
        self.lab.make("b").rmdir()
        self.clean(mark, pids)

    def test_while_it_is_being_destroyed(self):
        """The name can be used again at once."""
        for _ in range(4):
            path = self.lab.make("again")
            self.quickly(path.rmdir)
            self.assertEqual(error_of(path.rmdir), "ENOENT")

    def clean(self, mark, pids):
        """Where the machine goes on without the instance, its processes do not."""
        lent = "targets" in text(self.daemon.pool / "pool.status")
        for name in ("a", "b") if lent else ("a",):
            instance = self.lab.instance(name)
            if self.says(f"if test -e {mark}; then rm {mark}; echo here; fi", instance):
                self.no_process(*pids, instance=instance)


class Losses(End):
    """What a killed shim leaves."""

    def test_shim_that_is_killed(self):
        instance = self.instance
        run = None
        if (instance / "runs").exists():
            # Where the machine goes on, so does this, for nobody is left who could end it.
            run = self.start("echo up; sleep 30")
            self.put_out(run, b"up\n")
        os.kill(self.daemon.shim("a"), signal.SIGKILL)
        # Its machine may go on, but is out of reach for good.
        wait_for(lambda: text(instance / "state") in ("stopped\n", "lost\n"), "end of the instance")
        if run:
            self.assertEqual((text(run / "exit"), text(run / "state")), ("255\n", "lost\n"))
        self.assert_dead(instance)
        self.quickly(instance.rmdir)
        self.assertFalse(instance.exists())


class Nothing(End):
    """The end of it all."""

    def test_is_left_of_destroyed_instances(self):
        for path in self.daemon.instances():
            path.rmdir()
        wait_for(self.daemon.gone, "end of the instances' directories: "
                 + str(os.listdir(self.daemon.workdir)))

    def test_is_left_after_the_unmount(self):
        """With an instance that is ready and runs a command, and one that boots."""
        for name in self.machines():
            self.lab.make(name)
        if (self.daemon.pool / "a/runs").exists():
            self.start("sleep 1000", self.instance)
        self.nothing_left(self.lab)


    def machines(self):
        """Names for as many instances as there may be, two at most. A machine that is lent may have
        gone out of use with the shim that was killed."""
        lent = re.findall(r"(?m)^target\.\S+ \S+ (\w+)", text(self.daemon.pool / "pool.status"))
        return ("a", "booting")[:lent.count("free") if lent else self.daemon.count()]


class Step(End):
    """A configuration with which one step fails."""

    step = None

    def setUp(self):
        super().setUp()
        config = dict(self.lab.options.broken).get(self.step)
        if not config:
            self.skipTest(f"--break {self.step}=CONFIG was not given")
        # The other daemon's processes are not to be taken for this one's.
        self.nothing_left(self.lab)
        self.mount = Daemon(self.lab.options.poolfs, config, self.lab.options.pool, self.lab.base)
        self.addCleanup(self.unmount)
        self.path = self.mount.pool / "x"

    def unmount(self):
        self.nothing_left(self.mount)

    def made(self):
        self.quickly(self.path.mkdir)
        return self.path

    def queue(self):
        """Writes a command to an instance that may never run it; its run, None: it has no commands."""
        if not (self.path / "cmd").exists():
            return None
        write(self.path / "cmd", "true")
        return self.path / "runs/1"

    def assert_over(self, run, *states):
        """What holds for an instance that has ended, or never began, and a run that waited for it."""
        wait_for(lambda: text(self.path / "state").strip() not in ("booting", "ready"), "end")
        self.assertIn(text(self.path / "state").strip(), states)
        self.assert_dead(self.path)
        if run:
            self.assertEqual(text(run / "exit"), "255\n")

    def rmdir(self):
        self.quickly(self.path.rmdir)
        wait_for(self.mount.gone, "end of the instance's directory")


class Create(Step):
    """The machine cannot be made."""

    step = "create"

    def test_is_told(self):
        for _ in range(2):
            path = self.made()
            run = self.queue()
            self.assertEqual(error_of(read, path / "ready"), "EIO")
            self.assert_over(run, "failed")
            self.rmdir()

    def test_rmdir_at_once(self):
        self.made()
        self.rmdir()


class NeverReady(Step):
    """The machine does not come up before boot_timeout, which is to be short."""

    step = "never-ready"

    def test_is_told(self):
        path = self.made()
        run = self.queue()
        self.assertEqual(error_of(read, path / "ready"), "EIO")
        self.assert_over(run, "failed")
        self.rmdir()

    def test_nothing_waits_for_it(self):
        path = self.made()
        for name in ("state", "error", "status", "log"):
            self.quickly(read, path / name)
        self.quickly(os.listdir, self.mount.pool)
        self.assertEqual(text(path / "state"), "booting\n")
        self.rmdir()

    def test_unmount(self):
        self.made()


class EndsAtOnce(Step):
    """The machine ends by itself as soon as it is up."""

    step = "ends"

    def test_is_told(self):
        path = self.made()
        self.assertIn(error_of(read, path / "ready"), (None, "EIO"))
        self.assert_over(None, "stopped", "failed")
        self.rmdir()


class Destroy(Step):
    """The machine cannot be destroyed, or its end hangs."""

    step = "destroy"

    def test_does_not_hinder(self):
        lab.booted(self.made())
        self.rmdir()

    def test_unmount(self):
        lab.booted(self.made())


CASES = (Apart, Rmdir, Losses, Nothing, Create, NeverReady, EndsAtOnce, Destroy)
