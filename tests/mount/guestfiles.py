# SPDX-License-Identifier: MIT
"""
What the tests of files/ share: one instance for all tests of a class. Each test has a directory of
its own, seen from both sides: `here` through the mount, `there` on the server.
"""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

import harness
from harness import read, text


class FilesTest(harness.SshTest):
    """Tests that look at one directory from both sides."""

    sshd_config = ("MaxSessions 10",)

    @classmethod
    def setUpClass(cls):
        os.umask(0o022)
        super().setUpClass()
        cls.instance = cls.make("host")

    def setUp(self):
        name = self._testMethodName
        self.there = self.sshd.directory / "home" / name
        self.here = self.instance / "files" / name
        self.there.mkdir()

    def mount_there(self, options):
        """Mounts a tmpfs on the directory. A close is answered a moment before the server has done it."""
        harness.sh(f"mount -t tmpfs -o {options} none '{self.there}'")
        self.addCleanup(harness.wait_for, lambda: subprocess.run(
            ["umount", self.there], stderr=subprocess.DEVNULL).returncode == 0, "end of the use of a mount")

    def fails(self, number, call, *arguments, **more):
        """Checks that the call fails with that errno."""
        with self.assertRaises(OSError) as caught:
            call(*arguments, **more)
        self.assertEqual(os.strerror(caught.exception.errno), os.strerror(number))

    def open(self, name, flags, mode=0o644):
        """A descriptor that is closed with the test, for else the mount does not end."""
        fd = os.open(self.here / name, flags, mode)
        self.addCleanup(os.close, fd)
        return fd

    def both(self, name="x"):
        """The bytes of a file, which must be the same from both sides."""
        data = read(self.there / name)
        self.assertEqual(read(self.here / name), data)
        return data


class Proxy:
    """Stands between poolfs and the server: holds new connections back, or cuts them all."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = threading.Event()
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        self.open.wait()
        with contextlib.suppress(OSError):
            server = socket.create_connection(self.target)
            self.sockets.append(server)
            threading.Thread(target=self.carry, args=(client, server), daemon=True).start()
            self.carry(server, client)

    @staticmethod
    def carry(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        for end in (one, other):
            end.close()

    def cut(self):
        self.open.clear()
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()

    def stop(self):
        self.open.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


def servers(sshd):
    """The processes of the server that serve connections."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = text(entry / "stat").rsplit(")", 1)[1].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
    found = {sshd.pid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {sshd.pid()}


class LoggedServer:
    """For a FilesTest: a server that writes down what it was asked to do."""

    @classmethod
    def configure(cls):
        program = "/usr/lib/openssh/sftp-server"
        if not os.path.exists(program):
            raise unittest.SkipTest("no sftp-server that is a program of its own")
        cls.requests = tempfile.NamedTemporaryFile(prefix="poolfs-requests.")
        cls.addClassCleanup(cls.requests.close)
        os.environ["SSHD_SFTP"] = f"{program} -e -l DEBUG3 2>>{cls.requests.name}"
        try:
            return super().configure()
        finally:
            del os.environ["SSHD_SFTP"]

    def asked(self):
        """What the server has written down since the last time."""
        return self.requests.read().decode(errors="replace")


class ByShell:
    """For a FilesTest: a server without SFTP, so that shell commands carry files/."""

    shell = "dash"
    # Commands that are not this host's own but busybox'.
    busybox = ()

    @classmethod
    def configure(cls):
        found = shutil.which(cls.shell)
        if not found or (cls.busybox and not shutil.which("busybox")):
            raise unittest.SkipTest(f"no {cls.shell}, or no busybox")
        tools = tempfile.mkdtemp(prefix="poolfs-tools.")
        cls.addClassCleanup(shutil.rmtree, tools)
        os.symlink(found, tools + "/sh")
        for name in cls.busybox:
            os.symlink(shutil.which("busybox"), f"{tools}/{name}")
        os.environ["SSHD_SFTP"] = "none"
        cls.sshd_config = (*cls.sshd_config, f"SetEnv SHLVL=2 PATH={tools}:{os.environ['PATH']}")
        try:
            return super().configure()
        finally:
            del os.environ["SSHD_SFTP"]

    def test_it_is_the_shell(self):
        self.assertIn(self.here, self.instance.joinpath("files").iterdir())
        self.assertEqual(harness.value(self.instance, "files_by"), "shell")
