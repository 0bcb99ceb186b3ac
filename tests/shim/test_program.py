# SPDX-License-Identifier: MIT
"""poolfs-shim as a process: test_program.py PROGRAM. This test is the daemon."""
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = sys.argv.pop(1)
SECONDS = 20
HELLO, STOP, STATE = 1, 16, 64
BOOTING, FAILED = 0, 6


class Connection:
    def __init__(self, connected):
        self.socket = connected
        self.socket.settimeout(SECONDS)
        self.send(HELLO, struct.pack("Ii", 1, os.getpid()))

    def send(self, kind, payload=b""):
        self.socket.sendall(struct.pack("IHHQ", len(payload), kind, 0, 0) + payload)

    def receive(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def state(self, wanted):
        """Waits for that state; returns its reason."""
        while True:
            size, kind, _, _ = struct.unpack("IHHQ", self.receive(16))
            payload = self.receive(size)
            if kind == STATE and payload[0] == wanted:
                return payload[8:].decode()


class Program(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.directory + "/shim.sock")
        self.listener.listen(5)
        self.first, self.peer = socket.socketpair()
        # Nobody listens at this port, for it stays bound.
        self.port = socket.socket()
        self.port.bind(("127.0.0.1", 0))
        open(self.directory + "/known_hosts", "w").close()
        self.write(self.instance())
        self.process = None

    def tearDown(self):
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stderr.close()
            self.process = None
        for end in (self.listener, self.first, self.peer):
            end.close()
        self.port.close()
        shutil.rmtree(self.directory)

    def instance(self, boot_timeout="1000", **changes):
        values = {"type": "ssh", "boot_timeout": boot_timeout, "console_limit": "64K",
                  "output_limit": "64K", "host": "127.0.0.1", "ssh_user": "nobody",
                  "ssh_port": str(self.port.getsockname()[1]), "ssh_keepalive": "15",
                  "known_hosts": self.directory + "/known_hosts"}
        return {"version": 1, "pool": "web", "name": "a", "type": "ssh", "values": values} | changes

    def connect(self):
        """The connection of a later daemon."""
        connected = socket.socket(socket.AF_UNIX)
        self.addCleanup(connected.close)
        connected.connect(self.directory + "/shim.sock")
        return Connection(connected)

    def write(self, instance):
        with open(self.directory + "/instance.json", "w") as file:
            json.dump(instance, file)

    def start(self, listener=None, peer=None):
        def prepare():
            os.setsid()
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 60)
                    for end in (listener or self.listener, peer or self.peer)]
            for number, end in enumerate(ends):
                os.dup2(end, 3 + number)
            os.dup2(2, 50)
        self.process = subprocess.Popen([PROGRAM, self.directory], preexec_fn=prepare,
                                        close_fds=False, stderr=subprocess.PIPE)

    def ended(self):
        """The exit status and the messages."""
        status = self.process.wait(SECONDS)
        with self.process.stderr:
            return status, self.process.stderr.read().decode()

    def refused(self, message):
        self.start()
        status, text = self.ended()
        self.assertEqual(status, 1, text)
        self.assertIn(message, text)

    def test_leaves_its_number(self):
        self.start()
        self.connect().state(BOOTING)
        with open("/proc/%d/stat" % self.process.pid) as file:
            start = file.read().rsplit(")", 1)[1].split()[19]
        with open(self.directory + "/shim.pid") as file:
            self.assertEqual(file.read(), "%d %s\n" % (self.process.pid, start))
        self.assertFalse(os.path.exists(self.directory + "/shim.pid.new"))

    def test_serves_who_starts_it_and_then_another(self):
        first = Connection(self.first)
        self.start()
        self.peer.close()
        first.state(BOOTING)
        self.connect().state(BOOTING)
        with self.assertRaises(EOFError):
            while True:
                first.receive(1)

    def test_keeps_only_its_descriptors(self):
        self.start()
        self.connect().state(BOOTING)
        self.assertFalse(os.path.lexists("/proc/%d/fd/50" % self.process.pid))
        self.assertTrue(os.path.lexists("/proc/%d/fd/2" % self.process.pid))

    def test_ends_when_the_daemon_says_so(self):
        self.start()
        daemon = self.connect()
        daemon.state(BOOTING)
        began = time.monotonic()
        daemon.send(STOP)
        self.assertEqual(self.ended(), (0, ""))
        self.assertLess(time.monotonic() - began, 6)

    def test_ends_by_sigterm_only(self):
        self.start()
        self.connect().state(BOOTING)
        for number in signal.SIGHUP, signal.SIGINT, signal.SIGPIPE:
            self.process.send_signal(number)
        self.connect().state(BOOTING)
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(), (0, ""))

    def test_outlives_the_daemon_and_a_failed_boot(self):
        self.write(self.instance(boot_timeout="1"))
        self.start()
        daemon = self.connect()
        self.assertIn("boot_timeout", daemon.state(FAILED))
        daemon.socket.close()
        daemon = self.connect()
        self.assertIn("no login within 1 s", daemon.state(FAILED))
        daemon.send(STOP)
        self.assertEqual(self.ended(), (0, ""))

    def test_refuses_what_it_cannot_run(self):
        self.write(self.instance(version=2))
        self.refused("another version")
        self.write(self.instance(type="none"))
        self.refused("no such kind")
        self.write(self.instance(values={"nonsense": "1"}))
        self.refused("nonsense")
        self.write([])
        self.refused("instance.json")
        os.unlink(self.directory + "/instance.json")
        self.refused("instance.json")

    def test_refuses_other_descriptors(self):
        with socket.socket(socket.AF_UNIX) as other, open(os.devnull) as file:
            for wrong, message in (({"listener": other}, "descriptor 3: not a listening socket"),
                                   ({"peer": file}, "descriptor 4: not a connection")):
                self.start(**wrong)
                status, text = self.ended()
                self.assertEqual(status, 1)
                self.assertIn(message, text)

    def test_refuses_other_arguments(self):
        for arguments in [], ["--nonsense"], ["a", "b"]:
            done = subprocess.run([PROGRAM] + arguments, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 2)
            self.assertIn(b"usage", done.stderr)


if __name__ == "__main__":
    unittest.main()
