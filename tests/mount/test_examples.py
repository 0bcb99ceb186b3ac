# SPDX-License-Identifier: MIT
"""The examples in docs/examples, run as they are."""
import os
import shutil
import signal
import subprocess
import sys
import unittest

import harness
import runs
from harness import PATIENCE, wait_for

EXAMPLES = harness.TOP / "docs/examples"


class Examples(runs.HostRuns):
    """Two instances."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = cls.mount.path / "host/b"
        cls.other.mkdir()

    def tearDown(self):
        for instance in (self.instance, self.other): # they clean up behind themselves
            self.assertEqual([name for name in os.listdir(instance / "runs")], [])

    def call(self, *words):
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE)
        return done.stdout, done.stderr, done.returncode

    def interrupt(self, signals, *words):
        """Starts a program that runs COMMAND, sends it a signal; its status."""
        argument = runs.token()
        command = f"echo up; sleep {argument}"
        child = subprocess.Popen([command if word == "COMMAND" else word for word in words],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 start_new_session=True)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.stdout.close)
        self.assertEqual(child.stdout.readline(), b"up\n")
        os.killpg(child.pid, signals) # as a terminal does
        status = child.wait(PATIENCE)
        wait_for(lambda: not runs.local_processes(argument), "end of the command")
        return status

    def shells(self):
        return [shell for shell in ("sh", "bash", "dash") if shutil.which(shell)]

    def test_shell(self):
        for shell in self.shells():
            with self.subTest(shell):
                script = [shell, EXAMPLES / "run.sh", self.instance]
                self.assertEqual(self.call(*script, "echo \"it's\"; echo err >&2; wc -c; exit 7"),
                                 (b"it's\n0\n", b"err\n", 7))
                self.assertEqual(self.call(*script, "true"), (b"", b"", 0))
                self.assertEqual(self.call(*script)[2], 255)

    def test_shell_interrupted(self):
        for shell in self.shells():
            for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
                with self.subTest(shell=shell, signal=number):
                    self.assertIn(self.interrupt(number, shell, EXAMPLES / "run.sh", self.instance,
                                                 "COMMAND"), (status, -number))

    def test_python(self):
        script = [sys.executable, EXAMPLES / "run.py"]
        self.assertEqual(self.call(*script, "echo out; wc -c; exit 5", self.instance),
                         (b"out\n0\n", b"", 5))
        out, err, status = self.call(*script, "pwd >/dev/null; echo out; sleep 0.3; echo more; exit 6",
                                     self.instance, self.other)
        self.assertEqual((out.decode(), err, status),
                         ("".join(f"== {path}: 6\nout\nmore\n" for path in (self.instance, self.other)),
                          b"", 6))

    def test_python_interrupted(self):
        self.assertEqual(self.interrupt(signal.SIGINT, sys.executable, EXAMPLES / "run.py", "COMMAND",
                                        self.instance), -signal.SIGINT)

    def test_c(self):
        compiler = shutil.which("cc")
        if not compiler:
            raise unittest.SkipTest("no C compiler")
        program = self.mount.base / "run"
        self.assertEqual(self.call(compiler, "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-o", program,
                                   EXAMPLES / "run.c"), (b"", b"", 0))
        out, err, status = self.call(program, "echo one; sleep 0.2; printf two; exit 9",
                                     self.instance, self.other)
        self.assertEqual(sorted(out.decode().splitlines()), sorted(
            f"{path}: {line}" for path in (self.instance, self.other) for line in ("one", "two")))
        self.assertEqual((err, status), (b"", 9))
        self.assertEqual(self.call(program)[2], 255)


if __name__ == "__main__":
    harness.main()
