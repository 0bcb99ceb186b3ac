# SPDX-License-Identifier: MIT
"""Servers and clients on loopback for the tests of forwards."""
import contextlib
import re
import socket
import struct
import threading

from harness import text


def reset(connection):
    """Closes a connection so that its peer gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_all(connection):
    """What comes until the end."""
    pieces = []
    while piece := connection.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


def echo(connection):
    """Sends back what it gets, and the end after it."""
    while piece := connection.recv(1 << 18):
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)


class Server:
    """A TCP server on 127.0.0.1, or one on a unix socket; serves each connection in a thread."""

    def __init__(self, serve=echo, path=None, family=socket.AF_INET):
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(path)
        else:
            self.socket = socket.socket(family)
            self.socket.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            self.port = self.socket.getsockname()[1]
        self.socket.listen(1024)
        self.serve = serve
        self.open = set()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.open.add(connection)
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        with contextlib.suppress(OSError):
            self.serve(connection)
        self.open.discard(connection)
        connection.close()

    def close(self):
        # A blocked accept is woken by shutdown, not by close.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def connect(address, timeout=60):
    """Connects to an address as a forward's file shows it."""
    found = re.fullmatch(r"\[?([0-9.:]+?)\]?:(\d+)", address)
    if found:
        return socket.create_connection((found.group(1), int(found.group(2))), timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    connection.connect(address)
    return connection


def make(directory, name):
    """Makes a forward; returns its address, once it works."""
    (directory / name).touch()
    return text(directory / name).strip()


def refuses(address):
    """Whether nobody listens there."""
    try:
        connect(address, 5).close()
        return False
    except ConnectionResetError:  # it ends just now
        return False
    except (ConnectionRefusedError, FileNotFoundError):
        return True


def exchange(address, data):
    """Sends data and its end; returns what came back."""
    with connect(address) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(data),
                                                  connection.shutdown(socket.SHUT_WR)))
        sender.start()
        back = read_all(connection)
        sender.join()
    return back
