# SPDX-License-Identifier: MIT
"""The console and the forwards, where an instance lists them."""
import contextlib
import os
import random
import re
import socket
import threading

import lab
from lab import error_of, read, text, wait_for, write


class Console(lab.Case):
    """A machine's console."""

    def setUp(self):
        super().setUp()
        self.need("console")

    def test_reading_does_not_wait(self):
        data = self.quickly(read, self.instance / "console")
        self.assertLessEqual(len(data), os.stat(self.instance / "console").st_size)

    def test_typing(self):
        if not self.lab.options.console:
            self.skipTest("--console says what to type, and what then shows")
        typed, _, shown = self.lab.options.console.partition("=")
        begin = os.stat(self.instance / "console").st_size

        def tried():
            """Types; a login may not be listening yet."""
            write(self.instance / "console", typed + "\n")
            with contextlib.suppress(AssertionError):
                return wait_for(lambda: re.search(shown.encode(),
                                                  read(self.instance / "console")[begin:]), "", 2)
        wait_for(tried, f"{shown!r} on the console: {read(self.instance / 'console')[begin:]}")

    def test_typing_nothing_in_particular(self):
        self.assertIn(error_of(write, self.instance / "console", "\n"), (None, "EACCES", "EOPNOTSUPP"))

    def test_follow_shows_the_same(self):
        console = read(self.instance / "console")
        followed = lab.so_far(self.instance / "console.follow")
        self.assertTrue(followed.startswith(console), (console, followed))

    def test_follow_ends_with_the_machine(self):
        instance = self.new("followed")
        pieces = []

        def follow():
            with contextlib.suppress(OSError):
                pieces.append(read(instance / "console.follow"))
        thread = threading.Thread(target=follow)
        thread.start()
        instance.rmdir()
        thread.join(lab.PATIENCE)
        self.assertFalse(thread.is_alive(), "console.follow goes on after rmdir")


class Server:
    """Answers each connection on the host's loopback with what comes, reversed."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection:
                    connection.sendall(receive(connection)[::-1])

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


def receive(connection):
    """All that comes."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def exchange(address, data):
    """Sends, and the end; what came back."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), lab.PATIENCE) as connection:
        connection.settimeout(lab.PATIENCE)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return receive(connection)


class Forwards(lab.Case):
    """Through the machine and back: forward/ has it listen, and expose/ leads there, so that no
    program in it is needed."""

    def setUp(self):
        super().setUp()
        self.need("forward", "expose")
        self.server = Server()
        self.addCleanup(self.server.close)

    def make(self, kind, name):
        """touch, and the address."""
        path = self.instance / kind / name
        path.touch()
        self.addCleanup(path.unlink, missing_ok=True)
        return text(path).strip()

    def both(self):
        """Both ways; the address on the host."""
        inside = self.make("forward", str(self.server.port))
        return self.make("expose", inside.rpartition(":")[2])

    def test_there_and_back(self):
        address = self.both()
        data = random.randbytes(200000)
        self.assertEqual(exchange(address, data), data[::-1])
        answers = {}
        threads = [threading.Thread(target=lambda n=n: answers.update(
            {n: exchange(address, str(n).encode() * 1000)})) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(lab.PATIENCE)
        self.assertEqual(answers, {n: (str(n).encode() * 1000)[::-1] for n in range(10)})

    def test_removed(self):
        address = self.both()
        self.assertEqual(exchange(address, b"ab"), b"ba")
        for name in os.listdir(self.instance / "expose"):
            (self.instance / "expose" / name).unlink()
        # What is on its way to a port that is just being closed is reset.
        wait_for(lambda: error_of(exchange, address, b"ab") == "ECONNREFUSED", "end of the port")

    def test_names(self):
        for name in ("0", "65536", "x", "tcp:", "-1"):
            for kind in ("forward", "expose"):
                self.assertEqual(error_of((self.instance / kind / name).touch), "EINVAL", name)

    def test_a_forward_is_listed(self):
        self.make("forward", str(self.server.port))
        self.assertEqual(os.listdir(self.instance / "forward"), [str(self.server.port)])
        self.assertRegex(text(self.instance / "status"),
                         rf"(?m)^forward/{self.server.port} active 127\.0\.0\.1:\d+$")


CASES = (Console, Forwards)
