# SPDX-License-Identifier: MIT
"""Writing to cmd: however a program writes, it makes one run with exactly that text."""
import errno
import os
import shutil
import socket
import subprocess
import tempfile

import harness
from harness import read, sh, text, write

# How programs write. $C is cmd; the texts of the runs that it makes.
SHELL_WAYS = [
    ("echo true >$C", ["true\n"]),
    ("echo true >>$C", ["true\n"]),
    ("printf true >$C", ["true"]),
    ("printf 'true\\n:\\n\\ntrue\\n' >$C", ["true\n:\n\ntrue\n"]),
    ("echo 'true\n:\ntrue' >$C", ["true\n:\ntrue\n"]),
    ("cat >$C <<'X'\ntrue \"$HOME\" \\\n  '$x'\nX\n", ["true \"$HOME\" \\\n  '$x'\n"]),
    ("echo true | cat >$C", ["true\n"]),
    ("echo true | tee $C >/dev/null", ["true\n"]),
    ("echo true | dd of=$C status=none", ["true\n"]),
    ("printf 'true\\n' >$D/s; cp $D/s $C", ["true\n"]),
    ("printf 'true\\n' >$D/s; dd if=$D/s of=$C bs=2 status=none", ["true\n"]),
    ("printf 'true\\n' >$D/s; cat $D/s >$C", ["true\n"]),
    ("for i in 1 2 3; do echo : $i; done >$C", [": 1\n: 2\n: 3\n"]),
    ("{ echo : a; /bin/true; echo : b; } >$C", [": a\n: b\n"]),
    ("{ echo : a; /bin/echo : b; echo : c; } >$C", [": a\n: b\n: c\n"]),
    ("{ /bin/echo : a; /bin/echo : b; } >$C", [": a\n", ": b\n"]),
    ("(echo : a; echo : b) >$C", [": a\n: b\n"]),
    ("(echo : a; (echo : b); echo : c) >$C", [": a\n: b\n: c\n"]),
    ("exec 3>$C; echo : a >&3; echo : b >&3", [": a\n", ": b\n"]),
    ("exec 3>$C; /bin/true; echo : a >&3; /bin/true; exec 3>&-; echo : b >$C", [": a\n", ": b\n"]),
    ("exec 3<>$C; echo : a >&3; read -r n <&3; echo : b >&3; read -r m <&3; "
     "[ $((n + 1)) = $m ]", [": a\n", ": b\n"]),
    ("exec 3<>$C; echo : a >&3; n=$(cat <&3); [ -d ${C%cmd}runs/$n ]", [": a\n"]),
    ("set -e; echo true >$C; echo : b >$C", ["true\n", ": b\n"]),
    # What writes nothing runs nothing.
    (": >$C", []),
    ("printf '' >$C", []),
    ("touch $C", []),
    ("truncate -s 0 $C", []),
    ("cat $C; chmod 600 $C; dd if=/dev/null of=$C status=none", []),
]

PYTHON_WAYS = [
    ("open(C, 'w').write('true')", ["true"]),
    ("with open(C, 'w') as f: f.write(': a\\n'); f.write(': b\\n')", [": a\n: b\n"]),
    ("with open(C, 'wb', 0) as f: f.write(b': a\\n'); f.write(b': b')", [": a\n: b"]),
    ("with open(C, 'w', 1) as f: f.write(': a\\n'); f.write(': b\\n')", [": a\n: b\n"]),
    ("with open(C, 'a') as f: f.write('true')", ["true"]),
    ("with open(C, 'w') as f: f.write(': a\\n'); f.flush(); os.fsync(f.fileno()); f.write(': b\\n')",
     [": a\n", ": b\n"]),
    ("with open(C, 'w') as f:\n for i in range(5000): f.write(f': {i}\\n')",
     ["".join(f": {i}\n" for i in range(5000))]),
    ("f = open(C, 'r+')\nf.write(': a'); f.flush(); n = int(f.read())\n"
     "f.write(': b'); f.flush(); assert int(f.read()) == n + 1", [": a", ": b"]),
    ("f = open(C, 'r+b', 0)\nf.write(b': a'); n = int(f.read())\n"
     "f.write(b': b'); assert int(f.read()) == n + 1; assert f.read() == b''", [": a", ": b"]),
    ("f = os.open(C, os.O_RDWR)\nos.write(f, b': a'); n = os.pread(f, 99, 0)\n"
     "assert os.pread(f, 99, 0) == n and int(n) > 0", [": a"]),
    ("import subprocess\nf = open(C, 'w')\n"
     "for i in 'ab': subprocess.run(['echo', ':', i], stdout=f)", [": a\n", ": b\n"]),
    ("import shutil; open(D + '/s', 'w').write('true'); shutil.copyfile(D + '/s', C)", ["true"]),
    ("f = os.open(C, os.O_WRONLY)\nos.write(f, b': a'); g = os.dup(f); os.close(f)\n"
     "os.write(g, b': b')", [": a", ": b"]),
]


class Commands(harness.SshTest):
    """One instance; the runs' numbers tell how many runs each way of writing made."""

    keys = {"runs_kept": 10000, "queue_limit": 1000}

    def setUp(self):
        self.instance = self.new("host")
        self.cmd = self.instance / "cmd"
        self.environment = dict(os.environ, C=str(self.cmd), D=str(self.mount.base))

    def number(self):
        """A new run's number: all that was written before has a smaller one."""
        with open(self.cmd, "r+b", buffering=0) as cmd:
            cmd.write(b":")
            return int(cmd.read())

    def check(self, act, expected, what):
        """The texts of the runs that act() makes."""
        first = self.number()
        act()
        last = self.number()
        texts = [text(self.instance / f"runs/{i}/cmd") for i in range(first + 1, last)]
        self.assertEqual(texts, expected, what)

    def each_way(self, ways, *program):
        for script, expected in ways:
            with self.subTest(script):
                self.check(lambda: subprocess.run([*program, script], env=self.environment,
                                                  check=True, timeout=harness.PATIENCE),
                           expected, script)

    def test_dash(self):
        self.each_way(SHELL_WAYS, "dash" if shutil.which("dash") else "sh", "-c")

    def test_bash(self):
        if not shutil.which("bash"):
            self.skipTest("no bash")
        self.each_way(SHELL_WAYS, "bash", "-c")

    def test_busybox(self):
        if not shutil.which("busybox"):
            self.skipTest("no busybox")
        self.each_way(SHELL_WAYS, "busybox", "sh", "-c")

    def test_python(self):
        head = "import os\nC, D = os.environ['C'], os.environ['D']\n"
        self.each_way([(head + script, expected) for script, expected in PYTHON_WAYS],
                      "python3", "-c")

    def test_vim(self):
        if not shutil.which("vim"):
            self.skipTest("no vim")
        vim = ["vim", "-u", "NONE", "-es", "-c", "normal itrue", "-c", "wq!", self.cmd]
        self.check(lambda: subprocess.run(vim, timeout=harness.PATIENCE, env=self.environment,
                                          stdin=subprocess.DEVNULL), ["true\n"], "vim")

    def test_noclobber(self):
        script = "set -C; echo true >|$C; if (echo true >$C) 2>/dev/null; then exit 1; fi"
        self.each_way([(script, ["true\n"])], "dash" if shutil.which("dash") else "sh", "-c")

    def test_tools_that_replace_the_file_are_refused(self):
        script = ("if sed -i s/a/b/ $C; then exit 1; fi; if install $D/log $C; then exit 1; fi; "
                  "if mv $D/log $C; then exit 1; fi; if ln -f $D/log $C; then exit 1; fi; "
                  "if rm -f $C; then exit 1; fi")
        self.check(lambda: sh("{ " + script + "; } 2>/dev/null", env=self.environment), [], script)

    def test_reading_runs_nothing(self):
        def act():
            for script in ("cat $C", "cp $C $D/copy", "wc -c <$C", "tail -c +1 $C", "grep -r x $C",
                           "tar cf $D/t $C 2>/dev/null"):
                sh(script, check=False, env=self.environment)
            self.assertEqual(read(self.cmd), b"")
        self.check(act, [], "reading")

    def got_by_shell(self, command):
        """What the login's shell got as its argument, told by itself."""
        output, status = self.run_in(self.instance, b"cat /proc/$$/cmdline; exit 7\n" + command)
        self.assertEqual(status, 7)
        return output

    def test_every_byte_reaches_the_shell(self):
        every = bytes(range(1, 256)) * 3 + b"'\"\\$(`x`)\n\n\t \\\n#"
        got = self.got_by_shell(every)
        self.assertTrue(got.rstrip(b"\0").endswith(b"exit 7\n" + every), got)

    def test_long_texts(self):
        for size in (1000, 30000, 40000, 131000):
            tail = b"x" * (size - 100) + b" 'end"
            got = self.got_by_shell(tail)
            self.assertTrue(got.rstrip(b"\0").endswith(b"exit 7\n" + tail), size)

    def test_longest_text(self):
        longest = b"exit 9 #".ljust(131071, b"x")
        self.assertEqual(self.run_in(self.instance, longest), (b"", 9))

        def act():
            for shell in ("dash", "bash"):
                if shutil.which(shell):
                    write(self.mount.base / "long", longest + b"\ntrue\ntrue")
                    # A shell's echo writes in pieces: nothing of it may run.
                    self.assertEqual(subprocess.run([shell, "-c", "echo \"$(cat $D/long)\" >$C"],
                                                    env=self.environment, stderr=subprocess.PIPE,
                                                    timeout=harness.PATIENCE).returncode > 0, True)
        self.check(act, [], "too long")

    def refusal(self, data):
        with self.assertRaises(OSError) as caught:
            write(self.cmd, data)
        return errno.errorcode[caught.exception.errno]

    def test_refused_texts(self):
        def act():
            self.assertEqual(self.refusal(b"x" * 131072), "EFBIG")
            self.assertEqual(self.refusal(b"true\0"), "EINVAL")
            file = os.open(self.cmd, os.O_WRONLY)
            os.write(file, b"touch wrong\n")
            for data in (b"a\0", b"touch wrong"): # the rest of it is refused too
                self.assertRaises(OSError, os.write, file, data)
            os.close(file)
            file = os.open(self.cmd, os.O_WRONLY)
            self.assertRaises(OSError, os.write, file, b"a\0")
            self.assertRaises(OSError, os.write, file, b"touch wrong")
            os.fsync(file)
            os.write(file, b"true")
            os.close(file)
        self.check(act, ["true"], "refused texts")

    def test_named_run(self):
        run = self.instance / "runs/build"
        run.mkdir()
        self.assertEqual(text(run / "state"), "queued\n")
        self.assertEqual(read(run / "cmd"), b"")
        one, other = (os.open(run / "cmd", os.O_WRONLY) for _ in range(2))
        os.write(one, b"echo ")
        with self.assertRaises(OSError) as caught:
            os.write(other, b"wrong")
        self.assertEqual(caught.exception.errno, errno.EBUSY)
        os.write(one, b"right")
        os.close(one)
        os.close(other)
        self.assertEqual((read(run / "output"), read(run / "exit")), (b"right\n", b"0\n"))
        self.assertEqual(read(run / "cmd"), b"echo right")
        with self.assertRaises(OSError) as caught:
            write(run / "cmd", "again")
        self.assertEqual(caught.exception.errno, errno.EBUSY)
        self.assertNotEqual(subprocess.run(["sh", "-c", f"echo again >{run}/cmd"],
                                           stderr=subprocess.DEVNULL).returncode, 0)
        self.assertEqual(os.readlink(self.instance / "last"), "runs/build")
        self.assertEqual(read(self.instance / "last/output"), b"right\n")

    def test_names_of_runs(self):
        runs = self.instance / "runs"
        for name, error in (("17", "EINVAL"), ("-x", "EINVAL"), ("a b", "EINVAL"),
                            (".x", "EINVAL"), ("n" * 64, "EINVAL")):
            with self.subTest(name):
                with self.assertRaises(OSError) as caught:
                    (runs / name).mkdir()
                self.assertEqual(errno.errorcode[caught.exception.errno], error)
        longest = runs / ("n" * 63)
        longest.mkdir()
        self.assertRaises(FileExistsError, longest.mkdir)
        write(longest / "cmd", "echo yes")
        self.assertEqual(read(longest / "output"), b"yes\n")
        longest.rmdir()
        self.assertRaises(FileNotFoundError, longest.rmdir)


class Queue(harness.MountTest):
    """An instance that never gets ready, as its server says nothing: nothing of its queue starts."""

    @classmethod
    def configure(cls):
        silent = socket.create_server(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        files = tempfile.mkdtemp(prefix="poolfs-test.")
        cls.addClassCleanup(silent.close)
        cls.addClassCleanup(shutil.rmtree, files)
        sh(f"ssh-keygen -q -t ed25519 -N '' -f {files}/id; "
           f"echo \"[127.0.0.1]:{port} $(cut -d' ' -f1,2 {files}/id.pub)\" >{files}/known_hosts")
        return (f"[pool silent]\ntype = ssh\nhost = 127.0.0.1\nssh_port = {port}\nqueue_limit = 3\n"
                f"ssh_key = {files}/id\nknown_hosts = {files}/known_hosts\n")

    def test_queue_limit(self):
        instance = self.new("silent", ready=False)
        for _ in range(3):
            write(instance / "cmd", "true")
        with self.assertRaises(BlockingIOError):
            write(instance / "cmd", "true")
        with self.assertRaises(BlockingIOError):
            (instance / "runs/x").mkdir()
        self.assertEqual(sorted(os.listdir(instance / "runs")), ["1", "2", "3"])
        self.assertIn("runs_queued 3\n", text(instance / "status"))
        (instance / "runs/2").rmdir()
        write(instance / "cmd", "true")
        self.assertEqual(sorted(os.listdir(instance / "runs")), ["1", "3", "4"])

    def test_what_was_taken_runs(self):
        """Two writers whose texts were taken, with room for one run."""
        instance = self.new("silent", ready=False)
        write(instance / "cmd", "true")
        files = [os.open(instance / "cmd", os.O_WRONLY) for _ in range(3)]
        for file in files:
            self.assertEqual(os.write(file, b"true"), 4)
        for file in files:
            os.close(file)
        self.assertEqual(sorted(os.listdir(instance / "runs")), ["1", "2", "3", "4"])

    def test_stop_of_queued_runs(self):
        instance = self.new("silent", ready=False)
        write(instance / "cmd", "true")
        (instance / "runs/mine").mkdir()
        for run in ("1", "mine"):
            write(instance / "runs" / run / "ctl", "stop\n")
            self.assertEqual(text(instance / "runs" / run / "exit"), "255\n")
            self.assertEqual(text(instance / "runs" / run / "state"), "stopped\n")
        with self.assertRaises(OSError) as caught:
            write(instance / "runs/mine/cmd", "true")
        self.assertEqual(caught.exception.errno, errno.EBUSY)


if __name__ == "__main__":
    harness.main()
