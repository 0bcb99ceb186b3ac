# SPDX-License-Identifier: MIT
"""
Forwards against those of ssh(1) on the same server on loopback, in alternation: how fast one connection
carries bytes, in both directions of forward/ (ssh -R) and of expose/ (ssh -L), and how many connections a
second are made, one after the other and 50 at a time. A ratio above 1 means that poolfs is faster.

usage: forward.py [--build DIRECTORY] [--mebibytes N] [--connections N] [--rounds N]
"""
import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time

import peers

PIECE = 1 << 18


def take(connection):
    """How many bytes come."""
    buffer, size = bytearray(PIECE), 0
    while got := connection.recv_into(buffer):
        size += got
    return size


def give(connection, size):
    piece = bytes(PIECE)
    while size:
        connection.sendall(piece[:size])
        size -= min(size, PIECE)
    connection.shutdown(socket.SHUT_WR)


class Server:
    """Reads 8 bytes, how many it shall send; sends them, then takes what comes and answers how many."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        with contextlib.suppress(OSError, struct.error), connection:
            size, = struct.unpack("Q", connection.recv(8))
            if size:
                give(connection, size)
            else:
                connection.sendall(struct.pack("Q", take(connection)))


def download(port, size):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(struct.pack("Q", size))
        start = time.perf_counter()
        assert take(connection) == size
        return size / (1 << 20) / (time.perf_counter() - start)


def upload(port, size):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(struct.pack("Q", 0))
        start = time.perf_counter()
        give(connection, size)
        answer = connection.recv(8)
        assert struct.unpack("Q", answer) == (size,)
        return size / (1 << 20) / (time.perf_counter() - start)


def one_by_one(port, count):
    start = time.perf_counter()
    for _ in range(count):
        download(port, 1)
    return count / (time.perf_counter() - start)


def at_once(port, count):
    def worker():
        for _ in range(count // 50):
            download(port, 1)
    threads = [threading.Thread(target=worker) for _ in range(50)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - start)


class Ssh:
    """ssh -R and ssh -L, to the same server."""

    def __init__(self, sshd, port):
        self.master = peers.ControlMaster(sshd)
        options = self.master.options
        self.remote = int(subprocess.check_output(
            ["ssh", "-O", "forward", "-R", f"127.0.0.1:0:127.0.0.1:{port}", *options]))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.local = free.getsockname()[1]
        subprocess.run(["ssh", "-O", "forward", "-L", f"127.0.0.1:{self.local}:127.0.0.1:{port}",
                        *options], check=True)

    def close(self):
        self.master.close()


def main():
    options = peers.arguments("Forwards against those of ssh.", mebibytes=512, connections=1000, rounds=3)
    sshd, poolfs, ssh = peers.server(), None, None
    try:
        server = Server()
        poolfs = peers.Poolfs(sshd)
        ssh = Ssh(sshd, server.port)
        ours = {}
        for name in ("forward", "expose"):
            file = poolfs.instance / name / str(server.port)
            file.touch()
            ours[name] = int(file.read_text().rpartition(":")[2])
        theirs = {"forward": ssh.remote, "expose": ssh.local}
        size = options.mebibytes << 20
        for what, test, amount, unit in (("download", download, size, "MiB/s"),
                                         ("upload", upload, size, "MiB/s"),
                                         ("one by one", one_by_one, options.connections, "connections/s"),
                                         ("50 at once", at_once, options.connections, "connections/s")):
            for name in ("forward", "expose"):
                rows = [(test(ours[name], amount), test(theirs[name], amount))
                        for _ in range(options.rounds)]
                medians = [peers.median(column) for column in zip(*rows)]
                print(f"{name:8} {what:11} poolfs {medians[0]:6.0f}   ssh {medians[1]:6.0f} {unit:14} "
                      f"ratio {medians[0] / medians[1]:.2f}", flush=True)
    finally:
        for peer in (ssh, poolfs):
            if peer:
                peer.close()
        sshd.stop()


if __name__ == "__main__":
    sys.exit(main())
