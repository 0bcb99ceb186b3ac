# SPDX-License-Identifier: MIT
"""The suite finds what is wrong: each fault of a backend is played, and must be told."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mount"))

import harness  # noqa: E402


# Programs that run a command wrongly, and the test that must tell.
WRONG = {
    'sh -c "$1"; exit 0': "Ends.test_statuses",
    'exec sh -c "$1" 2>&1': "Output.test_any_byte_on_both_outputs",
    'sh -c "$1" | cat': "Output.test_end_of_the_output_is_not_the_end",
    'exec sh -c "$(echo $1)"': "Text.test_quotes_and_bytes",
    'exec sh -c "$1" </dev/null': "Given.test_input",
    'cd /; exec sh -c "$1"': "Given.test_directory",
    'exec setsid sh -c "$1" | cat': "Given.test_terminal",
    'trap "" TERM; sh -c "$1"': "Ends.test_signals_that_end_a_command",
}


class Finds(unittest.TestCase):
    """Logins on one server, whose pool does something that it must not."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="poolfs-finds.")
        cls.addClassCleanup(directory.cleanup)
        cls.base = pathlib.Path(directory.name)
        cls.server = harness.Sshd(cls.base / "sshd")
        cls.addClassCleanup(cls.server.stop)

    def config(self, name, **keys):
        path = self.base / f"{name}.ini"
        path.write_text(f"[poolfs]\nworkdir = {self.base}/work\n"
                        + harness.ssh_pool(self.server, "lab", **keys))
        return path

    def leaving(self, name, script):
        """A pool whose consoles are read by a script, which has ended before a machine is ready."""
        done = self.base / f"{name}.done"
        return self.config(name, console=f"exec:{script}; touch {done}",
                           startup=f"until [ -e {done} ]; do sleep 0.1; done")

    def suite(self, *words, status=1):
        """Runs the suite; what it says."""
        done = subprocess.run([sys.executable, "-B", HERE / "conformance.py", "--poolfs",
                               harness.POOLFS, *words], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=3 * harness.PATIENCE)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stderr

    def test_nothing(self):
        self.suite(self.config("good"), "lab", "-k", "Making.test_ready", status=0)

    def test_process_that_is_left(self):
        """One that fled from its parents, its session and its terminal."""
        config = self.leaving("flees", "setsid -f sleep 987 </dev/null >/dev/null 2>&1")
        said = self.suite(config, "lab", "-k", "Making.test_ready", "--patience", "5")
        self.assertRegex(said, r"FAIL: a process is left: \d+: sleep 987")

    def test_socket_and_file_that_are_left(self):
        script = ("import os, socket; socket.socket(socket.AF_UNIX).bind(os.environ['TMPDIR'] + '/left')")
        config = self.leaving("leaves", f"{sys.executable} -c \"{script}\"")
        said = self.suite(config, "lab", "-k", "Making.test_ready", "--patience", "5")
        self.assertRegex(said, r"FAIL: a file is left: \S+/left")

    def test_step_that_does_not_fail(self):
        good = self.config("good")
        said = self.suite(good, "lab", "-k", "Create.", "--break", f"create={good}", "--patience", "5")
        self.assertIn("FAIL: test_is_told (ends.Create.test_is_told)", said)

    def test_machine_that_lacks_what_is_listed(self):
        config = self.config("bare", startup="true", files="/nonexistent/directory")
        said = self.suite(config, "lab", "-k", "Files.test_write", "--patience", "5")
        self.assertIn("FAILED", said)

    def test_commands_that_are_run_wrongly(self):
        script = self.base / "run"
        config = self.base / "programs.ini"
        config.write_text(f"[poolfs]\nworkdir = {self.base}/work\n[pool lab]\ntype = exec\n"
                          f"run = {script}\n")
        script.write_text("#!/bin/sh\nexec sh -c \"$1\"\n")
        script.chmod(0o755)
        words = [config, "lab"]
        for test in WRONG.values():
            words += ["-k", test]
        self.suite(*words, status=0)
        for wrong, test in WRONG.items():
            with self.subTest(wrong):
                script.write_text(f"#!/bin/sh\n{wrong}\n")
                self.assertRegex(self.suite(config, "lab", "--patience", "2", "-k", test),
                                 "(FAIL|ERROR): " + test.partition(".")[2])

    def test_wrong_calls(self):
        for words in ([], [self.config("good")], [self.config("good"), "lab", "--break", "create"],
                      [self.config("good"), "lab", "--break", "nonsense=x"]):
            self.assertIn("usage:", self.suite(*words, status=2))
        self.assertIn("has no pool", self.suite(self.config("good"), "nothing"))


if __name__ == "__main__":
    harness.main()
