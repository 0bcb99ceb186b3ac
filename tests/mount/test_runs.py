# SPDX-License-Identifier: MIT
"""Runs: their output, their end, stopping and forgetting them."""
import errno
import os
import pathlib
import signal
import subprocess
import threading

import harness
from harness import alive, read, sh, text, wait_for, write

# Bytes that no text mode leaves alone.
BINARY = bytes(range(256)) * 64


class Runs(harness.SshTest):
    """One instance, whose login is a shell of this machine: what it does can be watched here."""

    keys = {"runs_kept": 1000, "output_limit": "1M", "queue_limit": 1000}

    def setUp(self):
        self.instance = self.new("host")
        self.runs = self.instance / "runs"
        self.scratch = self.mount.base

    def start(self, command):
        """Starts a run; returns its directory."""
        with open(self.instance / "cmd", "r+b", buffering=0) as cmd:
            cmd.write(command.encode())
            return self.runs / cmd.read().decode().strip()

    def run_it(self, command):
        """Runs to the end: (stdout, stderr, exit, state)."""
        run = self.start(command)
        status = int(text(run / "exit"))
        return read(run / "stdout"), read(run / "stderr"), status, text(run / "state").strip()

    def started_pid(self, name):
        """The pid that a command wrote to a file of this machine."""
        path = self.scratch / name
        return int(wait_for(lambda: path.exists() and path.read_text().endswith("\n") and
                            path.read_text(), f"{name}"))

    def test_exit_statuses(self):
        runs = {status: self.start(f"exit {status}") for status in range(256)}
        for status, run in runs.items():
            self.assertEqual((text(run / "exit"), text(run / "state")), (f"{status}\n", "exited\n"))

    def test_signals(self):
        for name in ("TERM", "KILL", "INT", "SEGV"):
            number = getattr(signal, "SIG" + name)
            with self.subTest(name):
                _, _, status, state = self.run_it(f"kill -{name} $$; read never")
                self.assertEqual((status, state), (128 + number, "signaled"))

    def test_streams_are_apart_and_exact(self):
        (self.scratch / "binary").write_bytes(BINARY)
        out, err, status, _ = self.run_it(
            f"cat {self.scratch}/binary; cat {self.scratch}/binary {self.scratch}/binary >&2; exit 3")
        self.assertEqual((out, err, status), (BINARY, BINARY * 2, 3))

    def test_no_output_and_no_last_newline(self):
        self.assertEqual(self.run_it("true")[:2], (b"", b""))
        self.assertEqual(self.run_it("printf a; printf b >&2")[:2], (b"a", b"b"))

    def test_order(self):
        run = self.start("for i in 1 2 3; do echo out$i; sleep 0.05; echo err$i >&2; sleep 0.05; done")
        self.assertEqual(text(run / "output"),
                         "".join(f"out{i}\nerr{i}\n" for i in (1, 2, 3)))
        self.assertEqual(text(run / "stdout"), "out1\nout2\nout3\n")
        self.assertEqual(text(run / "stderr"), "err1\nerr2\nerr3\n")

    def test_stderr_begins_late(self):
        half = 300000
        run = self.start(f"head -c {half} /dev/zero | tr '\\0' a; sleep 0.1; printf x >&2; sleep 0.1; "
                         f"head -c {half} /dev/zero | tr '\\0' b")
        with open(run / "stdout", "rb", buffering=0) as follows: # reads across the seam
            pieces = b"".join(iter(lambda: follows.read(10007), b""))
        expected = b"a" * half + b"b" * half
        self.assertEqual(pieces == expected, True, (len(pieces), pieces[-1:]))
        self.assertEqual(read(run / "stdout") == expected, True)
        self.assertEqual(read(run / "stderr"), b"x")
        self.assertEqual(read(run / "output") == b"a" * half + b"x" + b"b" * half, True)
        for name, size in (("stdout", 2 * half), ("stderr", 1), ("output", 2 * half + 1)):
            self.assertEqual(os.stat(run / name).st_size, size)

    def test_closed_output_is_not_the_end(self):
        out, _, status, _ = self.run_it("echo a; exec >&- 2>&-; sleep 0.3; exit 5")
        self.assertEqual((out, status), (b"a\n", 5))

    def test_standard_input_is_at_its_end(self):
        self.assertEqual(self.run_it("cat; wc -c; exit 4")[::2], (b"0\n", 4))

    def test_more_than_the_limit(self):
        lines = 400000 # 7 bytes each
        command = f"seq -f %06g {lines}"
        run = self.start(command)
        self.assertEqual(text(run / "exit"), "0\n")
        got = read(run / "output").decode()
        self.assertRegex(got, r"^\[poolfs: [0-9]+ bytes dropped\]\n")
        record, _, kept = got.partition("\n")
        dropped = int(record.split()[1])
        self.assertEqual(dropped + len(kept), lines * 7)
        self.assertLessEqual(len(kept), 1 << 20)
        self.assertGreater(len(kept), 1 << 18)
        self.assertTrue("".join(f"{i:06}\n" for i in range(1, lines + 1)).endswith(kept))
        self.assertEqual(read(run / "stdout").decode(), got)
        self.assertEqual(os.stat(run / "output").st_size, lines * 7)

    def test_limit_with_both_streams(self):
        run = self.start("seq -f %06g 100000; seq -f %06g 200000 >&2; seq -f %06g 100000")
        self.assertEqual(text(run / "exit"), "0\n")
        for name in ("stdout", "stderr", "output"):
            with self.subTest(name):
                record, _, kept = text(run / name).partition("\n")
                dropped = int(record.split()[1])
                self.assertEqual(dropped + len(kept), os.stat(run / name).st_size)
        self.assertTrue(text(run / "stdout").endswith("099999\n100000\n"))
        self.assertTrue(text(run / "stderr").endswith("199999\n200000\n"))

    def test_readers_follow(self):
        go = self.scratch / "go"
        run = self.start(f"echo one; while [ ! -e {go} ]; do sleep 0.02; done; echo two")
        results = []
        readers = [threading.Thread(target=lambda: results.append(read(run / "output")))
                   for _ in range(5)]
        for reader in readers:
            reader.start()
        with open(run / "output", "rb", buffering=0) as early:
            self.assertEqual(early.read(100), b"one\n")
            self.assertEqual(text(run / "state"), "running\n")
            os.set_blocking(early.fileno(), False)
            self.assertIsNone(early.read(100)) # EAGAIN
            fd = os.open(run / "exit", os.O_RDONLY | os.O_NONBLOCK)
            self.assertRaises(BlockingIOError, os.read, fd, 10)
            os.close(fd)
            self.assertEqual(os.stat(run / "output").st_size, 4)
            go.touch()
            os.set_blocking(early.fileno(), True)
            self.assertEqual(early.read(100), b"two\n")
            self.assertEqual(early.read(100), b"")
        for reader in readers:
            reader.join(harness.PATIENCE)
        self.assertEqual(results, [b"one\ntwo\n"] * 5)
        self.assertEqual(read(run / "output"), b"one\ntwo\n")
        go.unlink()

    def test_twenty_at_once(self):
        runs = [self.start(f"for i in 1 2 3; do echo {n}; echo e{n} >&2; done; exit {n}")
                for n in range(20)]
        for n, run in enumerate(runs):
            self.assertEqual(text(run / "exit"), f"{n}\n")
            self.assertEqual(text(run / "stdout"), f"{n}\n" * 3)
            self.assertEqual(text(run / "stderr"), f"e{n}\n" * 3)

    def test_before_ready_they_queue(self):
        instance = self.new("host", "b", ready=False)
        for n in range(5):
            write(instance / "cmd", f"echo {n} >>{self.scratch}/order; sleep 0.3")
        write(instance / "cmd", "echo done")
        self.assertEqual(text(instance / "last/output"), "done\n")
        for n in range(1, 6):
            self.assertEqual(text(instance / f"runs/{n}/exit"), "0\n")
        order = (self.scratch / "order").read_text().split()
        self.assertEqual(sorted(order), list("01234"))

    def test_stop(self):
        for way in ("run", "instance", "rmdir"):
            with self.subTest(way):
                run = self.start(f"echo $$ >{self.scratch}/{way}; echo out; "
                                 "while sleep 0.05; do echo more; done")
                pid = self.started_pid(way)
                waiting = subprocess.Popen(["cat", run / "exit"], stdout=subprocess.PIPE)
                wait_for(lambda: os.stat(run / "output").st_size > 4, "output")
                if way == "rmdir":
                    run.rmdir()
                    self.assertFalse(run.exists())
                else:
                    write((run if way == "run" else self.instance) / "ctl", "stop")
                    self.assertEqual(text(run / "state").strip() in ("running", "stopped"), True)
                ended = b"255\n" if way == "rmdir" else b"143\n"
                self.assertEqual(waiting.communicate(timeout=harness.PATIENCE)[0], ended)
                if way != "rmdir":
                    self.assertEqual(text(run / "state"), "stopped\n")
                    self.assertTrue(text(run / "output").startswith("out\nmore\n"))
                    write(run / "ctl", "stop\n") # harmless
                wait_for(lambda: not alive(pid), "end of the command in the guest")

    def test_no_command_outlives_its_instance(self):
        instance = self.new("host", "short")
        write(instance / "cmd", f"trap '' TERM HUP; echo $$ >{self.scratch}/silent; "
                                f"setsid sleep 999 & echo $! >{self.scratch}/child; wait")
        pids = [self.started_pid("silent"), self.started_pid("child")]
        instance.rmdir()
        wait_for(lambda: not any(alive(pid) for pid in pids), "end of the commands")

    def test_unknown_verbs(self):
        run = self.start("true")
        for path, verbs in ((run / "ctl", "stop\nsignal NAME\n"), (self.instance / "ctl", "stop\n")):
            self.assertEqual(text(path), verbs)
            for verb in ("fly", "", "stop stop", "STOP", "stop\n\n", "signal"):
                if not verb:
                    continue
                with self.assertRaises(OSError) as caught:
                    write(path, verb)
                self.assertEqual(caught.exception.errno, errno.EINVAL, verb)

    def test_last(self):
        self.assertFalse(os.path.lexists(self.instance / "last"))
        one, two = self.start("echo one"), self.start("echo two")
        (self.runs / "waits").mkdir() # is not started
        self.assertEqual(os.readlink(self.instance / "last"), f"runs/{two.name}")
        two.rmdir()
        self.assertEqual(os.readlink(self.instance / "last"), f"runs/{one.name}")
        one.rmdir()
        self.assertFalse(os.path.lexists(self.instance / "last"))

    def test_open_files_of_a_forgotten_run(self):
        run = self.start("echo out; echo err >&2; exit 3")
        self.assertEqual(text(run / "exit"), "3\n")
        files = {name: os.open(run / name, os.O_RDONLY)
                 for name in ("output", "stdout", "stderr", "exit", "state", "cmd")}
        self.assertEqual(os.read(files["stderr"], 2), b"er") # one was begun
        run.rmdir()
        self.number_of_next_run() # the shim has heard of it by the time that this one ended
        self.assertEqual(os.read(files["stdout"], 99), b"out\n")
        self.assertEqual(sorted(os.read(files["output"], 99).split()), [b"err", b"out"])
        self.assertEqual(os.read(files["stderr"], 99), b"r\n")
        self.assertEqual(os.pread(files["stderr"], 99, 0), b"err\n")
        self.assertEqual(os.read(files["exit"], 99), b"3\n")
        for name in ("state", "cmd"):
            with self.assertRaises(OSError) as caught:
                os.read(files[name], 99)
            self.assertEqual(caught.exception.errno, errno.ENODEV)
        for file in files.values():
            os.close(file)

    def number_of_next_run(self):
        run = self.start("true")
        self.assertEqual(text(run / "exit"), "0\n")
        return int(run.name)

    def test_descriptors_do_not_leak(self):
        def count():
            pids = (self.mount.process.pid, self.mount.shim_pid("host", "a"))
            return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]

        def use():
            run = self.start("echo a; echo b >&2")
            self.assertEqual(sorted(read(run / "output").split()), [b"a", b"b"])
            self.assertEqual((read(run / "stdout"), read(run / "stderr")), (b"a\n", b"b\n"))
            return run
        for _ in range(10):
            use()
        before = count()
        runs = [use() for _ in range(200)]
        for run in runs[:100]:
            run.rmdir()
        wait_for(lambda: all(now <= then + 3 for now, then in zip(count(), before)),
                 f"return to {before} descriptors", 10)


class Kept(harness.SshTest):
    """Old runs are forgotten."""

    keys = {"runs_kept": 3}

    def test_runs_kept(self):
        instance = self.new("host")
        (instance / "runs/mine").mkdir()
        write(instance / "runs/mine/cmd", "echo mine")
        self.assertEqual(text(instance / "runs/mine/exit"), "0\n")
        opened = None
        for n in range(1, 11):
            self.assertEqual(self.run_in(instance, f"echo {n}"), (f"{n}\n".encode(), 0))
            if n == 1:
                opened = open(instance / "runs/1/output", "rb", buffering=0)
        names = set(os.listdir(instance / "runs"))
        self.assertEqual(names, {"mine", "8", "9", "10"})
        self.assertEqual(opened.read(99), b"1\n")
        opened.close()
        self.assertEqual(os.readlink(instance / "last"), "runs/10")
        directory = self.mount.directory_of("host", "a")
        wait_for(lambda: len(list(directory.glob("run.*.output"))) == 4, "removal of the spools")
        self.assertEqual(read(instance / "runs/mine/output"), b"mine\n")
        self.assertRaises(FileNotFoundError, read, instance / "runs/1/output")


class Readers(harness.SshTest):
    """Processes that wait in a read die when they are told to, and never in state D."""

    def state(self, pid):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    def waiting(self, path, *program):
        """A process that waits in a read of a file."""
        child = subprocess.Popen([*(program or ("cat",)), path], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        wait_for(lambda: any(os.path.samefile(f"/proc/{child.pid}/fd/{fd}", path)
                             for fd in os.listdir(f"/proc/{child.pid}/fd")
                             if os.path.exists(f"/proc/{child.pid}/fd/{fd}")), "open file")
        wait_for(lambda: self.state(child.pid) == "S", "wait")
        return child

    def test_signals(self):
        instance = self.new("host")
        run = instance / "runs/long"
        run.mkdir()
        paths = [run / "output", run / "stdout", run / "stderr", run / "exit",
                 self.mount.path / "events.follow"]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGQUIT):
            for path in paths:
                with self.subTest(signal=number, path=path.name):
                    child = self.waiting(path)
                    child.send_signal(number)
                    self.assertEqual(child.wait(harness.PATIENCE), -number)

    def test_stop_and_continue(self):
        instance = self.new("host")
        run = instance / "runs/long"
        run.mkdir()
        child = subprocess.Popen(["cat", run / "output"], stdout=subprocess.PIPE)
        self.addCleanup(child.kill)
        wait_for(lambda: self.state(child.pid) == "S", "wait")
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: self.state(child.pid) == "T", "stop", 5)
        child.send_signal(signal.SIGCONT)
        wait_for(lambda: self.state(child.pid) == "S", "wait", 5)
        write(run / "cmd", "echo yes")
        self.assertEqual(child.communicate(timeout=harness.PATIENCE)[0], b"yes\n")

    def test_many_waiting_readers_hinder_nobody(self):
        instance = self.new("host")
        run = instance / "runs/long"
        run.mkdir()
        children = [self.waiting(run / name) for name in ("output", "exit") for _ in range(20)]
        sh(f"ls -lR {instance} >/dev/null; cat {instance}/state", timeout=10)
        self.assertEqual(self.run_in(instance, "echo hi"), (b"hi\n", 0))
        run.rmdir()
        for child in children:
            self.assertEqual(child.wait(5), 0)


if __name__ == "__main__":
    harness.main()
