# SPDX-License-Identifier: MIT
"""Every login shell gets the text as it was written, and whatever a run is set to."""
import os
import pathlib
import shutil
import unittest

import harness
import runs
from harness import read, text, write

SCRIPT = """# a comment
f() {
	echo "in f: $1"
}
f 'it'"'"'s'
cat <<END
here: $((1 + 2)) \\$x `echo back`
END
for i in 1 2
do echo $i
done; echo "two
lines" \\
	continued; exit 7"""
PRINTED = b"in f: it's\nhere: 3 $x back\n1\n2\ntwo\nlines continued\n"


class Shells:
    """For one instance with any shell."""

    longest = 131071

    def test_scripts(self):
        for end in ("", "\n", "\n\n# end\n"):
            self.assertEqual(self.result(SCRIPT + end), (PRINTED, b"", 7, "exited"))

    def test_long_scripts(self):
        for size in (7000, 9000, 33000, self.longest):
            with self.subTest(size):
                script = ("cat\n" + SCRIPT.replace("exit 7", "exit 8 ")).encode().ljust(size, b"#")
                run = self.start(script.decode(), environment="A=it's\n")
                write(run / "stdin", "input\n")
                self.assertEqual((read(run / "stdout"), self.ended(run)),
                                 (b"input\n" + PRINTED, (8, "exited")))

    def test_refused_texts(self):
        run = self.named()
        self.assertEqual(self.refused(run / "cmd", b"x" * 131072), "EFBIG")
        self.assertEqual(self.refused(run / "cmd", b"echo a\0b"), "EINVAL")
        self.assertEqual(text(run / "state"), "queued\n")
        write(run / "cmd", "exit 2")
        self.assertEqual(self.ended(run), (2, "exited"))

    def test_syntax_errors(self):
        _, err, status, state = self.result("if (")
        self.assertEqual((status > 0, state), (True, "exited"))
        self.assertNotEqual(err, b"")

    def test_variables_that_were_not_set(self):
        """Nothing of what poolfs does shows in the command's parameters."""
        self.assertEqual(self.result("echo $# \"$*\" $-x | sed 's/ .*x$//'; echo ${poolfs_t-none}")[0],
                         b"0\nnone\n")

    def test_stop_of_what_ignores_it(self):
        argument = runs.token()
        run = self.start(f"trap '' TERM; echo up; setsid sleep {argument} & sleep {argument}")
        self.put_out(run, b"up")
        harness.wait_for(lambda: len(self.processes(argument)) > 1, "processes")
        write(run / "ctl", "signal KILL")
        self.assertEqual(self.ended(run), (137, "signaled"))
        harness.wait_for(lambda: not self.processes(argument), "end of the processes")


class HostShell(Shells, runs.HostRuns):
    """An OpenSSH server that runs each command by the shell of the class."""

    shell = None

    @classmethod
    def configure(cls):
        found = shutil.which(cls.shell[0])
        if not found:
            raise unittest.SkipTest(f"no {cls.shell[0]}")
        configuration = super().configure()
        directory = pathlib.Path(cls.sshd.directory)
        shell = directory / cls.shell[-1] # busybox is what it is called as
        os.symlink(found, shell)
        cls.sshd.stop()
        os.environ["SSHD_PORT"] = str(cls.sshd.port)
        os.environ["SSHD_SFTP"] = next((str(path) for path in map(pathlib.Path, (
            "/usr/lib/openssh/sftp-server", "/usr/lib/ssh/sftp-server",
            "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")) if path.exists()), "none")
        try:
            cls.sshd = harness.Sshd(directory, *cls.sshd_config, f"ForceCommand export SHELL={shell}; "
                                    f"exec {shell} -c \"$SSH_ORIGINAL_COMMAND\"")
        finally:
            del os.environ["SSHD_PORT"], os.environ["SSHD_SFTP"]
        return configuration

    def test_it_is_that_shell(self):
        self.assertEqual(self.result("readlink /proc/$$/exe; true")[0].decode().strip(),
                         os.path.realpath(shutil.which(self.shell[0])))


class Bash(HostShell):
    shell = ("bash",)


class Dash(HostShell):
    shell = ("dash",)


class Busybox(HostShell):
    shell = ("busybox", "sh")


class OnGuest(Shells, runs.GuestRuns):
    """A virtual machine: busybox sh and Dropbear."""

    longest = 20000 # its processor is a slow one


del HostShell, Shells # they are no tests themselves


if __name__ == "__main__":
    harness.main()
