# SPDX-License-Identifier: MIT
"""Virtual machines: what they reach, and what they do not; forwards with their Dropbear."""
import hashlib
import os
import socket
import subprocess
import tempfile
import threading
import unittest

import harness
from forwards import Server, connect, exchange, make, read_all, refuses
from harness import read, text, value, wait_for


def send_hello(connection):
    connection.sendall(b"hello\n")
    connection.shutdown(socket.SHUT_WR)
    read_all(connection)


# A server that says hello, and tells which names it is asked for.
HELLO = """
import socket, sys, threading
datagrams = socket.socket(type=socket.SOCK_DGRAM)
datagrams.bind((sys.argv[1], 53))
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
def tell():
    while True:
        print(datagrams.recv(100))
threading.Thread(target=tell, daemon=True).start()
print("listens")
while True:
    connection = server.accept()[0]
    connection.sendall(b"hello\\n")
    connection.close()
"""


class Outside:
    """A host of another network, which this one reaches: a network namespace with a server that says hello."""

    address, near, port = "198.51.100.2", "198.51.100.1", 4000

    def __init__(self):
        name = f"poolfs{os.getpid()}"
        if os.getuid() or subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
            raise unittest.SkipTest("no network namespace can be made here")
        self.name = name
        self.server = None
        try:
            harness.sh(f"ip link add {name}a type veth peer name {name}b netns {name}; set -e; "
                       f"ip addr add {self.near}/30 dev {name}a; ip link set {name}a up; ip -n {name} link set lo up; "
                       f"ip -n {name} addr add {self.address}/30 dev {name}b; ip -n {name} link set {name}b up")
            self.server = subprocess.Popen(
                ["ip", "netns", "exec", name, "python3", "-uc", HELLO, self.address, str(self.port)],
                stdout=subprocess.PIPE)
            self.server.stdout.readline()
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.server:
            self.server.terminate()
            self.server.communicate()
        harness.sh(f"ip link del {self.name}a; ip netns del {self.name}", check=False)


class Guests(harness.MountTest):
    """Two isolated machines and one with QEMU's user network, which boot at the same time."""

    @classmethod
    def configure(cls):
        harness.need_guest()
        return (harness.qemu_pool("isolated", memory="128M") +
                harness.qemu_pool("open", memory="128M", network="user"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.guests = [cls.mount.path / name for name in ("isolated/a", "isolated/b", "open/c")]
            for guest in cls.guests:
                guest.mkdir()
            # Made before the boot has ended.
            (cls.guests[0] / "expose" / "22").touch()
            for guest in cls.guests:
                read(guest / "ready")
            cls.one, cls.other, cls.open = cls.guests
        except BaseException:
            cls.tearDownClass()
            raise

    def serving(self, serve):
        server = Server(serve)
        self.addCleanup(server.close)
        return server

    def reaches(self, guest, host, port):
        """Whether a connection from the guest meets the server that says hello."""
        output, _ = self.run_in(guest, f"timeout 3 nc {host} {port} </dev/null")
        return output == b"hello\n"

    def test_isolated(self):
        server = self.serving(send_hello)
        address = make(self.one / "forward", str(server.port))
        self.assertTrue(self.reaches(self.one, *address.split(":")))
        # Where QEMU's user network has its host, and what else leads there; the port that carries
        # the other guest's SSH; the address in the other guest; the addresses of the host itself.
        ssh = value(self.other, "address").rpartition(":")[2]
        hosts = {"10.0.2.2", "10.0.2.3", "10.0.2.1", *self.own_addresses()}
        script = "".join(f"(timeout 3 nc {host} {port} </dev/null >/tmp/{i}.{port} 2>&1) & "
                         for i, host in enumerate(sorted(hosts)) for port in (server.port, ssh, 22, 53))
        output, _ = self.run_in(self.one, f"cd /tmp; {script} wait; cat /tmp/*.*[0-9]; true")
        self.assertNotIn(b"hello", output)
        self.assertNotIn(b"SSH-", output)
        other = make(self.other / "forward", str(server.port)).rpartition(":")[2]
        if other != address.rpartition(":")[2]:
            self.assertFalse(self.reaches(self.one, "127.0.0.1", other))
        # No names of the network outside.
        self.assertNotEqual(self.run_in(self.one, "timeout 3 nslookup example.org 10.0.2.3")[1], 0)
        # Removed, it is gone in the guest too.
        (self.one / "forward" / str(server.port)).unlink()
        wait_for(lambda: not self.reaches(self.one, *address.split(":")), "end of the forward", 20)

    def test_user_network(self):
        server = self.serving(send_hello)
        self.assertTrue(self.reaches(self.open, "10.0.2.2", server.port))
        self.assertFalse(self.reaches(self.one, "10.0.2.2", server.port))

    def test_the_outside(self):
        outside = Outside()
        self.addCleanup(outside.close)
        place = f"{outside.address} {outside.port}"
        udp = f"timeout 3 nslookup {{}} {outside.address} 2>/dev/null"
        ping = f"ping -c 1 -W 3 {outside.address} >/dev/null"
        self.assertTrue(self.reaches(self.open, outside.address, outside.port))
        for guest in (self.one, self.other):
            output, _ = self.run_in(guest, f"timeout 3 nc {place} </dev/null & {udp.format('closed')} & {ping} && echo hello; "
                                    f"ip route add default via 10.0.2.2 2>/dev/null; timeout 3 nc {place}; wait")
            self.assertNotIn(b"hello", output)
        # The last of the questions, so that an earlier one would have been there before.
        self.run_in(self.open, udp.format("open"))
        asked = outside.server.stdout.readline()
        self.assertIn(b"open", asked)

    @staticmethod
    def own_addresses():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
                return {probe.getsockname()[0]}
            except OSError:
                return set()

    def test_web_both_ways(self):
        where = tempfile.mkdtemp(prefix="poolfs-test.")
        self.addCleanup(harness.sh, f"rm -rf {where}")
        with open(where + "/file", "wb") as file:
            file.write(os.urandom(2 << 20))
        digest = hashlib.sha256(read(where + "/file")).hexdigest()
        web = subprocess.Popen(["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                                where, "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(web.wait)
        self.addCleanup(web.terminate)
        self.addCleanup(web.stdout.close)
        address = make(self.one / "forward", web.stdout.readline().split()[5])
        output, _ = self.run_in(self.one, f"wget -q -O /tmp/file http://{address}/file; sha256sum </tmp/file")
        self.assertEqual(output.split()[0].decode(), digest)
        # A server in the guest, of one connection.
        with open(self.one / "cmd", "w") as cmd:
            cmd.write("{ printf 'HTTP/1.0 200 OK\\r\\nContent-Length: 2097152\\r\\n\\r\\n'; cat /tmp/file; } |"
                      " nc -l -p 8000")
        exposed = make(self.one / "expose", "8000")
        wait_for(lambda: subprocess.run(["curl", "-sf", "-o", where + "/back", f"http://{exposed}/"])
                 .returncode == 0, "web server in the guest", 20)
        self.assertEqual(hashlib.sha256(read(where + "/back")).hexdigest(), digest)

    def test_ssh_to_what_was_exposed_before_the_boot(self):
        address = text(self.one / "expose" / "22").strip()
        done = subprocess.run(["ssh", "-F", "none", "-i", harness.GUEST + "/id_ed25519", "-o", "BatchMode=yes",
                               "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                               "LogLevel=ERROR", "-p", address.rpartition(":")[2], "root@127.0.0.1", "cat; exit 4"],
                              input=bytes(1 << 20), capture_output=True, timeout=60)
        self.assertEqual((done.stdout == bytes(1 << 20), done.returncode), (True, 4))

    def test_many_and_large_ones(self):
        server = self.serving(lambda connection: connection.sendall(read_all(connection)))
        forward = make(self.one / "forward", str(server.port))
        # What the guest's own nc sends through the forward comes back whole.
        output, _ = self.run_in(self.one, "dd if=/dev/urandom of=/tmp/big bs=64k count=256 2>/dev/null; "
                                f"for i in 1 2 3 4; do (nc {forward.replace(':', ' ')} </tmp/big | cmp - /tmp/big && "
                                "echo same) & done; wait")
        self.assertEqual(output, b"same\n" * 4)
        # And back into the guest, to its forward: from host through guest to host.
        loop = make(self.one / "expose", forward.rpartition(":")[2])
        data = os.urandom(8 << 20)
        self.assertTrue(exchange(loop, data) == data)
        connections = [connect(loop) for _ in range(100)]
        for connection in connections:
            connection.sendall(b"x" * 1000)
        for connection in connections:
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            with connection:
                self.assertEqual(read_all(connection), b"x" * 1000)

    def test_what_dropbear_cannot(self):
        """Old ones cannot connect to unix sockets; then the file says so."""
        address = make(self.one / "expose", "unix:%2Ftmp%2Fno-such-socket")
        with self.assertRaises(ConnectionResetError):
            with connect(address) as connection:
                connection.recv(1)
        file = self.one / "expose" / "unix:%2Ftmp%2Fno-such-socket"
        self.addCleanup(file.unlink)
        with connect(text(self.one / "expose" / "22").strip()) as ssh:
            old = b"dropbear_2022" in ssh.recv(100)
        if old:
            wait_for(lambda: "cannot connect to unix sockets" in text(self.one / "error"), "reason", 20)
            with self.assertRaises(OSError):
                text(file)


if __name__ == "__main__":
    harness.main()
