# SPDX-License-Identifier: MIT
"""Virtual machines: their boot, console and commands, and the ways in which they end."""
import errno
import os
import select
import signal
import statistics
import subprocess
import time

import harness
from harness import alive, read, text, value, wait_for, write

# From an event on the host to what the files show of it; a busy machine gets some more.
SOON = 2


def worked(pid):
    """For how many clock ticks a process ever ran."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[11])


class Guests(harness.GuestTest):
    """Five machines that boot at the same time; the tests share the first and end the others."""

    keys = {"memory": "128M"}
    names = ("kept", "killed", "shimless", "off", "panicked")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.pool = cls.mount.path / "linux"
            for name in cls.names:
                (cls.pool / name).mkdir()
            cls.times = cls.look_while_booting()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def look_while_booting(cls):
        """How long an ls and the reading of each state took, until all boots had ended."""
        times = []
        while True:
            before = time.monotonic()
            names = [name for name in os.listdir(cls.pool) if not name.startswith("pool.")]
            states = {name: text(cls.pool / name / "state") for name in names}
            times.append(time.monotonic() - before)
            if "booting\n" not in states.values():
                return times
            time.sleep(0.02)

    def ready(self, name):
        """A machine that booted well."""
        return harness.booted(self.pool / name)

    def begin(self, instance, command):
        """Starts a command that does not end by itself, and waits until it runs."""
        write(instance / "cmd", f"echo begun; {command}")
        run = instance / os.readlink(instance / "last")
        with open(run / "output", "rb", buffering=0) as output:
            self.assertEqual(output.read(6), b"begun\n")
        return run

    def assert_lost(self, run):
        self.assertEqual(text(run / "exit"), "255\n")
        self.assertEqual(text(run / "state"), "lost\n")

    def test_looking_is_quick_while_machines_boot(self):
        self.assertGreater(len(self.times), 10)
        self.assertLess(statistics.median(self.times), 0.2)
        self.assertLess(max(self.times), SOON)

    def test_ready_gives_the_seconds(self):
        seconds = float(text(self.ready("kept") / "ready"))
        self.assertTrue(0.1 < seconds < harness.PATIENCE * 2, seconds)
        self.assertEqual(text(self.ready("kept") / "state"), "ready\n")
        self.assertEqual(text(self.ready("kept") / "error"), "")
        self.assertAlmostEqual(float(value(self.ready("kept"), "boot_seconds")), seconds, 1)

    def test_command(self):
        output, status = self.run_in(self.ready("kept"), "uname -s; exit 3")
        self.assertEqual((output, status), (b"Linux\n", 3))

    def test_files(self):
        files = self.ready("kept") / "files"
        data = os.urandom(300000)
        write(files / "data", data)
        self.assertEqual(read(files / "data"), data)
        self.assertEqual(self.run_in(self.ready("kept"), "wc -c <data"), (b"300000\n", 0))

    def test_console_holds_the_whole_boot(self):
        console = self.ready("kept") / "console"
        wait_for(lambda: b"press Enter" in read(console), "last line of the boot")
        boot = read(console)
        self.assertIn(b"Linux version", boot[:4096])
        self.assertIn(b"[    0.000000]", boot[:4096])
        self.assertEqual(console.stat().st_size, len(boot))
        self.assertEqual(value(self.ready("kept"), "console_bytes"), str(len(boot)))
        self.assertEqual(value(self.ready("kept"), "console_bytes_dropped"), "0")
        self.assertEqual(harness.sh(f"tail -n 1 {console}").encode().strip(),
                         boot.splitlines()[-1].strip())

    def test_typing_on_the_console(self):
        console = self.ready("kept") / "console"
        tail = subprocess.Popen(["tail", "-n", "0", "-f", console], stdout=subprocess.PIPE)
        followed = b""
        typed = 0
        deadline = time.monotonic() + harness.PATIENCE
        try:
            # What is typed before the shell is there may be lost: so it is typed again, in peace.
            while b"42answer" not in followed:
                if time.monotonic() > deadline:
                    self.fail(f"no answer to {typed} lines; the console: {read(console)[-2000:]}")
                write(console, "\necho $((6 * 7))answer\n")
                typed += 1
                while select.select([tail.stdout], [], [], 3)[0]:
                    data = os.read(tail.stdout.fileno(), 65536)
                    self.assertTrue(data, "tail -f ended")
                    followed += data
                    if b"42answer" in followed:
                        break
        finally:
            tail.kill()
            tail.wait()
            tail.stdout.close()
        self.assertIn(b"42answer", read(console))

    def test_killed_emulator(self):
        instance = self.ready("killed")
        # Its last words are on their way when it ends.
        run = self.begin(instance, "yes >/dev/console")
        follow = subprocess.Popen(["cat", instance / "console.follow"], stdout=subprocess.PIPE)
        output = subprocess.Popen(["cat", run / "output"], stdout=subprocess.PIPE)
        emulator, shim = int(value(instance, "pid")), self.mount.shim_pid("linux", "killed")
        os.kill(shim, signal.SIGSTOP)
        begun = worked(emulator)
        wait_for(lambda: worked(emulator) > begun + 10, "words on their way")
        os.kill(emulator, signal.SIGKILL)
        wait_for(lambda: not alive(emulator), "end of the emulator")
        os.kill(shim, signal.SIGCONT)
        wait_for(lambda: text(instance / "state") == "stopped\n", "state stopped", SOON)
        self.assert_lost(run)
        self.assertEqual(output.communicate(timeout=SOON)[0], b"begun\n")
        self.assertEqual(follow.communicate(timeout=SOON)[0], read(instance / "console"))
        self.assertIn("signal 9", text(instance / "error"))
        self.assertIn("signal 9", text(instance / "log"))
        self.assertEqual(float(text(instance / "ready")), float(value(instance, "boot_seconds")))
        for action in (lambda: os.listdir(instance / "files"),
                       lambda: write(instance / "cmd", "true"),
                       lambda: write(instance / "console", "x")):
            with self.assertRaises(OSError) as raised:
                action()
            self.assertEqual(raised.exception.errno, errno.EHOSTDOWN)

    def test_killed_shim(self):
        instance = self.ready("shimless")
        run = self.begin(instance, "sleep 1000")
        emulator = int(value(instance, "pid"))
        os.kill(self.mount.shim_pid("linux", "shimless"), signal.SIGKILL)
        wait_for(lambda: text(instance / "state") == "stopped\n", "state stopped", SOON)
        self.assert_lost(run)
        self.assertIn("signal 9", text(instance / "error"))
        wait_for(lambda: not alive(emulator), "end of the emulator", SOON)
        directory = self.mount.directory_of("linux", "shimless")
        instance.rmdir()
        wait_for(lambda: not directory.exists(), "end of the directory")

    def test_power_off(self):
        instance = self.ready("off")
        follow = subprocess.Popen(["cat", instance / "console.follow"], stdout=subprocess.PIPE)
        run = self.begin(instance, "poweroff; sleep 1000")
        wait_for(lambda: text(instance / "state") == "stopped\n", "state stopped")
        error = text(instance / "error")
        self.assertIn("powered off", error.splitlines()[0])
        self.assertRegex(error, r"\nThe console's last lines:\n(.*\n)*.*Power down\n")
        self.assert_lost(run)
        self.assertIn(b"Power down", read(instance / "console"))
        self.assertEqual(follow.communicate(timeout=SOON)[0], read(instance / "console"))

    def test_panic(self):
        instance = self.ready("panicked")
        run = self.begin(instance, "until [ -e go ]; do sleep 0.1; done; "
                                   "echo c >/proc/sysrq-trigger; sleep 1000")
        write(instance / "files/go", "")
        wait_for(lambda: text(instance / "state") == "crashed\n", "state crashed")
        error = text(instance / "error")
        self.assertIn("kernel panic: sysrq triggered crash", error.splitlines()[0])
        self.assertIn("\nThe console's last lines:\n", error)
        self.assertLessEqual(len(error.splitlines()), 22)
        self.assert_lost(run)
        self.assertIn(b"Kernel panic", read(instance / "console"))

    def test_console_ends_with_its_instance(self):
        instance = self.new("linux", "gone", ready=False)
        wait_for(lambda: read(instance / "console"), "first line on the console")
        with open(instance / "console.follow", "rb", buffering=0) as follow:
            follow.read(1)
            cat = subprocess.Popen(["cat"], stdin=follow, stdout=subprocess.PIPE)
            instance.rmdir()
            self.assertTrue(cat.communicate(timeout=SOON)[0])
        self.assertFalse(instance.exists())


if __name__ == "__main__":
    harness.main()
