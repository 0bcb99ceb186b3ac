# SPDX-License-Identifier: MIT
"""What runs put out: the transcript, the limit on what is kept, and readers of all kinds."""
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

import harness
import runs
from harness import PATIENCE, read, text, value, wait_for, write

LINE_MAX = 65536
MARK = b" [poolfs: line continues]\n"


class Transcript:
    """For one instance on any kind of machine."""

    def transcript(self, command):
        run = self.quiet(command)
        self.ended(run)
        return b"".join(line for line in read(run / "transcript").splitlines(keepends=True)
                        if not line.startswith(b"[console] ")) # what the guest's server says

    def test_order_and_prefixes(self):
        self.assertEqual(self.transcript("for i in 1 2; do echo out$i; sleep 0.2; echo err$i >&2; "
                                         "sleep 0.2; done; echo; printf end"),
                         b"[stdout] out1\n[stderr] err1\n[stdout] out2\n[stderr] err2\n"
                         b"[stdout] \n[stdout] end\n")

    def test_lines_stay_whole(self):
        """Half a line of each stream in turn: each line is one, at the time of its end."""
        self.assertEqual(self.transcript("printf ou; sleep 0.2; printf er >&2; sleep 0.2; echo t; "
                                         "sleep 0.2; echo r >&2"), b"[stdout] out\n[stderr] err\n")

    def test_long_lines(self):
        got = self.transcript(f"head -c {3 * LINE_MAX + 10} /dev/zero | tr '\\0' a; echo; "
                              f"head -c {LINE_MAX} /dev/zero | tr '\\0' b; echo")
        lines = got.splitlines(keepends=True)
        self.assertEqual([line == b"[stdout] " + b"a" * LINE_MAX + MARK for line in lines[:3]],
                         [True] * 3)
        self.assertEqual(lines[3], b"[stdout] " + b"a" * 10 + b"\n")
        self.assertEqual(lines[4] == b"[stdout] " + b"b" * LINE_MAX + b"\n", True)
        self.assertEqual(len(lines), 5)

    def test_no_line_is_lost_or_doubled(self):
        count = self.lines
        got = self.transcript(f"seq {count} & seq {count} >&2; wait").splitlines()
        for name in (b"[stdout] ", b"[stderr] "):
            self.assertEqual([line[9:] for line in got if line.startswith(name)] ==
                             [b"%d" % i for i in range(1, count + 1)], True, name)
        self.assertEqual(len(got), 2 * count)


class OnServer(Transcript, runs.HostRuns):
    """An OpenSSH server and this machine's shell."""

    keys = {"output_limit": "64M"}
    lines = 100000

    def test_all_readers_see_the_same(self):
        go = self.mount.base / "go"
        run = self.quiet(f"seq 50000; until [ -e {go} ]; do sleep 0.02; done; seq 50000 >&2")
        results = []
        names = ("output", "output", "stdout", "stderr", "transcript", "exit")
        readers = [threading.Thread(target=lambda n=name: results.append((n, read(run / n))))
                   for name in names]
        for reader in readers:
            reader.start()
        dying = subprocess.Popen(["sleep", "1000"], stdin=open(run / "output", "rb"))
        reading = subprocess.Popen(["cat", run / "output"], stdout=subprocess.PIPE)
        reading.stdout.read(1000)
        for child in (dying, reading):
            child.kill()
            child.wait()
        reading.stdout.close()
        go.touch()
        for reader in readers:
            reader.join(PATIENCE)
        expected = "".join(f"{i}\n" for i in range(1, 50001)).encode()
        for name, got in results + [(name, read(run / name)) for name in names]:
            self.assertEqual(got == {"output": expected * 2, "stdout": expected, "stderr": expected,
                                     "exit": b"0\n"}.get(name, got), True, name)
            if name == "transcript":
                self.assertEqual(sorted(line[9:] for line in got.splitlines()),
                                 sorted(expected.splitlines() * 2))
        self.assertEqual(len(results), len(names))
        go.unlink()

    def test_a_run_goes_on_without_readers(self):
        run = self.start("head -c 20000000 /dev/zero; exit 3")
        self.assertEqual(self.ended(run), (3, "exited"))
        self.assertEqual(read(run / "output") == bytes(20000000), True)

    def test_output_of_a_terminal_in_the_transcript(self):
        run = self.start("echo a; echo b", tty="80x24")
        self.ended(run)
        self.assertEqual(read(run / "transcript"), b"[stdout] a\r\n[stdout] b\r\n")


class Flood(runs.HostRuns):
    """Transcripts that nobody reads at first."""

    keys = {"output_limit": "64M"}
    lines = 300000
    expected = b"".join(b"[stdout] %07d\n" % i for i in range(1, 300001))

    def flood(self, then=""):
        """Counts, then waits for the file that is given back, then does the rest."""
        go = self.mount.base / f"go{time.monotonic_ns()}"
        run = self.quiet(f"{COUNTING}{self.lines}; until [ -e {go} ]; do sleep 0.02; done; {then}")
        wait_for(lambda: os.stat(run / "transcript").st_size == len(self.expected), "the flood")
        return run, go


class Unread(Flood):
    """They are made when somebody does."""

    def files(self):
        """The files of all transcripts."""
        return set(self.mount.directory_of("host", "a").glob("run.*.transcript"))

    def test_after_the_end(self):
        before = self.files()
        run = self.quiet(f"{COUNTING}{self.lines}; printf end")
        self.assertEqual(self.ended(run), (0, "exited"))
        size = len(self.expected) + 13
        self.assertEqual(os.stat(run / "transcript").st_size, size)
        self.assertEqual(self.files() - before, set())
        self.assertEqual(read(run / "transcript") == self.expected + b"[stdout] end\n", True)
        self.assertEqual(read(run / "transcript") == self.expected + b"[stdout] end\n", True)
        self.assertEqual(os.stat(run / "transcript").st_size, size)

    def test_during_the_flood(self):
        run, go = self.flood("echo more; echo error >&2")
        self.assertEqual(os.stat(run / "transcript").st_size, len(self.expected))
        with open(run / "transcript", "rb", buffering=0) as transcript:
            got = b""
            while len(got) < len(self.expected):
                got += transcript.read(1 << 20)
            self.assertEqual(got == self.expected, True)
            go.touch()
            while piece := transcript.read(1 << 20):
                got += piece
        rest = got[len(self.expected):].splitlines()
        self.assertEqual(sorted(rest), [b"[stderr] error", b"[stdout] more"])

    def test_stderr_late(self):
        run, go = self.flood("echo error >&2")
        go.touch()
        self.assertEqual(self.ended(run), (0, "exited"))
        size = len(self.expected) + len("[stderr] error\n")
        self.assertEqual(os.stat(run / "transcript").st_size, size)
        self.assertEqual(read(run / "transcript") == self.expected + b"[stderr] error\n", True)

    def test_removed_while_it_is_made(self):
        """Who has it open gets all of it, also when the run is removed at once."""
        for ended in (True, False):
            run, go = self.flood()
            if ended:
                go.touch()
                self.ended(run)
            with open(run / "transcript", "rb", buffering=0) as transcript:
                os.rmdir(run)
                self.assertFalse(run.exists())
                got = b"".join(iter(lambda: transcript.read(1 << 20), b""))
            self.assertEqual(got == self.expected, True)
            go.touch()

    def test_a_read_that_does_not_wait(self):
        run, go = self.flood()
        file = os.open(run / "transcript", os.O_RDONLY | os.O_NONBLOCK)
        got = b""

        def more():
            nonlocal got
            try:
                got += os.read(file, 1 << 20)
            except BlockingIOError:
                pass
            return len(got) == len(self.expected)
        wait_for(more, "the transcript")
        self.assertEqual(got == self.expected, True)
        os.close(file)
        go.touch()


class Orphaned(Flood):
    """The shim is gone before anybody does."""

    def test_readers_are_told(self):
        """What was not made cannot be any more: readers are told, and do not wait."""
        run, go = self.flood()
        go.touch()
        self.ended(run)
        os.kill(self.mount.shim_pid("host", "a"), signal.SIGKILL)
        wait_for(lambda: text(self.instance / "state") in ("failed\n", "stopped\n"),
                 "the end of the instance")
        self.assertEqual(read(run / "transcript"),
                         b"[poolfs: %d bytes dropped]\n" % len(self.expected))


# Lines of 8 bytes.
COUNTING = "seq -f %07.0f 1 "


class KeepUp(runs.HostRuns):
    """A stream that is many times longer than what is kept of it."""

    keys = {"output_limit": "16M"}

    def test_reader_that_keeps_up(self):
        """A reader that never waits for anything but the run gets every byte of 200 MiB."""
        size = 200 << 20
        data = self.mount.base / "data"
        data.write_bytes(hashlib.shake_128(b"").digest(1 << 20) * 8)
        run = self.named()
        got, total = hashlib.sha256(), 0
        with open(run / "output", "rb", buffering=0) as output:
            write(run / "cmd", f"for i in $(seq {size >> 23}); do cat {data}; done")
            while piece := output.read(1 << 20):
                got.update(piece)
                total += len(piece)
        expected = hashlib.sha256()
        for _ in range(size >> 23):
            expected.update(data.read_bytes())
        self.assertEqual((total, got.hexdigest()), (size, expected.hexdigest()))


class Limit(runs.HostRuns):
    """What is kept of an output is limited."""

    keys = {"output_limit": "1M"}

    def test_bounded_on_disk_and_visible(self):
        lines = 2000000
        run = self.quiet(COUNTING + str(lines) + "; echo end >&2")
        self.assertEqual(self.ended(run), (0, "exited"))
        directory = self.mount.directory_of("host", "a")
        for spool in directory.glob("run.*"):
            self.assertLess(os.stat(spool).st_size, (1 << 20) + 8192)
        output = read(run / "output")
        record = re.match(rb"\[poolfs: (\d+) bytes dropped\]\n", output)
        dropped = int(record.group(1))
        kept = output[record.end():]
        self.assertEqual(dropped + len(kept), 8 * lines + 4)
        self.assertTrue(len(kept) <= 1 << 20)
        every = "".join(f"{i:07}\n" for i in range(lines - (1 << 17), lines + 1)).encode()
        self.assertTrue((every + b"end\n").endswith(kept))
        self.assertEqual(value(run, "output_bytes"), str(8 * lines + 4))
        self.assertEqual(value(run, "output_bytes_dropped"), str(dropped))
        self.assertEqual(read(run / "stderr"), b"end\n")
        self.assertRegex(read(run / "transcript"), rb"^\[poolfs: \d+ bytes dropped\]\n")

    def follow(self, name, command, pause=0):
        """Runs a command; gives what a reader gets who was there from the beginning."""
        run = self.named()
        got = []
        with open(run / name, "rb", buffering=0) as output:
            write(run / "cmd", command)
            while piece := output.read(1 << 20):
                got.append(piece)
                if len(got) % 64 == 0:
                    time.sleep(pause)
        self.assertEqual(self.ended(run), (0, "exited"))
        return b"".join(got)

    def test_reader_that_is_slow(self):
        """The command waits for one who reads on: 24 MiB go through 1 MiB."""
        lines = 3 << 20
        got = self.follow("stdout", COUNTING + str(lines), pause=0.3)
        self.assertEqual(len(got), 8 * lines)
        expected = subprocess.run(["sh", "-c", COUNTING + str(lines)], stdout=subprocess.PIPE)
        self.assertEqual(got == expected.stdout, True)

    def test_reader_of_both(self):
        """What comes on stderr in between changes nothing for one who reads stdout."""
        part = COUNTING + "1000000; "
        got = self.follow("stdout", part + "echo between >&2; " + part + "echo end >&2")
        self.assertEqual(len(got), 16000000)
        self.assertEqual(got[:8000000] == got[8000000:], True)

    def test_reader_of_what_is_not_stdout(self):
        """Nobody reads stdout alone, which has a spool of its own: nobody waits for that."""
        part = COUNTING + "1000000; "
        got = self.follow("output", "echo first >&2; sleep 0.1; " + part)
        self.assertEqual((got[:6], len(got)), (b"first\n", 8000006))

    def test_reader_of_the_transcript(self):
        got = self.follow("transcript", COUNTING + "1000000; echo end >&2")
        self.assertEqual(len(got), 17 * 1000000 + 13)
        self.assertNotIn(b"poolfs", got)

    def test_reader_beside_one_that_stands_still(self):
        """He waits as the command does, and loses nothing."""
        run = self.named()
        size = 8 << 20
        with open(run / "output", "rb", buffering=0), open(run / "output", "rb", buffering=0) as output:
            write(run / "cmd", f"head -c {size} /dev/zero | tr '\\0' x")
            got = b"".join(iter(lambda: output.read(1 << 20), b""))
        self.assertEqual(got == b"x" * size, True)

    def test_reader_that_stands_still(self):
        """One that does not read does not hold the command up for good."""
        run = self.named()
        with open(run / "output", "rb", buffering=0) as output:
            write(run / "cmd", "head -c 30000000 /dev/zero; echo end")
            self.assertGreater(len(output.read(1000)), 0)
            self.assertEqual(self.ended(run), (0, "exited"))
            self.assertIn(b"bytes dropped]\n", output.read(1000))


class OnGuest(Transcript, runs.GuestRuns):
    """A virtual machine, which has a console."""

    lines = 20000

    def test_lines_of_the_console(self):
        run = self.quiet("for i in 1 2 3; do echo out$i; sleep 0.3; echo \"<1>kernel $i\" "
                         ">/dev/kmsg; sleep 0.3; done")
        self.ended(run)
        got = text(run / "transcript").splitlines()
        shown = [re.sub(r"\[ *\d+\.\d+\] ", "", line) for line in got if "out" in line or "kernel" in line]
        self.assertEqual(shown, [line for i in "123" for line in
                                 (f"[stdout] out{i}", f"[console] kernel {i}")], got)


if __name__ == "__main__":
    harness.main()
