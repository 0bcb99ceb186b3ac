# SPDX-License-Identifier: MIT
"""Commands that a program runs (kind exec with run): bytes, ends, signals, limits, terminals, many at once."""
import os
import unittest

import harness
import programs
import runs
from harness import read, text, wait_for, write
from programs import ExecTest
from runs import local_processes


class Runs(runs.RunTools, ExecTest):
    """One instance; its commands are those of a shell of this host."""

    pools = {"a": {"run": "env >\"$POOLFS_DIRECTORY/run.env\"; exec sh -c \"$1\"\n", "files": "~/here",
                   "create": "mkdir -p here/there\n"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.instance = cls.make("a")
        cls.home = cls.mount.directory_of("a", "a") / "exec"

    def test_exact_bytes(self):
        every = "".join(f"\\{byte:03o}" for byte in range(256))
        out, err, status, state = self.result(f"printf '{every}'; printf 'e\\000r' >&2; exit 7")
        self.assertEqual((out, err, status, state), (bytes(range(256)), b"e\0r", 7, "exited"))

    def test_the_text_is_not_changed(self):
        text_ = "cat <<'X'\n$HOME \"it's\" `no` \\\\ *\n\ttab  ; \nX\nprintf '%s|' \"a'b\""
        self.assertEqual(self.result(text_)[0], b"$HOME \"it's\" `no` \\\\ *\n\ttab  ; \na'b|")

    def test_much_output(self):
        out, err, _, _ = self.result("head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait")
        self.assertEqual((out, err), (bytes(3000000), bytes(2000000)))

    def test_statuses_and_signals(self):
        for command, expected in {"exit 255": (255, "exited"), "kill -9 $$": (137, "signaled"),
                                  "kill -TERM $$": (143, "signaled"), "no-such-command": (127, "exited")}.items():
            self.assertEqual(self.result(command)[2:], expected)

    def test_input(self):
        run = self.start("wc -c; echo done")
        with open(run / "stdin", "wb", buffering=0) as stdin:
            for _ in range(40):
                stdin.write(bytes(25000))
        self.assertEqual(read(run / "output"), b"1000000\ndone\n")
        self.assertEqual(self.result("cat; echo end")[0], b"end\n")

    def test_directory_and_environment(self):
        self.assertEqual(self.result("pwd")[0], f"{self.home}/here\n".encode())
        self.assertEqual(self.result("pwd", cwd="there")[0], f"{self.home}/here/there\n".encode())
        self.assertEqual(self.result("pwd", cwd="/")[0], b"/\n")
        _, err, status, _ = self.result("echo ran", cwd="-gone")
        self.assertEqual(status, 255)
        self.assertIn(b"-gone", err)
        out = self.result("echo \"$WORD\"; echo $PATH", environment="WORD=it's $HOME \"x\"\nPATH=/bin:/usr/bin\n"
                                                                     "LD_PRELOAD=/tmp/no-such.so\n")[0]
        self.assertEqual(out, b"it's $HOME \"x\"\n/bin:/usr/bin\n")
        # The program on the host has nothing of it.
        found = programs.environment(text(self.home / "run.env"))
        self.assertNotIn("WORD", found)
        self.assertNotIn("LD_PRELOAD", found)
        self.assertNotEqual(found["PATH"], "/bin:/usr/bin")
        self.assertEqual(found["POOLFS_PROGRAM"], "run")

    def test_longest_text(self):
        longest = "echo " + "x" * (131071 - 5)
        for free in (len("cd './here' || exit 255; "), len("cd './here' || exit 255; ") - 1, 0):
            self.assertEqual(self.result(longest[:131071 - free])[0], b"x" * (131071 - 5 - free) + b"\n")

    def test_longer_with_environment_and_directory(self):
        body = "cat <<'X'\n" + "it's $HOME \\ `no`\n" * 6800 + "X\n"
        expected = body[len("cat <<'X'\n"):-len("X\n")].encode()
        script = body + "pwd; echo \"$WORD\" \"${#LONG}\" ${poolfs-none}; wc -c; exit 7\n\n"
        settings = {"cwd": "there", "environment": f"WORD=it's $HOME\nLONG={'y' * 60000}\n"}
        self.assertLess(len(script), 131072)
        tail = f"{self.home}/here/there\nit's $HOME 60000 none\n".encode()
        self.assertEqual(self.result(script, **settings), (expected + tail + b"0\n", b"", 7, "exited"))
        run = self.start(script, **settings)
        with open(run / "stdin", "wb", buffering=0) as stdin:
            for _ in range(40):
                stdin.write(bytes(25000))
        self.assertEqual(read(run / "output"), expected + tail + b"1000000\n")
        run = self.quiet(script, tty="80x24", **settings)
        self.assertEqual(self.ended(run), (255, "lost"))
        wait_for(lambda: "and has a terminal: it is not run" in text(self.instance / "log"), "the reason")

    def processes_of(self, script, **settings):
        """Starts something that leaves its session; the run, and the word by which its processes are found."""
        word = runs.token()
        run = self.quiet(script.replace("@", word), **settings)
        wait_for(lambda: len(local_processes(word)) >= 3, "its processes")
        return run, word

    hiding = "trap '' TERM; (setsid env -i sleep @ &); setsid sh -c 'env -i sleep @ & wait' & sleep @; wait"

    def test_time_limit(self):
        run, word = self.processes_of(self.hiding, timeout="1")
        self.assertEqual(self.ended(run), (124, "timeout"))
        self.assertEqual(local_processes(word), [])

    def test_stop(self):
        run, word = self.processes_of(self.hiding)
        write(run / "ctl", "stop")
        self.assertEqual(self.ended(run)[1], "stopped")
        self.assertEqual(local_processes(word), [])

    def test_signals_reach_all(self):
        run = self.quiet("sh -c 'trap \"echo inner; exit\" USR1; while :; do sleep 0.05; done' & trap 'echo outer' USR1; "
                         "echo up; wait; wait; echo end")
        self.put_out(run, b"up\n")
        wait_for(lambda: len(self.below(run)) >= 2, "both shells")
        write(run / "ctl", "signal USR1")
        # The shell tells of its `sleep`, too.
        self.assertLessEqual({b"up", b"inner", b"outer", b"end"}, set(read(run / "output").splitlines()))

    def below(self, run):
        return local_processes("echo inner")

    def test_terminal(self):
        run = self.start("stty size; test -t 0 && test -t 1 && test -t 2 && echo yes; echo $TERM; read x; echo got $x",
                         tty="100x30")
        self.put_out(run, b"yes")
        write(run / "stdin", "hello\n")
        lines = read(run / "output").replace(b"\r", b"").split(b"\n")
        self.assertEqual(lines[:3], [b"30 100", b"yes", b"xterm"])
        self.assertIn(b"got hello", lines)

    def test_what_goes_on_is_not_waited_for(self):
        word = runs.token()
        self.assertEqual(self.result(f"sleep {word} >/dev/null 2>&1 & echo off")[0], b"off\n")
        self.assertEqual(len(local_processes(word)), 1)
        os.kill(local_processes(word)[0], 9)

    def test_a_hundred_at_once(self):
        word = runs.token()
        started = [self.quiet(f"echo {i}; while [ ! -e go.{word} ]; do sleep 0.1; done; exit {i}") for i in range(100)]
        for i, run in enumerate(started):
            self.put_out(run, f"{i}\n".encode())
        (self.home / f"here/go.{word}").touch()
        self.assertEqual([self.ended(run)[0] for run in started], list(range(100)))

    def test_a_flood_that_nobody_reads(self):
        run = self.quiet("yes", timeout="1")
        self.assertEqual(self.ended(run), (124, "timeout"))


if __name__ == "__main__":
    harness.main()
