# SPDX-License-Identifier: MIT
"""Runs end: by themselves, by a signal, at a time limit, by a stop; and nothing of them goes on."""
import concurrent.futures
import os
import signal
import time

import harness
import runs
from harness import read, text, wait_for, write

# Commands that do not end by themselves; T is an argument that no other process has.
ENDLESS = {
    "plain": "sleep T",
    "a child": "sleep T; echo never",
    "children": "sleep T & sleep T & sleep T & wait",
    "grandchildren": "sh -c \"sh -c 'sleep T & wait' & wait\" & wait",
    "ignores TERM": "trap '' TERM; sleep T; sleep T",
    "works on after TERM": "trap 'echo no' TERM; while :; do sleep T & wait; done",
    "a session of its own": "setsid sleep T & wait",
    "a session that ignores TERM": "setsid sh -c 'trap \"\" TERM; sleep T; sleep T' & wait",
    "a background process holds the output": "sleep T & echo out",
    "a daemon holds the output": "(setsid sleep T &) ; echo out",
    "output is closed": "exec <&- >&- 2>&-; sleep T",
    "detached from everything": "setsid sleep T <&- >&- 2>&- & exec >&- 2>&-; sleep T",
    "detached, with a clean environment": "(env -i setsid sleep T <&- >/dev/null 2>&1 &); sleep T",
    "reads its input": "cat; sleep T",
    "floods its output": "yes T",
    "floods its errors": "yes T >&2",
}


class Endings:
    """For one instance on any kind of machine."""

    endless = ENDLESS

    def begin_all(self, **settings):
        """Starts all commands at once; which run has which argument."""
        begun = {}
        for what, command in self.endless.items():
            argument = runs.token()
            begun[what] = (self.start(command.replace("T", argument)
                                      .replace(argument + "ERM", "TERM"), **settings), argument)
        return begun

    def check_all(self, begun, expected, states):
        """All end as expected, and none of their processes is there by then."""
        endings = {what: self.ended(run) for what, (run, _) in begun.items()}
        for what, (_, argument) in begun.items():
            with self.subTest(what):
                status, state = endings[what]
                self.assertIn(state, states)
                self.assertIn(status, expected)
                self.assertEqual(self.processes(argument), [])

    def test_stop(self):
        begun = self.begin_all()
        for what, (run, argument) in begun.items():
            self.running(run)
            wait_for(lambda a=argument: self.processes(a), f"{what}: processes")
        argument = runs.token()
        removed = self.start(f"trap '' TERM; setsid sleep {argument} & sleep {argument}")
        wait_for(lambda: len(self.processes(argument)) >= 2, "processes")
        removed.rmdir()
        for run, _ in begun.values():
            for verb in ("stop\n", "stop", "signal TERM"): # the second and third do no harm
                write(run / "ctl", verb)
        self.check_all(begun, (255, 128 + signal.SIGTERM, 128 + signal.SIGKILL), ("stopped",))
        wait_for(lambda: not self.processes(argument), "end of the processes after rmdir")
        for run, _ in begun.values():
            ending = self.ended(run)
            for verb in ("stop", "signal KILL", "signal 9", "stop\n"):
                write(run / "ctl", verb)
            self.assertEqual(self.ended(run), ending)

    def test_time_limit(self):
        begin = time.monotonic()
        begun = self.begin_all(timeout="1.5")
        self.check_all(begun, (124,), ("timeout",))
        self.assertGreater(time.monotonic() - begin, 1.5)

    def test_signal_reaches_all(self):
        """A shell, its child, a grandchild, and one in a session of its own."""
        catch = "trap \"echo NAME; exit\" USR1; echo up; while :; do sleep 0.05; done"
        script = "\n".join([f"sh -c '{catch.replace('NAME', 'child')}' &",
                            f"sh -c 'sh -c \"$0\" & wait; wait' '{catch.replace('NAME', 'grandchild')}' &",
                            f"setsid sh -c '{catch.replace('NAME', 'session')}' &",
                            catch.replace("NAME", "shell").replace("exit", "wait; exit 7")])
        run = self.quiet(script.replace("sh -c 'sh", "trap : USR1; sh -c 'trap : USR1; sh"))
        wait_for(lambda: runs.so_far(run / "output").count(b"up\n") == 4, "start of all")
        write(run / "ctl", "signal USR1\n")
        self.assertEqual(self.ended(run), (7, "exited"))
        self.assertEqual(sorted(set(read(run / "stdout").decode().split()) - {"up"}),
                         ["child", "grandchild", "session", "shell"])

    def test_signals_by_any_name(self):
        for name in ("INT", "SIGHUP", "15", "KILL"):
            with self.subTest(name):
                argument = runs.token()
                run = self.start(f"echo up; exec sleep {argument}")
                self.put_out(run, b"up")
                write(run / "ctl", f"signal {name}")
                number = int(name) if name.isdigit() else \
                    getattr(signal, "SIG" + name.removeprefix("SIG"))
                self.assertEqual(self.ended(run), (128 + number, "signaled"))

    def test_signal_that_is_caught(self):
        run = self.quiet("trap 'echo got' INT; echo up; while :; do sleep 0.05; done")
        self.put_out(run, b"up")
        for count in (1, 2):
            write(run / "ctl", "signal INT")
            wait_for(lambda c=count: runs.so_far(run / "output").count(b"got") == c, "the signal")
        self.assertEqual(text(run / "state"), "running\n")
        write(run / "ctl", "stop")
        self.assertEqual(self.ended(run)[1], "stopped")

    def test_stopped_and_continued(self):
        run = self.quiet("trap 'exit 4' TERM; echo up; while :; do echo .; sleep 0.05; done")
        self.put_out(run, b"up")
        write(run / "ctl", "signal STOP")
        write(run / "ctl", "signal CONT")
        write(run / "ctl", "signal TERM")
        self.assertEqual(self.ended(run), (4, "exited"))

    def test_output_is_there_before_the_status(self):
        size = 300000
        command = f"head -c {size} /dev/zero; printf last; printf late >&2; exit 9"
        for run in [self.quiet(command) for _ in range(20)]:
            self.assertEqual(text(run / "exit"), "9\n")
            self.assertEqual(os.stat(run / "output").st_size, size + 8)
            self.assertEqual(read(run / "stdout")[-4:], b"last")
            self.assertEqual(read(run / "stderr"), b"late")

    def test_output_of_the_last_moment(self):
        """What a trap says during a stop still arrives."""
        run = self.quiet("trap 'sleep 0.3; echo bye; exit 3' TERM; echo up; "
                         "while :; do sleep 0.05; done")
        self.put_out(run, b"up")
        write(run / "ctl", "stop")
        self.assertEqual(self.ended(run), (255, "stopped"))
        self.assertEqual(read(run / "stdout"), b"up\nbye\n")

    def test_works_on_with_closed_output(self):
        out, err, status, state = self.result("echo a; exec >&- 2>&-; sleep 0.5; exit 5")
        self.assertEqual((out, err, status, state), (b"a\n", b"", 5, "exited"))

    def test_statuses(self):
        for status in (0, 1, 2, 124, 127, 128, 137, 255):
            self.assertEqual(self.result(f"exit {status}")[2:], (status, "exited"))

    def test_ended_by_its_own_signal(self):
        for name in ("TERM", "KILL", "INT", "ABRT", "PIPE"):
            with self.subTest(name):
                number = getattr(signal, "SIG" + name)
                self.assertEqual(self.result(f"kill -{name} $$; sleep 5")[2:],
                                 (128 + number, "signaled"))


# By its state such a process has ended, and it has not.
HEADLESS = ("setsid python3 -c 'import ctypes, time, _thread; _thread.start_new_thread(time.sleep, (1000,)); "
            "ctypes.CDLL(None).pthread_exit(None)' T & wait")


class OnServer(Endings, runs.HostRuns):
    """An OpenSSH server and this machine's shell."""

    endless = {**ENDLESS, "its first thread has ended": HEADLESS}

    def test_before_start(self):
        for verb, expected in (("signal USR1", None), ("stop", "stopped")):
            run = self.named()
            write(run / "ctl", verb)
            if expected:
                self.assertEqual(self.ended(run), (255, expected))
                self.assertEqual(self.refused(run / "cmd", "true"), "EBUSY")
                self.assertEqual(read(run / "output"), b"")
                write(run / "ctl", verb)
            else:
                write(run / "cmd", "exit 3")
                self.assertEqual(self.ended(run), (3, "exited"))

    def test_unknown_verbs(self):
        waiting, over = self.named(), self.quiet("true")
        self.ended(over)
        for run in (waiting, over):
            self.assertEqual(text(run / "ctl"), "stop\nsignal NAME\n")
            for verb in ("fly", "STOP", "stop stop", "stop\n\n", " stop", "signal", "signal ",
                         "signal NONE", "signal 0", "signal 32", "signal -9", "signal 9x",
                         "signal TERM KILL", "signal sigterm", "signal SIG", "signal \0"):
                self.assertEqual(self.refused(run / "ctl", verb), "EINVAL", verb)
        self.assertEqual(text(waiting / "state"), "queued\n")

    def test_words_of_the_status(self):
        run = self.start("cat; exit 6")
        self.running(run)
        self.assertEqual(text(run / "status"),
                         "state running\noutput_bytes 0\noutput_bytes_dropped 0\n")
        write(run / "stdin", "abc")
        self.assertEqual(self.ended(run), (6, "exited"))
        self.assertEqual(text(run / "status"),
                         "state exited\nexit 6\noutput_bytes 3\noutput_bytes_dropped 0\n")

    def test_limit_that_is_not_reached(self):
        self.assertEqual(self.result("sleep 0.2; exit 2", timeout="60")[2:], (2, "exited"))

    def test_limit_counts_from_the_start(self):
        run = self.named(timeout="1")
        time.sleep(1.2) # a run that has not started has used nothing of it
        write(run / "cmd", "exit 5")
        self.assertEqual(self.ended(run), (5, "exited"))

    def test_limit_of_the_instance(self):
        before = self.named()
        write(self.instance / "timeout", "0.3\n")
        self.addCleanup(write, self.instance / "timeout", "0\n")
        self.assertEqual(text(self.instance / "timeout"), "0.3\n")
        self.assertEqual(text(before / "timeout"), "0\n")
        self.assertEqual(text(self.named() / "timeout"), "0.3\n")
        write(self.instance / "cmd", "sleep 100")
        self.assertEqual(self.ended(self.instance / "last"), (124, "timeout"))
        self.assertEqual(self.result("sleep 0.6; exit 4", timeout="0")[2:], (4, "exited"))

    def test_values_of_the_limit(self):
        run = self.named()
        for written, shown in (("90", "90\n"), ("1.5\n", "1.5\n"), ("0", "0\n"),
                               ("3600000", "3600000\n"), ("0.0001", "0.001\n")):
            write(run / "timeout", written)
            self.assertEqual(text(run / "timeout"), shown)
        for value in ("", "x", "-1", "1 2", "1s", "nan", "inf", "0x10", "3600001", "1\n2", "1\0"):
            if value:
                self.assertEqual(self.refused(run / "timeout", value), "EINVAL", value)
        write(run / "cmd", "true")
        self.assertEqual(self.refused(run / "timeout", "5"), "EBUSY")


class OnGuest(Endings, runs.GuestRuns):
    """A virtual machine: busybox sh and Dropbear."""

    # There a command has ended when its shell has, whoever still holds the output. What floods has
    # a test of its own: with the others it has the processor for itself for long.
    endless = {what: command for what, command in ENDLESS.items()
               if "holds the output" not in what and "floods" not in what}

    def test_floods(self):
        argument = runs.token()
        begun = [self.running(self.start(f"yes {argument}{to}")) for to in ("", " >&2")]
        for run in begun:
            self.put_out(run, argument.encode())
            write(run / "ctl", "stop")
        for run in begun:
            self.assertEqual(self.ended(run)[1], "stopped")
        self.assertEqual(self.processes(argument), [])

    def test_machine_that_ends(self):
        path = self.new("linux", "b")
        write(path / "cmd", "echo up; sleep 1000")
        run = path / os.readlink(path / "last")
        self.put_out(run, b"up")
        for pid in harness.processes_with(self.mount.directory_of("linux", "b")):
            with open(f"/proc/{pid}/comm") as comm:
                if comm.read().startswith("qemu"):
                    os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.ended(run), (255, "lost"))
        self.assertEqual(read(run / "output"), b"up\n")


class PoolKey(runs.RunTools, harness.SshTest):
    """The pool's key `timeout`."""

    keys = {"timeout": "0.4"}

    def test_key(self):
        self.instance = self.new("host")
        self.assertEqual(text(self.instance / "timeout"), "0.4\n")
        run = self.start("sleep 100")
        self.assertEqual(self.ended(run), (124, "timeout"))
        write(self.instance / "cmd", "sleep 100")
        self.assertEqual(self.ended(self.instance / "last"), (124, "timeout"))


class Lost(runs.HostRuns):
    """A server that ends."""

    def test_connection_that_is_cut(self):
        argument = runs.token()
        run = self.start(f"echo up; sleep {argument}")
        waiting = concurrent.futures.ThreadPoolExecutor().submit(read, run / "exit")
        self.put_out(run, b"up")
        for pid in runs.local_processes("sshd: "):
            if runs.parent(pid) == self.sshd.pid():
                os.kill(pid, signal.SIGKILL)
        self.assertEqual(waiting.result(harness.PATIENCE), b"255\n")
        self.assertEqual(self.ended(run), (255, "lost"))
        self.assertEqual(read(run / "output"), b"up\n")
        for pid in runs.local_processes(argument):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: text(self.instance / "state") == "ready\n", "new connection")
        self.assertEqual(self.result("exit 3")[2:], (3, "exited"))


if __name__ == "__main__":
    harness.main()
