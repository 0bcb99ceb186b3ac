# SPDX-License-Identifier: MIT
"""
forward/ and expose/ of containers: the tests of streams over SSH once more, in a container that has the
host's network, so that both ends are here; and what a container with a network of its own reaches.
"""
import contextlib
import os

import containers
import harness
import test_forward
from containers import AsOrdinaryUser
from forwards import Server, connect, echo, exchange, make, read_all, refuses
from harness import text, value, wait_for

# Serves "hello" to everybody, and prints that it listens at a port of TCP or at a path.
HELLO = """
import os, socket, sys
where = sys.argv[1]
if where.isdigit():
    server = socket.create_server(("127.0.0.1", int(where)))
else:
    server = socket.socket(socket.AF_UNIX)
    server.bind(where)
    server.listen()
print("listens", flush=True)
while True:
    connection = server.accept()[0]
    connection.sendall(b"hello")
    connection.close()
"""

# Sends what it reads to an address, and prints what comes back.
CLIENT = """
import socket, sys, threading
host, _, port = sys.argv[1].rpartition(":")
if host:
    connection = socket.create_connection((host.strip("[]"), int(port)))
else:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(port)
def send():
    connection.sendall(sys.stdin.buffer.read())
    connection.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
while piece := connection.recv(1 << 16):
    sys.stdout.buffer.write(piece)
"""


class SameNetwork(test_forward.Streams):
    """As over SSH; the limit of what SSH keeps is SSH's."""

    test_what_nobody_takes_is_kept_up_to_a_limit = None
    resets = ("expose", "forward")

    @classmethod
    def configure(cls):
        containers.need_containers()
        return containers.container_pool("host", network="host")


class OwnNetwork(containers.ContainerTest):
    """What is in the container is reached by forwards alone."""

    def setUp(self):
        self.instance = self.new("box")
        (self.instance / "files/client.py").write_text(CLIENT)
        (self.instance / "files/hello.py").write_text(HELLO)

    def serving(self, **more):
        server = Server(echo, **more)
        self.addCleanup(server.close)
        return server

    def client(self, address, data):
        """What a client in the container gets back, who sends data to an address."""
        (self.instance / "files/data").write_bytes(data)
        return self.run_in(self.instance, f"python3 client.py {address} <data")

    def hello(self, where):
        """Starts the server in the container."""
        run = self.instance / f"runs/hello{len(os.listdir(self.instance / 'runs'))}"
        run.mkdir()
        (run / "cmd").write_text(f"exec python3 hello.py {where}")
        with open(run / "output", "rb", buffering=0) as output:
            self.assertEqual(output.read(8), b"listens\n")
        return run

    def test_to_the_host(self):
        server = self.serving()
        # The host's loopback is not the container's.
        self.assertNotEqual(self.client(f"127.0.0.1:{server.port}", b"x")[1], 0)
        address = make(self.instance / "forward", str(server.port))
        data = os.urandom(1 << 20) * 8
        output, status = self.client(address, data)
        self.assertTrue(output == data)
        self.assertEqual(status, 0)
        (self.instance / "forward" / str(server.port)).unlink()
        wait_for(lambda: self.client(address, b"x")[1] != 0, "end of the forward")
        # Nor is a port in the container one of the host's.
        self.assertTrue(refuses(address))

    def test_to_the_container(self):
        run = self.hello(8000)
        address = make(self.instance / "expose", "8000")
        for _ in range(3):
            self.assertEqual(exchange(address, b""), b"hello")
        (run / "ctl").write_text("stop")
        text(run / "exit")
        with self.assertRaises(ConnectionResetError), connect(address) as connection:
            connection.recv(1)
        wait_for(lambda: "connection failed: Connection refused" in text(self.instance / "log"), "word about it")
        (self.instance / "expose/8000").unlink()
        wait_for(lambda: refuses(address), "end of the listener")

    def test_unix_sockets(self):
        server = self.serving(path=str(self.mount.base / "server"))
        name = "unix:" + str(self.mount.base / "server").replace("/", "%2F")
        address = make(self.instance / "forward", name)
        self.assertEqual(self.client(address, b"there and back"), (b"there and back", 0))
        self.hello("/tmp/hello")
        self.assertEqual(exchange(make(self.instance / "expose", "unix:%2Ftmp%2Fhello"), b""), b"hello")

    def test_taken_in_the_container(self):
        self.hello("/tmp/here")
        self.assertEqual(exchange(make(self.instance / "expose", "unix:%2Ftmp%2Fhere"), b""), b"hello")
        # What is no socket is not reached, and not removed.
        self.run_in(self.instance, "echo >/tmp/file")
        address = make(self.instance / "expose", "unix:%2Ftmp%2Ffile")
        with contextlib.suppress(ConnectionResetError), connect(address) as connection:
            self.assertEqual(connection.recv(1), b"")
        (self.instance / "expose/unix:%2Ftmp%2Ffile").unlink()
        self.assertEqual(self.run_in(self.instance, "cat /tmp/file"), (b"\n", 0))

    def test_many_at_once(self):
        server = self.serving()
        address = make(self.instance / "forward", str(server.port))
        loop = make(self.instance / "expose", address.rpartition(":")[2])
        data = os.urandom(20000)
        connections = [connect(loop) for _ in range(200)]
        for connection in connections:
            connection.sendall(data)
            connection.shutdown(1)
        for connection in connections:
            with connection:
                self.assertTrue(read_all(connection) == data)

    def test_before_it_is_ready(self):
        server = self.serving()
        early = self.new("box", "early", ready=False)
        (early / "forward" / str(server.port)).touch()
        host, port = text(early / "forward" / str(server.port)).strip().split(":")
        self.assertEqual(value(early, f"forward/{server.port}"), f"active {host}:{port}")

    def test_the_container_ends(self):
        server = self.serving()
        make(self.instance / "forward", str(server.port))
        self.run_in(self.instance, "kill -TERM 1")
        wait_for(lambda: text(self.instance / "state") == "stopped\n", "end")
        with self.assertRaises(OSError):
            text(self.instance / "forward" / str(server.port))


if __name__ == "__main__":
    harness.main()
