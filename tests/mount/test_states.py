# SPDX-License-Identifier: MIT
"""States of an instance, what waits for them and what must not; and waiting as such."""
import errno
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import harness
from harness import read, sh, text, wait_for, write

# What is answered from memory takes milliseconds; a busy machine gets more.
QUICK = 3


def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "nothing"


class Booting(harness.MountTest):
    """A pool whose machines take connections and then say nothing: its instances stay booting."""

    @classmethod
    def configure(cls):
        silent = socket.create_server(("127.0.0.1", 0), backlog=100)
        files = tempfile.mkdtemp(prefix="poolfs-test.")
        cls.addClassCleanup(silent.close)
        cls.addClassCleanup(shutil.rmtree, files)
        port = silent.getsockname()[1]
        sh(f"ssh-keygen -q -t ed25519 -N '' -f {files}/id; "
           f"echo \"[127.0.0.1]:{port} $(cut -d' ' -f1,2 {files}/id.pub)\" >{files}/known_hosts")
        return (f"[pool silent]\ntype = ssh\nhost = 127.0.0.1\nssh_port = {port}\n"
                f"ssh_key = {files}/id\nknown_hosts = {files}/known_hosts\ncount = 30\n")

    def test_nothing_waits_for_a_boot(self):
        pool = self.mount.path / "silent"
        for n in range(10):
            began = time.monotonic()
            instance = self.new("silent", f"i{n}", ready=False)
            self.assertLess(time.monotonic() - began, QUICK)
            write(instance / "cmd", "true")
        began = time.monotonic()
        sh(f"ls -l {pool} {pool}/*; cat {pool}/*/state {pool}/*/status {pool}/pool.status; "
           f"stat {pool}/*/files")
        for n in range(10):
            self.assertEqual(text(pool / f"i{n}/state"), "booting\n")
            self.assertEqual(text(pool / f"i{n}/runs/1/state"), "queued\n")
        self.assertIn("booting 10\n", text(pool / "pool.status"))
        self.assertLess(time.monotonic() - began, QUICK)
        self.assertEqual(errno_of(os.open, pool / "i0/ready", os.O_WRONLY), "EACCES")
        for path in ("ready", "runs/1/exit"):
            file = os.open(pool / "i0" / path, os.O_RDONLY | os.O_NONBLOCK)
            self.assertEqual(errno_of(os.read, file, 9), "EAGAIN")
            os.close(file)
        began = time.monotonic()
        for n in range(10):
            os.rmdir(pool / f"i{n}")
        self.assertLess(time.monotonic() - began, QUICK)
        self.assertEqual([name for name in os.listdir(pool) if not name.startswith("pool.")], [])
        os.mkdir(pool / "i0") # the name is free at once
        os.rmdir(pool / "i0")

    def test_rmdir_ends_waits(self):
        instance = self.new("silent", ready=False)
        write(instance / "cmd", "true")
        ends = {}

        def wait(name):
            try:
                ends[name] = read(instance / name)
            except OSError as error:
                ends[name] = error.errno
        threads = [threading.Thread(target=wait, args=[name])
                   for name in ("ready", "runs/1/output", "runs/1/exit")]
        for thread in threads:
            thread.start()
        files = subprocess.Popen(["ls", instance / "files"], stderr=subprocess.DEVNULL)
        self.assertRaises(subprocess.TimeoutExpired, files.wait, 0.2)
        os.rmdir(instance)
        for thread in threads:
            thread.join(QUICK)
        self.assertEqual(ends, {"ready": errno.EIO, "runs/1/output": b"", "runs/1/exit": b"255\n"})
        self.assertNotEqual(files.wait(QUICK), 0)

    def test_a_wait_for_files_can_be_killed(self):
        instance = self.new("silent", ready=False)
        files = subprocess.Popen(["ls", instance / "files"], stderr=subprocess.DEVNULL)
        self.assertRaises(subprocess.TimeoutExpired, files.wait, 0.2)
        files.terminate()
        self.assertEqual(files.wait(QUICK), -15)


class Failing(harness.SshTest):
    """Boots that fail, and say why at once."""

    @classmethod
    def configure(cls):
        good = super().configure()
        sh(f"cd {cls.sshd.directory}; ssh-keygen -q -t ed25519 -N '' -f wrong; : >nobody; "
           "echo \"[127.0.0.1]:$(cat port) $(cut -d' ' -f1,2 wrong.pub)\" >changed")
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        pools = {"key": {"ssh_key": cls.sshd.directory / "wrong"},
                 "unknown": {"known_hosts": cls.sshd.directory / "nobody"},
                 "changed": {"known_hosts": cls.sshd.directory / "changed"},
                 "user": {"ssh_user": "no-such-user"},
                 "refuses": {"ssh_port": port, "boot_timeout": 1},
                 "name": {"host": "no.such.host.invalid", "boot_timeout": 1}}
        return good + "".join(harness.ssh_pool(cls.sshd, name, **keys) for name, keys in pools.items())

    def check(self, pool, pattern):
        instance = self.new(pool, ready=False)
        write(instance / "cmd", "true") # may still be in time or not
        began = time.monotonic()
        self.assertEqual(errno_of(read, instance / "ready"), "EIO")
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual(text(instance / "state"), "failed\n")
        self.assertRegex(text(instance / "error"), pattern)
        self.assertTrue(text(instance / "error").endswith("\n"))
        self.assertEqual(errno_of(write, instance / "cmd", "true"), "EHOSTDOWN")
        self.assertEqual(errno_of(os.mkdir, instance / "runs/x"), "EHOSTDOWN")
        self.assertEqual(errno_of(os.listdir, instance / "files"), "EHOSTDOWN")
        self.assertEqual((text(instance / "runs/1/exit"), text(instance / "runs/1/state")),
                         ("255\n", "lost\n"))
        status = text(self.mount.path / pool / "pool.status")
        self.assertIn("failed 1\n", status)
        self.assertIn("boot_failures 1\n", status)
        self.assertRegex(status, "last_failure a: " + pattern)
        self.assertRegex(text(self.mount.path / "events"), f"{pool}/a booting failed {pattern}")

    def test_wrong_key(self):
        self.check("key", ".*key")

    def test_unknown_host_key(self):
        self.check("unknown", ".*host key")

    def test_changed_host_key(self):
        self.check("changed", ".*host key")

    def test_wrong_user(self):
        self.check("user", ".*no-such-user")

    def test_nobody_listens(self):
        self.check("refuses", ".*refused")

    def test_no_such_host(self):
        self.check("name", ".*resolve")


class Lost(harness.SshTest):
    """An SSH server that goes and comes again."""

    def test_lost_and_found(self):
        instance = self.new("host")
        write(instance / "cmd", "while sleep 0.05; do echo x; done")
        run = instance / "runs/1"
        wait_for(lambda: text(run / "state") == "running\n", "running")
        port = self.sshd.port
        sessions = self.sshd.sessions()
        self.sshd.stop()
        for pid in sessions:
            os.kill(pid, 9)
        wait_for(lambda: text(instance / "state") == "lost\n", "lost")
        self.assertEqual((text(run / "exit"), text(run / "state")), ("255\n", "lost\n"))
        self.assertNotEqual(text(instance / "error"), "")
        self.assertEqual(errno_of(os.listdir, instance / "files"), "EHOSTDOWN")
        write(instance / "cmd", "echo back") # queues
        os.environ["SSHD_PORT"] = str(port)
        try:
            self.sshd.__init__(self.sshd.directory)
        finally:
            del os.environ["SSHD_PORT"]
        wait_for(lambda: text(instance / "state") == "ready\n", "ready again")
        self.assertEqual(text(instance / "runs/2/output"), "back\n")
        self.assertEqual(text(instance / "error"), "")
        self.assertRegex(text(instance / "ready"), r"^[0-9.]+\n$")


class Waiting(harness.SshTest):
    """poll(2) and its kin, on files that wait."""

    def setUp(self):
        self.instance = self.new("host")
        self.run_dir = self.instance / "runs/mine"
        self.run_dir.mkdir()

    def opened(self, path):
        file = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, file)
        return file

    @staticmethod
    def polled(file, seconds=0.0, events=select.POLLIN):
        poll = select.poll()
        poll.register(file, events)
        return poll.poll(seconds * 1000)

    def test_poll(self):
        files = {name: self.opened(self.run_dir / name) for name in ("output", "stdout", "stderr", "exit")}
        for name, file in files.items():
            self.assertEqual(self.polled(file), [], name)
            self.assertEqual(select.select([file], [], [], 0)[0], [], name)
        write(self.run_dir / "cmd", "echo a; read x </dev/null; sleep 0.5; echo b >&2")
        for name in ("output", "stdout"):
            self.assertEqual(self.polled(files[name], 30), [(files[name], select.POLLIN)])
            self.assertEqual(os.read(files[name], 9), b"a\n")
            self.assertEqual(self.polled(files[name]), [], name)
        epoll = select.epoll()
        self.addCleanup(epoll.close)
        epoll.register(files["exit"], select.EPOLLIN)
        self.assertEqual(self.polled(files["stderr"], 30), [(files["stderr"], select.POLLIN)])
        self.assertEqual(os.read(files["stderr"], 9), b"b\n")
        self.assertEqual(epoll.poll(30), [(files["exit"], select.EPOLLIN)])
        self.assertEqual(os.read(files["exit"], 9), b"0\n")
        for name, file in files.items(): # the end is readable
            self.assertEqual(select.select([file], [], [], 30)[0], [file], name)
        self.assertEqual(os.read(files["stdout"], 9), b"")

    def test_files_of_the_guest_do_not_end_poll(self):
        path = self.instance / "files/polled"
        path.write_text("x")
        self.assertEqual(self.polled(self.opened(path)), [(self._cleanups[-1][1][0], select.POLLIN)])
        self.assertEqual(self.polled(self.opened(self.run_dir / "output")), [])

    def test_what_does_not_wait_is_ready(self):
        both = select.POLLIN | select.POLLOUT
        for name in ("state", "cmd", "ctl", "log", "status"):
            file = self.opened(self.instance / name)
            self.assertEqual(self.polled(file, 0, both), [(file, both)], name)

    def test_events_follow(self):
        path = self.mount.path / "events.follow"
        file = self.opened(path)
        while self.polled(file):
            self.assertNotEqual(os.read(file, 65536), b"")
        os.set_blocking(file, False)
        self.assertEqual(errno_of(os.read, file, 9), "EAGAIN")
        os.set_blocking(file, True)
        grep = subprocess.Popen(["grep", "-m", "1", "--line-buffered", "host/b booting ready", path],
                                stdout=subprocess.PIPE, text=True)
        self.new("host", "b", ready=False)
        self.assertEqual(self.polled(file, 30), [(file, select.POLLIN)])
        self.assertTrue(os.read(file, 65536).endswith(b"host/b - booting\n"))
        self.assertEqual(self.polled(file, 30), [(file, select.POLLIN)])
        self.assertTrue(os.read(file, 65536).endswith(b"host/b booting ready\n"))
        self.assertIn("host/b booting ready", grep.communicate(timeout=harness.PATIENCE)[0])

    def test_tail_follows(self):
        tail = subprocess.Popen(["tail", "-s", "0.05", "-n", "1", "-f", self.instance / "log"],
                                stdout=subprocess.PIPE, text=True)
        self.addCleanup(tail.stdout.close)
        self.addCleanup(tail.wait)
        self.addCleanup(tail.kill)
        self.assertTrue(tail.stdout.readline().endswith("\n"))

    def test_at_once_after_mkdir(self):
        """What is written before the instance's process runs is not lost."""
        for n in range(8):
            path = str(self.mount.path / f"host/at-once-{n}")
            os.mkdir(path)
            self.addCleanup(self.drop, self.mount.path / f"host/at-once-{n}")
            file = os.open(path + "/cmd", os.O_WRONLY)
            os.write(file, b"echo yes")
            os.close(file)
            self.assertEqual(sh(f"timeout 20 cat {path}/runs/1/output"), "yes\n")


if __name__ == "__main__":
    harness.main()
