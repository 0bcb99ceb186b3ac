# SPDX-License-Identifier: MIT
"""What the programs beside this one share: an SSH server, poolfs, and the peers on that server."""
import argparse
import contextlib
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


def parents():
    """The parent of each process."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return found


def below(roots):
    """These processes and all that come from them."""
    every, found = parents(), list(roots)
    for pid in found:
        found += [child for child, parent in every.items() if parent == pid]
    return found


def family(pid):
    """The processes of a server: itself and its sessions (sshd-session with newer ones), but not what
    those run."""
    name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    found = []
    for other in below([pid]):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{other}/comm").read_text().startswith(name):
                found.append(other)
    return found


def processor(pids):
    """The seconds of CPU time that these processes have taken until now."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


class Burden:
    """The processes that a peer consists of, with those that serve it on the SSH server `sshd`. Made
    before the peer, and told its first processes when it is there."""

    def __init__(self, sshd):
        self.server = sshd.pid()
        self.others = below([self.server])
        self.roots = self.served = []

    def of(self, roots):
        self.roots = roots
        self.served = [pid for pid in below([self.server]) if pid not in self.others]

    def seconds(self):
        """The CPU time that they have taken until now."""
        return processor(below(self.roots + self.served))


class Poolfs:
    """A mount with one instance on the server."""

    def __init__(self, sshd, **keys):
        import harness
        self.burden = Burden(sshd)
        self.mount = harness.Mount(harness.ssh_pool(sshd, **keys))
        self.instance = self.mount.path / "host" / "a"
        self.instance.mkdir()
        harness.read(self.instance / "ready")
        self.cmd = os.fsencode(self.instance / "cmd")
        self.files = self.instance / "files"
        self.burden.of([self.mount.process.pid])

    def settle(self, directory):
        """Waits until what was done in the directory has arrived, where it was answered before."""
        fd = os.open(directory, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

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
    """sshfs on the same server; more: further options. It leaves its ssh to init: the two are the
    processes with the server's key that have come."""

    def __init__(self, sshd, directory, *more):
        before, key = parents(), sshd.directory / "id"
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        self.burden = Burden(sshd)
        self.files = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-sshfs."))
        subprocess.run(["sshfs", f"{user}@127.0.0.1:{directory}", self.files, "-F", "/dev/null",
                        "-p", str(sshd.port), "-o", f"IdentityFile={key}",
                        "-o", f"UserKnownHostsFile={sshd.directory}/known_hosts",
                        "-o", "BatchMode=yes", *more], check=True)
        self.burden.of([pid for pid in parents() if pid not in before and self.command_names(pid, key)])

    @staticmethod
    def command_names(pid, path):
        with contextlib.suppress(OSError):
            return os.fsencode(path) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    def settle(self, directory):
        """Its calls return when the server has done them."""

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

    def run(self, command="true"):
        """Milliseconds."""
        return self.ask(f"run {command}")

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.communicate()


def server(*config, directory=None):
    """An SSH server; config: further lines for it; directory: where its own is."""
    import harness
    return harness.Sshd(tempfile.mkdtemp(prefix="poolfs-sshd.", dir=directory), *config)
