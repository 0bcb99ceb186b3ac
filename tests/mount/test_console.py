# SPDX-License-Identifier: MIT
"""The console of a real guest: as a growing log, as bytes, as a terminal, and under a flood."""
import os
import re
import shutil
import subprocess
import time

import harness
from harness import read, sh, text, wait_for, write

# What a sanitizer keeps of freed memory is not the daemon's.
os.environ["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=1"


class Console(harness.GuestTest):
    """A machine that is not disturbed, one that floods its console, and one with the filter."""

    @classmethod
    def configure(cls):
        harness.need_guest()
        return (harness.qemu_pool("plain", memory="128M") +
                harness.qemu_pool("small", memory="128M", console_limit="64K") +
                harness.qemu_pool("clean", memory="128M", console_filter="yes"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            for pool in ("plain", "small", "clean"):
                (cls.mount.path / pool / "a").mkdir()
        except BaseException:
            cls.tearDownClass()
            raise

    def machine(self, pool):
        return harness.booted(self.mount.path / pool / "a")

    def print_bytes(self, instance, data):
        """Makes the guest write exact bytes to its console; returns what came between two marks."""
        write(instance / "files/bytes", b"<<begin>>" + data + b"<<end>>")
        before = (instance / "console").stat().st_size
        # The terminal is not to change them.
        output, status = self.run_in(
            instance, "exec 2>&1; dmesg -n 1; mode=$(stty -F /dev/console -g); "
                      "stty -F /dev/console raw; cat bytes >/dev/console; stty -F /dev/console $mode")
        self.assertEqual((output, status), (b"", 0))
        found = wait_for(lambda: re.search(rb"<<begin>>(.*)<<end>>", read(instance / "console")[before:],
                                           re.S), "last byte on the console")
        return found.group(1)

    def assert_printed(self, instance, data, expected):
        # A line of the guest's SSH server may come in between; hardly twice.
        shown = [self.print_bytes(instance, data) for _ in range(3)]
        self.assertIn(expected, shown)

    def test_any_byte(self):
        data = bytes(range(256)) + b"\r\r\n\x1b[31m" + bytes(1000) + os.urandom(5000)
        self.assert_printed(self.machine("plain"), data, data)

    def test_filter(self):
        self.assert_printed(self.machine("clean"), b"a\x1b[31mb\tc\r\nd\x9b\xc2\x9b\x7f \xc3\xa4\n",
                            b"a?[31mb\tc \nd?\xc2?? \xc3\xa4\n")
        self.assertNotIn(b"\r", read(self.machine("clean") / "console"))

    def test_tools_on_a_growing_console(self):
        instance = self.machine("plain")
        console = instance / "console"
        write(instance / "cmd", "i=0; while [ ! -e stop ]; do i=$((i + 1)); echo line $i; "
                                "sleep 0.01; done >/dev/console; echo last line >/dev/console")
        follow = subprocess.Popen(["tail", "-n", "+1", "-f", console], stdout=subprocess.PIPE)
        try:
            wait_for(lambda: b"line 20" in read(console), "lines on the console")
            copies = self.mount.base / "copies"
            copies.mkdir()
            sh(f"""cd {copies}; cp {console} cp; cat {console} >cat; dd if={console} of=dd bs=4099 2>/dev/null
                   dd if={console} of=dd1 bs=64k count=1 iflag=fullblock 2>/dev/null
                   head -c 3000 {console} >head; rsync --no-whole-file {console} rsync
                   tail -c +1 {console} >tail; grep -a '' {console} >grep; wc -c <{console} >wc
                   less -f {console} | cat >less; sed '' {console} >sed; tac {console} | tac >tac""",
               cwd=copies)
            shutil.copyfile(console, copies / "copyfile")
            self.assertRegex(sh(f"tail -n 3 {console}"), r"line \d+\r?\n(.*\n)*")
            self.assertGreater(int(sh(f"grep -a -c 'line [0-9]' {console}")), 19)
            write(instance / "files/stop", "")
            self.assertEqual(text(instance / "last/exit"), "0\n")
            whole = wait_for(lambda: b"last line" in (found := read(console)) and found, "last line")
            self.assertEqual(console.stat().st_size, len(whole))
            size = int(text(copies / "wc"))
            self.assertTrue(0 < size <= len(whole))
            for copy in sorted(copies.iterdir()):
                data = read(copy)
                # Filters of text end a line that had not ended yet.
                if copy.name in ("grep", "sed", "tac", "less") and not whole.startswith(data):
                    data = data[:-1]
                if copy.name != "wc":
                    self.assertTrue(data and whole.startswith(data), copy.name)
            followed = b""
            while b"last line" not in followed:
                followed += os.read(follow.stdout.fileno(), 65536)
            self.assertTrue(whole.startswith(followed) or followed.startswith(whole))
        finally:
            follow.kill()
            follow.wait()
            follow.stdout.close()

    def test_many_readers(self):
        instance = self.machine("plain")
        readers = [subprocess.Popen(["grep", "-a", "-m", "1", "the readers' word", instance /
                                     "console.follow"], stdout=subprocess.PIPE) for _ in range(40)]
        self.run_in(instance, "echo the readers\\' word >/dev/console")
        for reader in readers:
            self.assertIn(b"the readers' word", reader.communicate(timeout=harness.PATIENCE)[0])

    def test_flood(self):
        """Neither the daemon's memory nor the disk grows, and the others are as quick as ever."""
        instance, other = self.machine("small"), self.machine("plain")
        before = self.memory()
        self.run_in(instance, "dmesg -n 1; (while [ ! -e stop ]; do cat /bin/busybox; done "
                              ">/dev/console 2>&1 &)")
        dropped = lambda: int(harness.value(instance, "console_bytes_dropped"))
        begun, slowest, peak = dropped(), 0, 0
        directory = self.mount.directory_of("small", "a")
        while dropped() < begun + 4000000:
            began = time.monotonic()
            text(other / "state")
            slowest = max(slowest, time.monotonic() - began)
            disk = (directory / "console").stat().st_blocks * 512
            peak = max(peak, disk)
            time.sleep(0.01)
        write(instance / "files/stop", "")
        self.assertLess(peak, 2 * 65536 + 65536)
        self.assertLess(self.memory() - before, 8 << 20)
        self.assertLess(slowest, 1)
        self.assertEqual(self.run_in(other, "echo alive"), (b"alive\n", 0))
        record = re.match(rb"\[poolfs: (\d+) bytes dropped\]\n", read(instance / "console"))
        self.assertTrue(record)
        # A reader that comes with an old offset is told the gap, and goes on behind it.
        with open(instance / "console", "rb", buffering=0) as file:
            file.seek(10)
            self.assertRegex(file.read(100), rb"^\[poolfs: \d+ bytes dropped\]\n")

    def memory(self):
        found = re.search(r"RssAnon:\s*(\d+)", text(f"/proc/{self.mount.process.pid}/status"))
        return int(found.group(1)) * 1024

    def test_login_by_hand(self):
        instance = self.machine("plain")
        follow = subprocess.Popen(["tail", "-n", "0", "-f", instance / "console"],
                                  stdout=subprocess.PIPE)
        try:
            # The shell of the guest asks the terminal for its cursor's place behind each prompt.
            wait_for(lambda: write(instance / "console", "\n") or time.sleep(1) or
                     re.search(rb"# (\x1b\[6n)?$", read(instance / "console")), "prompt")
            write(instance / "console", "tty; exec 3<&-; echo $((40 + 2))done\n")
            seen = b""
            while b"42done" not in seen:
                seen += os.read(follow.stdout.fileno(), 4096)
            self.assertIn(b"/dev/", seen)
        finally:
            follow.kill()
            follow.wait()
            follow.stdout.close()


if __name__ == "__main__":
    harness.main()
