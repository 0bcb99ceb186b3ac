# SPDX-License-Identifier: MIT
"""What the programs beside this one share: an SSH server, poolfs, and the peers on that server."""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))


def arguments(description, **defaults):
    """Parses the command line: --build, and an option for each default, of its type."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="build",
                        help="where poolfs was built, without sanitizers (default: build)")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value,
                            help=f"(default: {value})")
    options = parser.parse_args()
    os.environ["POOLFS_TEST_BUILD"] = str(pathlib.Path(options.build).resolve())
    return options


def median(values):
    return statistics.median(list(values))


class Poolfs:
    """A mount with one instance on the server."""

    def __init__(self, sshd, **keys):
        import harness
        self.mount = harness.Mount(harness.ssh_pool(sshd, **keys))
        self.instance = self.mount.path / "host" / "a"
        self.instance.mkdir()
        harness.read(self.instance / "ready")
        self.cmd = os.fsencode(self.instance / "cmd")
        self.files = self.instance / "files"

    def run(self):
        """`true`: from the write to cmd until exit is read."""
        fd = os.open(self.cmd, os.O_RDWR)
        os.write(fd, b"true\n")
        number = os.read(fd, 32).strip()
        os.close(fd)
        fd = os.open(b"%s/runs/%s/exit" % (os.fsencode(self.instance), number), os.O_RDONLY)
        status = os.read(fd, 16)
        os.close(fd)
        assert status == b"0\n", status

    def close(self):
        self.mount.stop()


class ControlMaster:
    """ssh(1) over one connection that is there already."""

    def __init__(self, sshd):
        self.directory = tempfile.mkdtemp(prefix="poolfs-bench.")
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        self.options = ["-F", "none", "-o", "BatchMode=yes", "-p", str(sshd.port),
                        "-i", str(sshd.directory / "id"),
                        "-o", f"UserKnownHostsFile={sshd.directory}/known_hosts",
                        "-S", f"{self.directory}/control", f"{user}@127.0.0.1"]
        subprocess.run(["ssh", "-M", "-f", "-N", *self.options], check=True)

    def pid(self):
        """Of the process that has the connection."""
        done = subprocess.run(["ssh", "-O", "check", *self.options], stderr=subprocess.PIPE,
                              text=True, check=True)
        return int(done.stderr.rpartition("pid=")[2].split(")")[0])

    def run(self, command="true", **more):
        subprocess.run(["ssh", *self.options, command], check=True, stdin=subprocess.DEVNULL, **more)

    def close(self):
        subprocess.run(["ssh", "-O", "exit", *self.options], check=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.directory, ignore_errors=True)


class Sshfs:
    """sshfs on the same server; more: further options."""

    def __init__(self, sshd, directory, *more):
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        self.files = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-sshfs."))
        subprocess.run(["sshfs", f"{user}@127.0.0.1:{directory}", self.files, "-F", "/dev/null",
                        "-p", str(sshd.port), "-o", f"IdentityFile={sshd.directory}/id",
                        "-o", f"UserKnownHostsFile={sshd.directory}/known_hosts",
                        "-o", "BatchMode=yes", *more], check=True)

    def close(self):
        subprocess.run(["fusermount3", "-u", "-z", self.files], check=True)
        self.files.rmdir()


class Delay:
    """Puts a distance before the server: its port is the proxy's from here on (delay.py)."""

    def __init__(self, sshd, milliseconds):
        self.process = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("delay.py"),
                                         str(sshd.port), str(milliseconds)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = int(self.process.stdout.readline())
        known = sshd.directory / "known_hosts"
        known.write_text("".join(f"{line}\n{line.replace(f':{sshd.port} ', f':{port} ')}\n"
                                 for line in known.read_text().splitlines()))
        sshd.port = port

    def close(self):
        self.process.communicate()


class Floor:
    """libssh2 alone, on a session that is there already (floor.c)."""

    def __init__(self, sshd):
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        program = pathlib.Path(os.environ["POOLFS_TEST_BUILD"], "tests/bench/bench_floor")
        self.process = subprocess.Popen([program, str(sshd.port), user, sshd.directory / "id"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.communicate()


def server(*config):
    """An SSH server; config: further lines for it."""
    import harness
    return harness.Sshd(tempfile.mkdtemp(prefix="poolfs-sshd."), *config)
