# SPDX-License-Identifier: MIT
"""poolfs --scan-console: output, exit status and errors. test_scan_console.py POOLFS"""
import os
import subprocess
import sys
import tempfile
import unittest

POOLFS = sys.argv.pop(1)
HERE = os.path.dirname(os.path.abspath(__file__))
WARNING = ("[    1.000000] before\n"
           "[    1.000001] WARNING: CPU: 0 PID: 1 at a.c:1 slot_a+0x1/0x2\n"
           "[    1.000002] ---[ end trace 0000000000000000 ]---\n"
           "after\n")


def scan(*arguments, data=None):
    done = subprocess.run([POOLFS, *arguments], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class ScanConsole(unittest.TestCase):
    def file(self, text):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(text)
        self.addCleanup(os.unlink, file.name)
        return file.name

    def test_report(self):
        status, out, err = scan("--scan-console", self.file(WARNING))
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, "WARNING in slot_a\n" + WARNING.replace("after\n", "\n"))

    def test_standard_input(self):
        two = WARNING + WARNING.replace("slot_a", "slot_b")
        self.assertEqual(scan("--scan-console", "--title", data=two.encode()),
                         (0, "WARNING in slot_a\nWARNING in slot_b\n", ""))

    def test_reports_come_while_input_is_open(self):
        with subprocess.Popen([POOLFS, "--scan-console", "--title"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            process.stdin.write(WARNING.encode())
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"WARNING in slot_a\n")
            process.stdin.close()
            self.assertEqual(process.wait(60), 0)

    def test_nothing(self):
        self.assertEqual(scan("--scan-console", self.file("all is well\n")), (1, "", ""))
        self.assertEqual(scan("--scan-console", data=b""), (1, "", ""))

    def test_control_characters(self):
        data = b"[    1.000000] BUG: x \x1b]0;evil\x07\xc2\x9b end\n"
        status, out, _ = scan("--scan-console", data=data)
        self.assertEqual(status, 0)
        self.assertTrue(all(c == "\n" or c.isprintable() for c in out), out)
        self.assertIn("\\x1b]0;evil\\x07", out)

    def test_errors(self):
        for arguments in (["--scan-console", "/no/such/file"], ["--scan-console", "/"],
                          ["--scan-console", "a", "b"], ["--title"], ["--crash-patterns", "x"],
                          ["--scan-console", "--crash-patterns", "/no/such/file"]):
            status, out, err = scan(*arguments, data=b"")
            self.assertEqual((status, out), (2, ""), arguments)
            self.assertTrue(err.startswith("poolfs: "), arguments)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([POOLFS, "--scan-console", self.file(WARNING)], stdout=full,
                                  stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"standard output", done.stderr)

    def test_own_patterns(self):
        own = self.file("fatal ^panic: (.*)\n\ttitle BSD panic: $1\nexcept slot_a\n")
        data = WARNING.encode() + b"panic: page fault\n"
        self.assertEqual(scan("--scan-console", "--title", "--crash-patterns", own, data=data),
                         (0, "BSD panic: page fault\n", ""))

    def test_wrong_patterns_are_named_with_their_line(self):
        for line, what in (("fatal a(", "parenthesis"), ("fatal abc", "4 or more"),
                           ("fatal abcd|efgh", "4 or more"), ("fatal (?i)abcdef", "4 or more"),
                           ("title x", "no rule before"), ("frame ^foo", "group"),
                           ("fatall abcdef", "none of the words"), ("fatal", "needs something"),
                           ("fatal (a)(b)(c)(d)(e)(f)(g)(h)(i)(j)abcd", "at most 9")):
            own = self.file("# a comment\n\n" + line + "\n")
            status, _, err = scan("--scan-console", "--crash-patterns", own, data=b"")
            self.assertEqual(status, 2, line)
            self.assertIn(f"{own}:3: ", err, line)
            self.assertIn(what, err, line)

    def test_include(self):
        inner = self.file("fatal ^inner panic\n")
        outer = self.file(f"include {os.path.basename(inner)}\n")
        self.assertEqual(scan("--scan-console", "--title", "--crash-patterns", outer,
                              data=b"inner panic\n")[:2], (0, "inner panic\n"))
        own = self.file("")
        with open(own, "w") as file:
            file.write(f"include {own}\n")
        self.assertIn("deep", scan("--scan-console", "--crash-patterns", own, data=b"")[2])


if __name__ == "__main__":
    unittest.main()
