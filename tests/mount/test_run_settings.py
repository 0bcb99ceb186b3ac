# SPDX-License-Identifier: MIT
"""What a run starts with: environment, directory, terminal; its own and the instance's."""
import os

import harness
import runs
from harness import read, text, wait_for, write

VALUES = {
    "QUOTES": "it's \"quoted\" ''",
    "SPACES": "  two  spaces  ",
    "EXPANSIONS": "$HOME ${x} $(id) `id` $((1)) \\ \\n *",
    "LETTERS": "é ß 漢字 \u0301",
    "EMPTY": "",
    "EQUALS": "a=b=c",
    "_1": "#;|&<>!~\t\x01",
    "LONG": "x" * 5000,
}


class Settings:
    """For one instance on any kind of machine."""

    def test_environment(self):
        run = self.named(environment="".join(f"{k}={v}\n" for k, v in VALUES.items()))
        shown = "; ".join(f"printf '%s\\0' \"${key}\"" for key in VALUES)
        write(run / "cmd", shown + "; env -u x sh -c 'echo \"$LETTERS\"'")
        self.assertEqual(read(run / "stdout").decode(),
                         "".join(f"{v}\0" for v in VALUES.values()) + VALUES["LETTERS"] + "\n")

    def test_environment_of_a_long_text(self):
        """A text that is too long for a request goes another way than its environment."""
        run = self.named(environment="A=it's $x\nSHELL=/nowhere\nPATH=/nowhere:/bin:/usr/bin\n")
        write(run / "cmd", "echo \"$A\" $SHELL $PATH\n".ljust(60000, "#"))
        self.assertEqual(read(run / "output"), b"it's $x /nowhere /nowhere:/bin:/usr/bin\n")

    def test_order_of_the_environment(self):
        self.assertEqual(self.result("echo $A $B", environment="A=1\nB=2\nA=3")[0], b"3 2\n")

    def test_directory(self):
        out, _, status, _ = self.result("pwd; mkdir -p \"sub/a b'c\" -- -x")
        home = out.decode().strip()
        self.assertEqual(status, 0)
        for cwd, expected in (("", home), ("sub", home + "/sub"), ("sub/a b'c\n", home + "/sub/a b'c"),
                              ("/tmp", "/tmp"), ("/", "/"), ("-x", home + "/-x"), (".", home)):
            with self.subTest(cwd):
                run = self.named()
                if cwd:
                    write(run / "cwd", cwd)
                self.assertEqual(text(run / "cwd"), cwd.strip() + "\n" if cwd else "")
                write(run / "cmd", "pwd")
                self.assertEqual(read(run / "output").decode(), expected + "\n")

    def test_directory_that_is_not_there(self):
        for cwd in ("missing", "/missing/$x", "/dev/null"):
            with self.subTest(cwd):
                out, err, status, state = self.result("echo ran", cwd=cwd)
                self.assertEqual((out, status, state), (b"", 255, "exited"))
                self.assertIn(cwd.encode(), err)

    def test_terminal(self):
        self.assertEqual(self.result("test -t 0 || echo none; test -t 1 || echo none")[0],
                         b"none\nnone\n")
        run = self.start("test -t 0 && test -t 1 && test -t 2 && stty size; echo err >&2; exit 4",
                         tty="100x50")
        self.assertEqual(self.ended(run), (4, "exited"))
        self.assertEqual(read(run / "stdout"), b"50 100\r\nerr\r\n")
        self.assertEqual(read(run / "stderr"), b"")

    def test_terminal_with_a_long_text(self):
        run = self.start("stty size; echo a#\n".ljust(60000, "#"), tty="90x20")
        self.assertEqual(read(run / "output"), b"20 90\r\na#\r\n")

    def test_terminal_gets_another_size(self):
        run = self.start("trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done", tty="80x24")
        self.put_out(run, b"up")
        write(run / "tty", "132x43\n")
        self.put_out(run, b"43 132\r\n")
        self.assertEqual(text(run / "tty"), "132x43\n")
        for value in ("0", "0x0", "80", "x"):
            self.assertEqual(self.refused(run / "tty", value), "EINVAL")
        write(run / "ctl", "stop")
        self.assertEqual(self.ended(run)[1], "stopped")
        self.assertEqual(self.refused(run / "tty", "80x24"), "EBUSY")

    def test_keys_of_a_terminal(self):
        """Control-C reaches the command as a signal, Control-D as the end of its input."""
        run = self.start("trap 'echo int; got=1' INT; echo up; "
                         "until [ \"$got\" ]; do sleep 0.1; done; cat; exit 5", tty="80x24")
        self.put_out(run, b"up")
        with open(run / "stdin", "wb", buffering=0) as keys:
            keys.write(b"\x03")
            self.put_out(run, b"int")
            keys.write(b"line\n")
            wait_for(lambda: runs.so_far(run / "output").count(b"line\r\n") == 2, "echo and copy")
            keys.write(b"\x04")
            self.assertEqual(self.ended(run), (5, "exited"))


class OnServer(Settings, runs.HostRuns):
    """An OpenSSH server and this machine's shell."""

    def test_adding_to_the_environment(self):
        run = self.named(environment="A=1\n")
        harness.sh(f"echo B=2 >>{run}/environment; printf 'C=' >>{run}/environment; "
                   f"echo 3 >>{run}/environment")
        self.assertEqual(text(run / "environment"), "A=1\nB=2\nC=3\n")
        harness.sh(f"echo D=4 >{run}/environment")
        self.assertEqual(text(run / "environment"), "D=4\n")
        self.assertEqual(os.stat(run / "environment").st_size, 4)

    def test_refused_environment(self):
        run = self.named(environment="KEPT=1\n")
        for line in ("1A=x\n", "A B=x\n", "=x\n", "A\n", "A-B=x\n", "é=x\n", "A=\0\n", "A=1\nB\n"):
            with self.subTest(line):
                fd = os.open(run / "environment", os.O_WRONLY | os.O_APPEND)
                self.assertRaisesRegex(OSError, "Invalid", os.write, fd, line.encode())
                os.close(fd)
        self.assertEqual(text(run / "environment"), "KEPT=1\n")
        self.assertEqual(self.refused(run / "environment", "A=" + "x" * 65536), "EFBIG")
        self.assertEqual(self.refused(run / "environment", b"A=".ljust(65536, b"x")), "EFBIG")
        write(run / "environment", b"A=".ljust(65535, b"x"))
        write(run / "cmd", "echo ${#A}")
        self.assertEqual(read(run / "output"), b"65533\n")

    def test_nothing_changes_after_the_start(self):
        run = self.start("cat", environment="A=1\n", cwd="/", timeout="70")
        for name, value in (("environment", "B=2"), ("cwd", "/tmp"), ("tty", "80x24"),
                            ("timeout", "5")):
            self.assertEqual(self.refused(run / name, value), "EBUSY", name)
        self.assertEqual([text(run / name) for name in ("environment", "cwd", "tty", "timeout")],
                         ["A=1\n", "/\n", "0\n", "70\n"])

    def test_refused_values(self):
        run = self.named()
        for name, values in (("cwd", ("a\nb", "a\0b", "x" * 4097)),
                             ("tty", ("1", "80x", "x24", "80x24x1", "0x24", "80x0", "-1x5", " 80x24",
                                      "10001x24", "80X24"))):
            for value in values:
                self.assertEqual(self.refused(run / name, value), "EINVAL", value)

    def test_defaults_are_copied_at_the_mkdir(self):
        defaults = {"environment": "D=default\n", "cwd": "/\n", "tty": "70x30\n"}
        before = self.named()
        try:
            for name, value in defaults.items():
                write(self.instance / name, value)
            run = self.named()
            for name, value in defaults.items():
                self.assertEqual((text(before / name), text(run / name)),
                                 ("0\n" if name == "tty" else "", value))
            write(self.instance / "cwd", "/tmp")
            write(run / "environment", "E=own\n")
            write(run / "cmd", "echo $D $E; pwd; stty size")
            self.assertEqual(read(run / "output"), b"own\r\n/\r\n30 70\r\n")
            write(self.instance / "tty", "0")
            self.assertEqual(self.run_in(self.instance, "echo $D; pwd"), (b"default\n/tmp\n", 0))
        finally:
            for name, value in (("environment", ""), ("cwd", "\n"), ("tty", "0")):
                with open(self.instance / name, "w") as file:
                    file.write(value)
        self.assertEqual(self.run_in(self.instance, "echo =$D"), (b"=\n", 0))


class OnGuest(Settings, runs.GuestRuns):
    """A virtual machine: busybox sh and Dropbear."""


if __name__ == "__main__":
    harness.main()
