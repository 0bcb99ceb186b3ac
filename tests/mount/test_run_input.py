# SPDX-License-Identifier: MIT
"""Standard input of runs: streamed, large, with an end, and with commands that do not want it."""
import contextlib
import fcntl
import hashlib
import os
import select
import signal
import subprocess
import sys
import threading

import harness
import runs
from harness import PATIENCE, read, text, wait_for, write

MIB = 1 << 20
# What may be under way between a writer and a command that reads nothing: the daemon's and the
# shim's part, and what an SSH server and its pipe take.
UNDER_WAY = 8 * MIB


def noise(size, seed=0):
    """Bytes in which every piece is unlike all others."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Input:
    """For one instance on any kind of machine."""

    size = 64 * MIB
    text = 100000 # bytes of a long command

    def write_behind(self, path, data):
        """Writes in a thread; the thread."""
        thread = threading.Thread(target=write, args=(path, data), daemon=True)
        thread.start()
        return thread

    def test_large(self):
        data = bytes(self.size)
        run = self.start("wc -c")
        write_all(run / "stdin", data)
        self.assertEqual(read(run / "output").strip(), str(self.size).encode())

    def test_both_directions(self):
        data = noise(self.size)
        run = self.start("cat")
        thread = threading.Thread(target=write_all, args=(run / "stdin", data), daemon=True)
        thread.start()
        got = hashlib.sha256()
        with open(run / "stdout", "rb", buffering=0) as output:
            while piece := output.read(MIB):
                got.update(piece)
        thread.join(PATIENCE)
        self.assertEqual(self.ended(run), (0, "exited"))
        self.assertEqual(os.stat(run / "stdout").st_size, self.size)
        self.assertEqual(got.hexdigest(), digest(data))

    def test_before_and_after_the_command(self):
        run = self.named()
        with open(run / "stdin", "wb", buffering=0) as stdin:
            stdin.write(b"before\n")
            write(run / "cmd", "cat")
            stdin.write(b"after\n")
            self.put_out(run, b"after\n")
            self.assertEqual(text(run / "state"), "running\n")
        self.assertEqual(read(run / "output"), b"before\nafter\n")

    def test_all_before_the_command(self):
        data = noise(256 * 1024)
        run = self.named()
        write(run / "stdin", data)
        self.assertEqual(self.refused(run / "stdin", "more"), "EPIPE")
        write(run / "cmd", "cat; echo end >&2; exit 3")
        self.assertEqual(read(run / "stdout") == data, True)
        self.assertEqual((read(run / "stderr"), self.ended(run)), (b"end\n", (3, "exited")))

    def test_end_comes_with_the_last_writer(self):
        run = self.start("cat; echo end")
        one, two = (os.open(run / "stdin", os.O_WRONLY) for _ in range(2))
        os.write(one, b"one\n")
        os.close(one)
        copy = os.dup(two)
        os.close(two)
        os.write(copy, b"two\n")
        self.put_out(run, b"one\ntwo\n")
        self.assertEqual(text(run / "state"), "running\n")
        os.close(copy)
        self.assertEqual(read(run / "output"), b"one\ntwo\nend\n")

    def test_no_input(self):
        run = self.start("cat; echo end")
        self.running(run)
        harness.sh(f": >{run}/stdin")
        self.assertEqual(read(run / "output"), b"end\n")

    def test_early_end_of_the_reader(self):
        """The command takes one byte and ends, while a writer goes on: it ends too, with an error."""
        run = self.start("head -c1")
        done = subprocess.run(["sh", "-c", f"exec cat /dev/zero >{run}/stdin"], timeout=PATIENCE,
                              stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Broken pipe", done.stderr)
        self.assertEqual(self.ended(run), (0, "exited"))
        self.assertEqual(read(run / "output"), b"\0")
        self.assertEqual(self.refused(run / "stdin", "late"), "EPIPE")
        self.assertIsNone(self.mount.process.poll())

    def test_command_that_does_not_want_it(self):
        run = self.start("exec <&-; read -r x </dev/null; sleep 0.3; echo done; exit 3")
        with contextlib.suppress(BrokenPipeError):
            write_all(run / "stdin", bytes(16 * MIB))
        self.assertEqual(read(run / "output"), b"done\n")
        self.assertEqual(self.ended(run), (3, "exited"))

    def test_script_over_standard_input(self):
        """A text that is too long for a request goes over standard input too."""
        data = noise(MIB)
        run = self.named()
        write(run / "cmd", b"cat\n#".ljust(self.text, b"x") + b"\nexit 3")
        write_all(run / "stdin", data)
        self.assertEqual(digest(read(run / "output")), digest(data))
        self.assertEqual(self.ended(run), (3, "exited"))


def write_all(path, data):
    """Writes in pieces of many sizes."""
    sizes = (1, 100, 4096, 65536, MIB, 300000)
    at = count = 0
    with open(path, "wb", buffering=0) as file:
        while at < len(data):
            at += file.write(data[at:at + sizes[min(count, 5) if count < 6 else 4]])
            count += 1


class OnServer(Input, runs.HostRuns):
    """An OpenSSH server and this machine's shell."""

    def filled(self, run):
        """Writes without waiting until nothing goes any more: (descriptor, what was taken)."""
        fd = os.open(run / "stdin", os.O_WRONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        data, taken, polled = noise(2 * UNDER_WAY), 0, select.poll()
        polled.register(fd, select.POLLOUT)
        while polled.poll(500):
            with contextlib.suppress(BlockingIOError):
                taken += os.write(fd, data[taken:taken + 100000])
            self.assertLess(taken, UNDER_WAY)
        self.assertRaises(BlockingIOError, os.write, fd, b"x")
        return fd, data[:taken]

    def test_writes_that_do_not_wait(self):
        go = self.mount.base / "go"
        run = self.start(f"until [ -e {go} ]; do sleep 0.02; done; cat | sha256sum")
        fd, taken = self.filled(run)
        polled = select.poll()
        polled.register(fd, select.POLLOUT)
        self.assertEqual(polled.poll(0), [])
        go.touch()
        self.assertEqual(polled.poll(PATIENCE * 1000), [(fd, select.POLLOUT)])
        os.set_blocking(fd, True)
        os.write(fd, b"more")
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        os.close(os.dup(fd)) # not the last close
        self.assertEqual(text(run / "state"), "running\n")
        null = os.open("/dev/null", os.O_WRONLY)
        os.dup2(null, fd)
        os.close(null)
        self.assertEqual(read(run / "output").split()[0].decode(), digest(taken + b"more"))
        go.unlink()

    def test_poll_tells_the_end(self):
        run = self.start("sleep 1; exec true")
        fd, _ = self.filled(run)
        polled = select.poll()
        polled.register(fd, select.POLLOUT)
        self.assertTrue(polled.poll(PATIENCE * 1000)[0][1] & select.POLLERR)
        self.assertRaises(BrokenPipeError, os.write, fd, b"x")

    def test_before_the_command_there_is_a_limit(self):
        run = self.named()
        fd = os.open(run / "stdin", os.O_WRONLY | os.O_NONBLOCK)
        data = noise(400000)
        taken = os.write(fd, data)
        self.assertEqual(taken, 256 * 1024)
        self.assertRaises(BlockingIOError, os.write, fd, b"x")
        self.assertEqual(select.select([], [fd], [], 0), ([], [], []))
        write(run / "cmd", "sha256sum")
        self.assertEqual(select.select([], [fd], [], PATIENCE)[1], [fd])
        os.set_blocking(fd, True)
        os.write(fd, data[taken:])
        os.close(fd)
        self.assertEqual(read(run / "output").split()[0].decode(), digest(data))

    def test_interrupted_writer_loses_nothing(self):
        """A writer that a signal interrupts every few milliseconds: each byte arrives once."""
        run = self.start(f"exec {sys.executable} -c '{SLOW_READER}'")
        data = noise(8 * MIB)
        writer = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(run / "stdin"),
                                   str(len(data))])
        self.addCleanup(writer.kill)
        self.assertEqual(writer.wait(PATIENCE), 0)
        self.assertEqual(read(run / "output").decode().strip(), digest(data))

    def test_killed_writer(self):
        run = self.start("sleep 1; wc -c")
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={run}/stdin", "bs=1M",
                                   "count=64"], stderr=subprocess.DEVNULL)
        self.addCleanup(writer.wait)
        wait_for(lambda: waits(writer.pid, run / "stdin"), "wait of the writer")
        writer.kill()
        self.assertEqual(writer.wait(5), -signal.SIGKILL)
        count = int(read(run / "output"))
        self.assertTrue(0 < count < UNDER_WAY, count)

    def test_numbered_runs_have_none(self):
        self.assertEqual(self.run_in(self.instance, "cat; echo $?"), (b"0\n", 0))
        self.assertEqual(self.refused(self.instance / "last/stdin", "x"), "EPIPE")

    def test_readers_are_no_writers(self):
        run = self.start("cat; echo end")
        self.running(run)
        self.assertEqual(read(run / "stdin"), b"")
        self.assertEqual(text(run / "state"), "running\n")
        write(run / "stdin", "in\n")
        self.assertEqual(read(run / "output"), b"in\nend\n")

    def test_stop_frees_the_writer(self):
        run = self.start(f"sleep {runs.token()}")
        writer = subprocess.Popen(["cp", "/dev/zero", run / "stdin"], stderr=subprocess.PIPE)
        wait_for(lambda: waits(writer.pid, run / "stdin"), "wait of the writer")
        write(run / "ctl", "stop")
        self.assertEqual(self.ended(run)[1], "stopped")
        self.assertIn(b"Broken pipe", writer.communicate(timeout=PATIENCE)[1])

    def test_rmdir_frees_the_writer(self):
        run = self.named()
        writer = subprocess.Popen(["cp", "/dev/zero", run / "stdin"], stderr=subprocess.PIPE)
        wait_for(lambda: waits(writer.pid, run / "stdin"), "wait of the writer")
        run.rmdir()
        self.assertIn(b"Broken pipe", writer.communicate(timeout=PATIENCE)[1])


# Writes the noise of the given size, interrupted all the time.
INTERRUPTED = """
import hashlib, os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
data = hashlib.shake_128(b"0").digest(int(sys.argv[2]))
fd = os.open(sys.argv[1], os.O_WRONLY)
signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
at = short = 0
while at < len(data):
    count = os.write(fd, data[at:at + 1000000])
    short += count < min(1000000, len(data) - at)
    at += count
signal.setitimer(signal.ITIMER_REAL, 0)
os.close(fd)
sys.exit(0 if short else 9)
"""

SLOW_READER = """
import hashlib, sys, time
got = hashlib.sha256()
while piece := sys.stdin.buffer.raw.read(65536):
    got.update(piece)
    time.sleep(0.002)
print(got.hexdigest())
"""


def waits(pid, path):
    """Whether a process that has the file open sleeps."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            asleep = stat.read().rpartition(")")[2].split()[0] == "S"
        return asleep and str(path) in map(os.readlink, (f"/proc/{pid}/fd/{fd}" for fd in
                                                        os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return False


class OnGuest(Input, runs.GuestRuns):
    """A virtual machine: busybox sh and Dropbear; its processor is a slow one."""

    size = 4 * MIB
    text = 12000


if __name__ == "__main__":
    harness.main()
