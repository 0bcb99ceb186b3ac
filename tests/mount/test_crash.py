# SPDX-License-Identifier: MIT
"""Crashes of virtual machines: reports, states, runs, and what becomes of the instance."""
import errno
import os
import re
import stat
import subprocess

import harness
from harness import read, text, value, wait_for, write

WARNING = ("<4>WARNING: CPU: 0 PID: 1 at drivers/slot.c:1 {0}+0x1/0x2\n"
           "<4>RIP: 0010:{0}+0x1/0x2\n<4>Call Trace:\n<4> dump_stack+0x1/0x2\n"
           "<4> {0}+0x1/0x2\n<4>---[ end trace 0000000000000000 ]---\n")


def kmsg(report):
    """A command that makes the kernel print this."""
    return "".join(f"echo '{line}' >/dev/kmsg\n" for line in report.splitlines())


class CrashTest(harness.GuestTest):
    keys = {"memory": "128M"}

    def crashed(self, instance):
        wait_for(lambda: text(instance / "state") == "crashed\n", "state crashed")

    def begin(self, instance, command):
        """Starts a command and waits until it runs.

        It goes on with its input, for whose arrival nothing here waits: it may crash the machine.
        """
        run = instance / f"runs/begun{len(os.listdir(instance / 'runs'))}"
        run.mkdir()
        write(run / "cmd", f"echo begun; read go; {command}")
        with open(run / "output", "rb", buffering=0) as output:
            self.assertEqual(output.read(6), b"begun\n")
        write(run / "stdin", "go\n")
        return run

    def events(self, name):
        return [line.split(" ", 2)[2] for line in text(self.mount.path / "events").splitlines()
                if f" linux/{name} " in line]


class Keep(CrashTest):
    """What is crashed stays."""

    def test_panic(self):
        instance = self.new("linux", "panic")
        self.assertEqual(text(instance / "crash"), "")
        self.assertEqual(os.listdir(instance / "crashes"), [])
        run = self.begin(instance, "echo c >/proc/sysrq-trigger; sleep 1000")
        waiting = subprocess.Popen(["cat", run / "exit"], stdout=subprocess.PIPE)
        self.crashed(instance)
        title = "kernel panic: sysrq triggered crash"
        self.assertEqual(text(instance / "error").splitlines()[0], title)
        report = text(instance / "crash")
        self.assertEqual(report.splitlines()[:2], [title, ""])
        self.assertRegex(report, r"\] Kernel panic - not syncing: sysrq triggered crash\n")
        self.assertRegex(report, r"panic\+0x[0-9a-f]+/0x")
        self.assertNotIn("\r", report)
        self.assertEqual((instance / "crash").stat().st_size, len(report))
        self.assertEqual(text(instance / "crashes/1"), report)
        self.assertEqual((instance / "crashes/1").stat().st_size, len(report))
        self.assertEqual(waiting.communicate(timeout=harness.PATIENCE)[0], b"255\n")
        self.assertEqual(text(run / "state"), "lost\n")
        self.assertIn(f"crash 1 {title}", self.events("panic"))
        self.assertIn(f"ready crashed {title}", self.events("panic"))

    def test_two_crashes(self):
        instance = self.new("linux", "two")
        follow = subprocess.Popen(["cat", instance / "console.follow"], stdout=subprocess.DEVNULL)
        self.begin(instance, kmsg(WARNING.format("slot_a")) + "sleep 3; "
                   + kmsg(WARNING.format("slot_b")))
        self.crashed(instance)
        self.assertEqual(follow.wait(harness.PATIENCE), 0)
        # The machine goes on.
        wait_for(lambda: value(instance, "crashes") == "2", "the second report")
        self.assertEqual(sorted(os.listdir(instance / "crashes")), ["1", "2"])
        self.assertEqual(text(instance / "crash"), text(instance / "crashes/1"))
        for number, function in ((1, "slot_a"), (2, "slot_b")):
            report = text(instance / f"crashes/{number}")
            self.assertEqual(report.splitlines()[0], f"WARNING in {function}")
            self.assertTrue(report.endswith("---[ end trace 0000000000000000 ]---\n"))
            self.assertIn(f"crash {number} WARNING in {function}", self.events("two"))
        mode = (instance / "crashes/2").stat().st_mode
        self.assertEqual((stat.S_ISREG(mode), mode & 0o777), (True, 0o400))
        self.assertRaises(FileNotFoundError, read, instance / "crashes/3")
        self.assertRaises(PermissionError, os.mkdir, instance / "crashes/x")
        self.assertRaises(PermissionError, os.unlink, instance / "crashes/1")
        # An open report is read on after the instance has gone.
        with open(instance / "crashes/2", "rb", buffering=0) as report:
            instance.rmdir()
            wait_for(lambda: self.events("two")[-1].endswith("destroyed"), "its machine's end")
            self.assertTrue(report.read(65536).startswith(b"WARNING in slot_b\n"))

    def test_the_console_of_a_crashed_machine_takes_input(self):
        instance = self.new("linux", "typed")
        self.begin(instance, kmsg(WARNING.format("slot_a")))
        self.crashed(instance)
        console = instance / "console"
        wait_for(lambda: write(console, "echo $((6 * 7))answer\n") or b"42answer" in read(console),
                 "answer on the console")

    def test_look_alikes(self):
        instance = self.new("linux", "clean")
        for line in ("traps: x[1] general protection fault ip:7f00 sp:7ffd error:0",
                     "a test mentions BUG: KASAN: use-after-free in foo+0x1/0x2",
                     "systemd[1]: Reached target Kernel panic - not syncing"):
            self.run_in(instance, kmsg("<0>" + line))
        wait_for(lambda: b"Reached target" in read(instance / "console"), "the last line")
        self.run_in(instance, "sleep 0.5")
        self.assertEqual(text(instance / "state"), "ready\n")
        self.assertEqual((text(instance / "crash"), value(instance, "crashes")), ("", "0"))


class Destroy(CrashTest):
    """What is crashed goes; only fatal reports count; patterns of one's own."""

    @classmethod
    def configure(cls):
        cls.patterns = harness.pathlib.Path(harness.tempfile.mkdtemp(prefix="poolfs-patterns."))
        cls.addClassCleanup(harness.shutil.rmtree, cls.patterns)
        (cls.patterns / "mine").write_text("fatal ^my device is gone: (\\S+)\n"
                                           "\ttitle device $1 is gone\nexcept slot_quiet\n")
        cls.keys = {**cls.keys, "on_crash": "destroy", "crash_on": "fatal",
                    "crash_patterns": cls.patterns / "mine"}
        return super().configure()

    def test_destroy(self):
        instance = self.new("linux", "gone")
        output, status = self.run_in(instance, kmsg(WARNING.format("slot_quiet"))
                                     + kmsg(WARNING.format("slot_a")) + "exit 3")
        self.assertEqual((output, status), (b"", 3))
        wait_for(lambda: value(instance, "crashes") == "1", "the report")
        self.assertEqual(text(instance / "state"), "ready\n")
        self.assertEqual(text(instance / "crash").splitlines()[0], "WARNING in slot_a")
        run = self.begin(instance, kmsg("<3>my device is gone: sdb") + "sleep 1000")
        with open(run / "exit", "rb", buffering=0) as status:
            self.assertEqual(status.read(9), b"255\n")
        wait_for(lambda: not instance.exists(), "the instance's end")
        wait_for(lambda: self.events("gone")[-1].endswith("destroyed"), "its machine's end")
        self.assertIn("crash 2 device sdb is gone", self.events("gone"))
        instance.mkdir() # the name is free
        instance.rmdir()


class Reset(CrashTest):
    """What is crashed boots again."""

    keys = {"memory": "128M", "on_crash": "reset"}

    def test_reset(self):
        instance = self.new("linux", "again")
        for number, command, title in (
                (1, kmsg(WARNING.format("slot_a")) + "sleep 1000", "WARNING in slot_a"),
                (2, "echo c >/proc/sysrq-trigger", "kernel panic: sysrq triggered crash")):
            run = self.begin(instance, command)
            self.assertEqual(text(run / "exit"), "255\n")
            wait_for(lambda: value(instance, "crashes") == str(number), "the report")
            wait_for(lambda: text(instance / "state") != "crashed\n", "another state")
            try:
                self.assertGreater(float(text(instance / "ready")), 0)
            except OSError as error:
                raise AssertionError(f"{error}: " + text(instance / "error")) from None
            self.assertEqual(text(instance / "state"), "ready\n")
            self.assertEqual(text(instance / f"crashes/{number}").splitlines()[0], title)
            self.assertEqual(self.run_in(instance, "test ! -e go && echo new"), (b"new\n", 0))
            write(instance / "files/back", "x")
            self.assertEqual(self.events("again")[-4:],
                             [f"crash {number} {title}", f"ready crashed {title}",
                              "crashed booting", "booting ready"])
        self.assertEqual(text(instance / "error"), "")
        write(instance / "cmd", "reboot -f")
        wait_for(lambda: text(instance / "state") == "stopped\n", "state stopped")
        self.assertIn("reset itself", text(instance / "error"))


class Asked(CrashTest):
    """SysRq and interrupts, by ctl and before a report is complete."""

    keys = {"memory": "128M", "on_crash_sysrq": "wm"}

    def test_verbs(self):
        instance = self.new("linux", "asked")
        ctl, console = instance / "ctl", instance / "console"
        self.assertEqual(text(ctl), "stop\nsysrq KEY\nnmi\n")
        for wrong in ("sysrq", "sysrq ", "sysrq W", "sysrq ww", "sysrqw", "nmi x", "nm"):
            with self.assertRaises(OSError, msg=wrong) as raised:
                write(ctl, wrong + "\n")
            self.assertEqual(raised.exception.errno, errno.EINVAL)
        self.run_in(instance, "echo 1 >/proc/sys/kernel/sysrq")
        write(ctl, "sysrq w\n")
        wait_for(lambda: b"Show Blocked State" in read(console), "what SysRq w prints")
        if os.uname().machine == "x86_64":
            write(ctl, "nmi")
            wait_for(lambda: re.search(rb"NMI received for unknown reason", read(console)),
                     "what an NMI prints")
        self.assertEqual(text(instance / "state"), "ready\n")
        self.begin(instance, kmsg(WARNING.format("slot_a")) + "sleep 1000")
        self.crashed(instance)
        report = text(instance / "crash")
        self.assertTrue(report.startswith("WARNING in slot_a\n\n"))
        self.assertRegex(report, r"(?s)---\[ end trace .*Show Blocked State.*Show Memory.*Mem-Info:")
        write(ctl, "sysrq h") # a crashed machine takes them too
        wait_for(lambda: b"HELP" in read(console), "what SysRq h prints")


class Quiet(harness.SshTest):
    """A machine that says nothing; that is no crash."""

    keys = {"quiet_timeout": "200ms"}

    def test_quiet(self):
        instance = self.new("host", "silent")
        wait_for(lambda: value(instance, "quiet") == "1", "quiet")
        self.assertEqual(self.run_in(instance, "echo x"), (b"x\n", 0))
        events = wait_for(lambda: re.search("host/silent quiet no console and no output for 0.2 s\n"
                                            "(.*\n)*.*host/silent quiet no more\n",
                                            text(self.mount.path / "events")), "both events")
        self.assertTrue(events)
        self.assertEqual(text(instance / "state"), "ready\n")


if __name__ == "__main__":
    harness.main()
