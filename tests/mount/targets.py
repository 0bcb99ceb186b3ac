# SPDX-License-Identifier: MIT
"""What the tests of machines that are lent share: SSH servers, and pools of them."""
import errno
import os
import pathlib
import shutil
import subprocess
import tempfile

import harness
from harness import POOLFS, Sshd, read, sh, text, wait_for

USER = sh("id -un").strip()


def machines(case, count):
    """SSH servers, each a machine of its own that knows one client; a known_hosts file for all."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-targets."))
    case.addClassCleanup(shutil.rmtree, base, ignore_errors=True)
    found = []
    for number in range(count):
        directory = base / str(number)
        directory.mkdir()
        if found:
            for name in ("id", "id.pub"):
                shutil.copy(found[0].directory / name, directory)
        (directory / "home").mkdir()
        # Commands in it see which machine they are on.
        # What it finds first is of the test's making.
        server = Sshd(directory, f"SetEnv MACHINE={number} PATH={base}/bin:{os.environ['PATH']}")
        case.addClassCleanup(server.stop)
        found.append(server)
    known = base / "known_hosts"
    known.write_text("".join((server.directory / "known_hosts").read_text() for server in found))
    return base, known, found


def pool(name, known, server, **keys):
    """A pool of machines that know the client of that server."""
    lines = {"type": "ssh", "ssh_user": USER, "ssh_key": server.directory / "id",
             "known_hosts": known, **keys}
    return f"[pool {name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


class TargetsTest(harness.MountTest):
    """Tests with servers of their class, and a mount of them."""

    servers = 2

    @classmethod
    def configure(cls):
        cls.base, cls.known, cls.machines = machines(cls, cls.servers)
        cls.files = cls.base / "files"
        cls.files.mkdir()
        return cls.pools()

    def setUp(self):
        # The next test finds every machine given back.
        self.addCleanup(self.settle)

    def settle(self):
        for directory in self.mount.path.iterdir():
            if directory.is_dir():
                wait_for(lambda: " lent " not in text(directory / "pool.status"), "return")

    def status(self, name):
        """pool.status as a dictionary."""
        lines = text(self.mount.path / name / "pool.status").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def free(self, name, count):
        """Waits until so many machines of a pool can be lent."""
        wait_for(lambda: self.status(name)["targets_free"] == str(count), f"{count} free machines")

    def machine_of(self, instance):
        return self.run_in(instance, "echo $MACHINE")[0].decode().strip()

    def fails(self, name):
        """What is in `error` after a boot that fails."""
        path = self.mount.path / name / "a"
        path.mkdir()
        self.addCleanup(self.drop, path)
        with self.assertRaises(OSError):
            read(path / "ready")
        return text(path / "error")

    def refused(self, path):
        with self.assertRaises(OSError) as caught:
            path.mkdir()
        self.assertEqual(caught.exception.errno, errno.ENOSPC)
        return text(self.mount.path / "events").splitlines()[-1]


def check(lines, known="known_hosts = /dev/null\n"):
    """What --check says of a pool with these lines, which begin with line 4."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write("[pool lab]\ntype = ssh\n" + known + lines)
        file.flush()
        done = subprocess.run([POOLFS, "--check", file.name], capture_output=True, text=True,
                              timeout=harness.PATIENCE)
        return done.stderr.replace(file.name, "FILE")
