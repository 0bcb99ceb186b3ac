# SPDX-License-Identifier: MIT
"""Consoles of machines that exist already: a serial device, a port, a command."""
import os
import select
import socket
import tty
import unittest

import harness
from harness import read, text, value, wait_for, write
from targets import TargetsTest, check, pool


def receive(fd, count):
    """Exactly so many bytes of a descriptor."""
    data = b""
    while len(data) < count:
        if not select.select([fd], [], [], harness.PATIENCE)[0]:
            raise AssertionError(f"only {data} came")
        data += os.read(fd, count - len(data))
    return data


class Consoles(TargetsTest):
    """One machine, whose console comes in different ways."""

    servers = 1

    @classmethod
    def pools(cls):
        cls.device = cls.base / "tty"
        cls.listener = socket.create_server(("127.0.0.1", 0))
        cls.listener.settimeout(harness.PATIENCE)
        cls.addClassCleanup(cls.listener.close)
        port = cls.listener.getsockname()[1]
        command = cls.base / "command"
        command.write_text("#!/bin/sh\n"
                           f"echo $$ >>{cls.base}/pids\n"
                           f"trap 'echo ended >>{cls.base}/ends; exit 0' TERM\n"
                           "tty -s && echo \"terminal $POOLFS_TARGET $POOLFS_PORT\"\n"
                           "echo to the log >&2\n"
                           "while read -r line; do echo \"got $line\"; "
                           "[ \"$line\" != quit ] || exit 3; done\n")
        command.chmod(0o755)
        keys = {"files": cls.files}
        at = f"127.0.0.1:{cls.machines[0].port}"
        return (pool("serial", cls.known, cls.machines[0], targets=at,
                     console=f"dev:{cls.device},9600", **keys) +
                pool("port", cls.known, cls.machines[0], targets=at,
                     console=f"tcp:127.0.0.1:{port}", **keys) +
                pool("command", cls.known, cls.machines[0], targets=f"pi={at}",
                     console=f"exec:{command}", console_limit="64K", **keys) +
                pool("none", cls.known, cls.machines[0], targets=at, **keys))

    def shows(self, instance, expected):
        wait_for(lambda: expected in read(instance / "console"), f"{expected} on the console")

    def plug(self):
        """Makes a new pair of terminals; the pool's device is one of them."""
        master, slave = os.openpty()
        tty.setraw(slave)
        self.device.unlink(missing_ok=True)
        self.device.symlink_to(os.ttyname(slave))
        os.close(slave)
        self.plugged.add(master)
        return master

    def unplug(self, master):
        self.plugged.discard(master)
        os.close(master)

    def setUp(self):
        super().setUp()
        self.plugged = set()
        self.addCleanup(lambda: [os.close(master) for master in self.plugged])

    def test_device(self):
        master = self.plug()
        instance = self.new("serial")
        every = bytes(range(256))
        wait_for(lambda: value(instance, "console") == "connected", "console")
        os.write(master, every)
        self.shows(instance, every)
        write(instance / "console", every)
        self.assertEqual(receive(master, 256), every)
        self.unplug(master)
        wait_for(lambda: value(instance, "console") == "lost", "loss")
        master = self.plug()
        wait_for(lambda: value(instance, "console") == "connected", "return")
        os.write(master, b"again")
        self.shows(instance, every + b"again")
        self.assertIn("console: it was closed", text(instance / "log"))

    def test_port(self):
        instance = self.new("port")
        server = self.listener.accept()[0]
        with server:
            # It is drained whether or not anybody reads.
            server.settimeout(harness.PATIENCE)
            server.sendall(b"x" * 3000000 + b"<end>")
            self.shows(instance, b"<end>")
            write(instance / "console", b"hello\n")
            self.assertEqual(receive(server.fileno(), 6), b"hello\n")
        server = self.listener.accept()[0]
        with server:
            server.sendall(b"<again>")
            self.shows(instance, b"<end><again>")
            instance.rmdir()
            server.settimeout(harness.PATIENCE)
            self.assertEqual(server.recv(1), b"")

    def test_command(self):
        instance = self.new("command", "pi")
        self.shows(instance, f"terminal pi {self.machines[0].port}\n".encode())
        write(instance / "console", b"one\n")
        self.shows(instance, b"got one\n")
        write(instance / "console", b"quit\n")
        wait_for(lambda: len((self.base / "pids").read_text().split()) == 2, "second command")
        wait_for(lambda: read(instance / "console").count(b"terminal") == 2, "its first line")
        log = text(instance / "log")
        self.assertIn("to the log\n", log)
        self.assertIn("console: its command: ended with status 3", log)
        instance.rmdir()
        self.free("command", 1)
        self.assertEqual((self.base / "ends").read_text(), "ended\n")
        for pid in (self.base / "pids").read_text().split():
            self.assertFalse(harness.alive(int(pid)))

    def test_no_console(self):
        names = set(os.listdir(self.new("none")))
        self.assertEqual(names & {"console", "crash", "crashes"}, set())
        self.drop(self.mount.path / "none/a")
        self.settle()
        self.assertIn("console", os.listdir(self.new("serial")))


class Configuration(unittest.TestCase):
    """What is wrong with a console is said at the start."""

    def test_right(self):
        for console in ("exec:cat", "dev:/dev/ttyUSB0", "dev:/dev/ttyUSB0,9600", "tcp:h:1", "tcp:[::1]:1"):
            self.assertEqual(check(f"targets = lab\nconsole = {console}\n"), "")
        self.assertEqual(check("targets = lab a\nconsole = exec:cat\n"), "")
        self.assertEqual(check("host = lab\ncount = 1\nconsole = dev:/dev/ttyS0\n"), "")

    def test_wrong(self):
        for console, expected in (("cat", "write exec:COMMAND"), ("exec:", "needs a command"),
                                  ("dev:ttyUSB0", "absolute path"), ("dev:/dev/x,12", "is no speed"),
                                  ("dev:/dev/x,", "is no speed"), ("tcp:h", "needs HOST:PORT"),
                                  ("tcp:u@h:1", "needs HOST:PORT"), ("tcp:h:x", "no machine")):
            said = check(f"targets = lab\nconsole = {console}\n")
            self.assertIn("FILE:5: console: ", said)
            self.assertIn(expected, said)
        self.assertIn("targets has several", check("targets = lab a\nconsole = tcp:h:1\n"))
        self.assertIn("count = 1", check("host = lab\nconsole = dev:/dev/ttyS0\n"))


if __name__ == "__main__":
    harness.main()
