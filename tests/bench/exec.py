# SPDX-License-Identifier: MIT
"""
How long a command takes: `true`, from writing it to cmd until its exit status is read, through a
mount; against ssh(1) over a connection that is already there (ControlMaster), on the same server,
in alternation. Prints both medians and their ratio; below 1, poolfs is faster.

usage: exec.py [--build DIRECTORY] [--rounds N]

The server is an sshd on loopback that this program starts; build without sanitizers.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "mount"))


def arguments():
    parser = argparse.ArgumentParser(description="Time of a command against ssh's ControlMaster.")
    parser.add_argument("--build", default="build", help="where poolfs was built (default: build)")
    parser.add_argument("--rounds", type=int, default=200, help="commands of each (default: 200)")
    return parser.parse_args()


class Ours:
    """Commands through a mount."""

    def __init__(self, instance):
        self.cmd = os.fsencode(instance / "cmd")
        self.exit = os.fsencode(instance / "last" / "exit")

    def run(self):
        fd = os.open(self.cmd, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"true\n")
        os.close(fd)
        fd = os.open(self.exit, os.O_RDONLY)
        status = os.read(fd, 16)
        os.close(fd)
        assert status == b"0\n", status


class Theirs:
    """Commands by ssh(1) over one connection."""

    def __init__(self, sshd, user):
        self.socket = tempfile.mktemp(prefix="poolfs-bench.", suffix=".ssh")
        self.command = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-p", str(sshd.port),
                        "-i", str(sshd.directory / "id"), "-o",
                        f"UserKnownHostsFile={sshd.directory}/known_hosts", "-S", self.socket,
                        f"{user}@127.0.0.1"]
        subprocess.run([*self.command[:1], "-M", "-f", "-N", *self.command[1:]], check=True)

    def run(self):
        subprocess.run([*self.command, "true"], check=True, stdin=subprocess.DEVNULL)

    def close(self):
        subprocess.run([*self.command[:-1], "-O", "exit", self.command[-1]], check=True,
                       stderr=subprocess.DEVNULL)


def timed(run):
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def report(name, times):
    times = sorted(times)
    print(f"{name:24} median {statistics.median(times):7.2f} ms   "
          f"min {times[0]:7.2f}   90 % {times[len(times) * 9 // 10]:7.2f}")


def main():
    options = arguments()
    os.environ["POOLFS_TEST_BUILD"] = str(pathlib.Path(options.build).resolve())
    import harness

    sshd = harness.Sshd(tempfile.mkdtemp(prefix="poolfs-sshd."))
    mount = theirs = None
    try:
        mount = harness.Mount(harness.ssh_pool(sshd))
        instance = mount.path / "host" / "a"
        instance.mkdir()
        harness.read(instance / "ready")
        ours = Ours(instance)
        theirs = Theirs(sshd, harness.sh("id -un").strip())
        for warm in (ours, theirs):
            for _ in range(10):
                warm.run()
        pairs = [(timed(ours.run), timed(theirs.run)) for _ in range(options.rounds)]
        report("poolfs", [pair[0] for pair in pairs])
        report("ssh with ControlMaster", [pair[1] for pair in pairs])
        ratio = statistics.median(p[0] for p in pairs) / statistics.median(p[1] for p in pairs)
        print(f"ratio {ratio:.2f}")
    finally:
        if theirs:
            theirs.close()
        if mount:
            mount.stop()
        sshd.stop()


if __name__ == "__main__":
    main()
