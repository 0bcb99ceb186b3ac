# SPDX-License-Identifier: MIT
"""Commands: what they are given, what they give, and how they end."""
import random

import lab
from lab import error_of, read, text, write

ALL_BYTES = bytes(range(256))


def octal(data):
    """Bytes as printf(1) takes them."""
    return "".join(f"\\{byte:03o}" for byte in data)


class Commands(lab.Case):
    """Of kinds that run commands."""

    def setUp(self):
        super().setUp()
        self.need("runs")


class Output(Commands):
    """What comes out."""

    def test_any_byte_on_both_outputs(self):
        out, err, status, state = self.result(f"printf '{octal(ALL_BYTES)}'; "
                                              f"printf '{octal(ALL_BYTES[::-1])}' >&2")
        self.assertEqual((out, err, status, state), (ALL_BYTES, ALL_BYTES[::-1], 0, "exited"))

    def test_no_output(self):
        self.assertEqual(self.result(":"), (b"", b"", 0, "exited"))

    def test_much_output(self):
        piece = "0123456789abcdef" * 512
        self.assertEqual(self.says(f"i=0; while [ $i -lt 400 ]; do echo {piece}; i=$((i+1)); done"),
                         f"{piece}\n".encode() * 400)

    def test_output_comes_before_the_end(self):
        run = self.start("echo early; read line; echo $line", stdin=None)
        self.put_out(run, b"early\n")
        self.assertEqual(text(run / "state"), "running\n")
        write(run / "stdin", "late\n")
        self.assertEqual(read(run / "stdout"), b"early\nlate\n")

    def test_end_of_the_output_is_not_the_end(self):
        out, err, status, state = self.result("exec >&- 2>&-; sleep 0.3; exit 9")
        self.assertEqual((out, err, status, state), (b"", b"", 9, "exited"))


class Text(Commands):
    """The command's text arrives as it is."""

    def test_quotes_and_bytes(self):
        line = b"$HOME `x` \\ \" ' * ~ ! # %s \t \xff\xfe \xc3\xa4 {a,b}"
        self.assertEqual(self.says(b"cat <<'E'\n" + line + b"\nE\n"), line + b"\n")

    def test_lines(self):
        self.assertEqual(self.says("f() {\n\techo one\n}\n\nf\n# no more\necho two"), b"one\ntwo\n")

    def test_long(self):
        self.assertEqual(self.says("x=" + "y" * 100000 + "; echo ${#x}"), b"100000\n")

    def test_zero_byte(self):
        self.assertEqual(error_of(write, self.instance / "cmd", b"echo a\0b"), "EINVAL")


class Given(Commands):
    """What a command finds: input, environment, directory, terminal."""

    def test_input(self):
        data = random.randbytes(300000) + ALL_BYTES
        self.assertEqual(self.result("cat; echo end", stdin=data)[:3], (data + b"end\n", b"", 0))

    def test_input_that_nobody_wants(self):
        run = self.start("exec <&-; echo done", stdin=None)
        self.assertIn(error_of(write, run / "stdin", bytes(1000000)), (None, "EPIPE"))
        self.assertEqual(read(run / "stdout"), b"done\n")
        self.assertEqual(text(run / "exit"), "0\n")

    def test_input_of_a_numbered_run_is_at_its_end(self):
        with open(self.instance / "cmd", "r+b", buffering=0) as cmd:
            cmd.write(b"cat; echo end")
            run = self.instance / "runs" / cmd.read().decode().strip()
        self.assertEqual(read(run / "stdout"), b"end\n")

    def test_environment(self):
        lines = "PLAIN=1\nQUOTED=it's \"x\" $HOME `y` \\ ;\nEMPTY=\nPLAIN=2\n"
        self.assertEqual(self.says('echo "$PLAIN|$QUOTED|$EMPTY|"', environment=lines),
                         b"2|it's \"x\" $HOME `y` \\ ;||\n")

    def test_directory(self):
        name = "dir with 'quotes'"
        home = self.says('mkdir "dir with \'quotes\'"; pwd')
        self.addCleanup(self.says, 'rmdir "dir with \'quotes\'"')
        self.assertEqual(self.says("pwd", cwd=name), home[:-1] + b"/" + name.encode() + b"\n")
        self.assertEqual(self.says("pwd", cwd="/"), b"/\n")
        out, _, status, _ = self.result("echo no", cwd="not/there")
        self.assertEqual((out, status), (b"", 255))

    def test_terminal(self):
        if not (self.instance / "tty").exists():
            self.skipTest("commands have no terminals here")
        run = self.start("test -t 0 && test -t 1 && echo terminal; read x; echo got-$x; exit 6",
                         stdin=None, tty="90x33")
        self.put_out(run, b"terminal\r?\n")
        write(run / "stdin", b"hello\n")
        self.assertRegex(read(run / "output"), rb"got-hello\r?\n")
        self.assertEqual(text(run / "exit"), "6\n")

    def test_no_terminal(self):
        self.assertEqual(self.says("test -t 0 || test -t 1 || test -t 2 || echo none"), b"none\n")


class Ends(Commands):
    """How commands end."""

    # A command that says the number of its shell and of another process, and ends by itself late.
    long = "sleep 1000 & echo $$ $! up; wait"

    def long_run(self, **settings):
        """Starts it; the run and both numbers."""
        run = self.start(self.long, **settings)
        return run, [int(pid) for pid in self.put_out(run, rb"(\d+) (\d+) up").groups()]

    def ended(self, run):
        return int(text(run / "exit")), text(run / "state").strip()

    def test_statuses(self):
        for status in (0, 1, 3, 124, 125, 200, 254, 255):
            self.assertEqual(self.result(f"exit {status}")[2:], (status, "exited"))
        self.assertEqual(self.result("no-such-program-x")[2:], (127, "exited"))

    def test_signals_that_end_a_command(self):
        for name, status in (("TERM", 143), ("KILL", 137), ("INT", 130)):
            self.assertEqual(self.result(f"kill -{name} $$; sleep 1000")[2:], (status, "signaled"))

    def test_signal_to_a_run(self):
        run = self.start("trap 'echo caught; exit 7' USR1; echo up; "
                         "while :; do sleep 0.05; done")
        self.put_out(run, b"up\n")
        write(run / "ctl", "signal USR1\n")
        self.assertEqual(self.ended(run), (7, "exited"))
        self.assertIn(b"caught\n", read(run / "stdout"))

    def test_stop(self):
        run, pids = self.long_run()
        write(run / "ctl", "stop\n")
        self.assertEqual(self.ended(run), (143, "stopped"))
        self.no_process(*pids)

    def test_stop_of_what_ignores_it(self):
        run = self.start("trap '' TERM; echo $$ up; while :; do sleep 0.2; done")
        pid = int(self.put_out(run, rb"(\d+) up").group(1))
        write(run / "ctl", "stop\n")
        self.assertEqual(self.ended(run), (137, "stopped"))
        self.no_process(pid)

    def test_stop_before_the_start(self):
        run = self.instance / "runs" / "unstarted"
        run.mkdir()
        write(run / "ctl", "stop\n")
        self.assertEqual(error_of(write, run / "cmd", "true"), "EBUSY")
        self.assertEqual(text(run / "state"), "stopped\n")
        run.rmdir()

    def test_rmdir_of_a_run(self):
        run, pids = self.long_run()
        self.quickly(run.rmdir)
        self.no_process(*pids)

    def test_time_limit(self):
        run, pids = self.long_run(timeout="2")
        self.assertEqual(self.ended(run), (124, "timeout"))
        self.no_process(*pids)
        self.assertEqual(self.result("exit 3", timeout="1000")[2:], (3, "exited"))

    def test_stop_of_all(self):
        runs = [self.long_run() for _ in range(3)]
        write(self.instance / "ctl", "stop\n")
        for run, pids in runs:
            self.assertEqual(self.ended(run)[1], "stopped")
            self.no_process(*pids)

    def test_fifty_at_once(self):
        runs = [self.start(f"sleep 0.2; echo {number}; echo {number} >&2; exit {number}")
                for number in range(50)]
        for number, run in enumerate(runs):
            self.assertEqual((read(run / "stdout"), read(run / "stderr"), *self.ended(run)),
                             (f"{number}\n".encode(), f"{number}\n".encode(), number, "exited"))


CASES = (Output, Text, Given, Ends)
