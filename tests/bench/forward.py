# SPDX-License-Identifier: MIT
"""
Forwards against those of ssh(1) on the same server on loopback, in alternation: how fast one connection
carries bytes, in both directions of forward/ (ssh -R) and of expose/ (ssh -L), and how many connections a
second are made, one after the other and 50 at a time. A ratio above 1 means that poolfs is faster. libssh2
alone (floor.c), which drops what it takes, shows what can be had with that library, and the processor
time of poolfs-shim, of ssh and of libssh2's program what a GiB costs each.

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


class Libssh2:
    """libssh2 alone, which takes and gives where a forward of its own would (floor.c)."""

    def __init__(self, sshd, port):
        self.floor, self.port = peers.Floor(sshd), port

    def carry(self, what, size):
        return size / (1 << 20) / self.floor.ask(f"{what} {self.port} {size}") * 1000

    def close(self):
        self.floor.close()


def bulk(sides, size, rounds):
    """MiB/s, the median, and seconds of processor time for a GiB, the least, of each side. sides: by name,
    what carries and the processes that do."""
    speeds, used = {name: [] for name in sides}, {name: [] for name in sides}
    for _ in range(rounds):
        for name, (carry, pid) in sides.items():
            before = peers.processor([pid])
            speeds[name].append(carry())
            used[name].append((peers.processor([pid]) - before) * (1 << 30) / size)
    return {name: (peers.median(speeds[name]), min(used[name])) for name in sides}


def main():
    options = peers.arguments("Forwards against those of ssh.", mebibytes=512, connections=1000, rounds=3)
    sshd, poolfs, ssh, libssh2 = peers.server(), None, None, None
    try:
        server = Server()
        poolfs = peers.Poolfs(sshd)
        ssh, libssh2 = Ssh(sshd, server.port), Libssh2(sshd, server.port)
        ours = {}
        for name in ("forward", "expose"):
            file = poolfs.instance / name / str(server.port)
            file.touch()
            ours[name] = int(file.read_text().rpartition(":")[2])
        theirs = {"forward": ssh.remote, "expose": ssh.local}
        shim, size = poolfs.mount.shim_pid("host", "a"), options.mebibytes << 20
        # What libssh2 does while that happens: who connects to forward/ is in the machine.
        for name, what, test, alone in (("forward", "download", download, "give"),
                                        ("expose", "download", download, "take"),
                                        ("forward", "upload", upload, "take"),
                                        ("expose", "upload", upload, "give")):
            sides = {"poolfs": (lambda: test(ours[name], size), shim),
                     "ssh": (lambda: test(theirs[name], size), ssh.master.pid()),
                     "libssh2": (lambda: libssh2.carry(alone, size), libssh2.floor.process.pid)}
            results = bulk(sides, size, options.rounds)
            print(f"{name:8} {what:11}", "   ".join(f"{side} {speed:4.0f} MiB/s {used:.2f} s/GiB"
                                                    for side, (speed, used) in results.items()),
                  f"  ratio {results['poolfs'][0] / results['ssh'][0]:.2f}", flush=True)
        for what, test in (("one by one", one_by_one), ("50 at once", at_once)):
            for name in ("forward", "expose"):
                rows = [(test(ours[name], options.connections), test(theirs[name], options.connections))
                        for _ in range(options.rounds)]
                medians = [peers.median(column) for column in zip(*rows)]
                print(f"{name:8} {what:11} poolfs {medians[0]:6.0f}   ssh {medians[1]:6.0f} connections/s "
                      f"ratio {medians[0] / medians[1]:.2f}", flush=True)
    finally:
        for peer in (libssh2, ssh, poolfs):
            if peer:
                peer.close()
        sshd.abandon()


if __name__ == "__main__":
    sys.exit(main())
