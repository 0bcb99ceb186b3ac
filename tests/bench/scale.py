#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Many instances in one mount: how long mkdir takes while the others boot, what ls -l and status take, and
what an instance costs in memory and descriptors. Every time stands beside that of a peer, measured in the same run
in turns with it, so that a busy machine slows both: for mkdir, a fork(2) and exec(2) of /bin/true, what an
instance has on the disk, a directory, a file and a socket, and the way to the daemon and back, a read of `version`. A disk where much was removed a moment ago may
be slow with these (ext4 does not use an inode again for some seconds, and looks for others).

usage: scale.py BUILD [--type null|container|exec] [--count N] [--work DIRECTORY]
"""
import argparse
import contextlib
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


def text(path):
    return pathlib.Path(path).read_text()


def took(work):
    """Milliseconds that a function takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def cpu(pid):
    """Milliseconds of processor time that a process has used."""
    fields = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / TICKS


def private(pid):
    """KiB of memory that are a process' own."""
    return sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+)", text(f"/proc/{pid}/smaps_rollup"), re.M))


def family(pid):
    """The processes below one."""
    children = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(text(path).rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found[1:]


def spawn():
    """The peer of mkdir: a process is there, and has begun another program."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    return pid


def write_plain(path):
    """The peer on the disk."""
    os.mkdir(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}/shim.sock")
    pathlib.Path(path, "instance.json").write_bytes(1500 * b" ")


def quartiles(times):
    cuts = statistics.quantiles(times, n=100)
    return f"median {statistics.median(times):7.2f} ms, 99 % {cuts[98]:8.2f} ms"


class Bench:
    def __init__(self, build, kind, count, work):
        self.build, self.kind, self.count = pathlib.Path(build).resolve(), kind, count
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-bench.", dir=work))
        self.mnt, self.work = self.base / "mnt", self.base / "work"
        self.pool = self.mnt / "many"
        self.mnt.mkdir()
        config = f"[poolfs]\nworkdir = {self.work}\nlog_level = warning\n"
        if kind == "null":
            config += f"modules = {self.make_module()}\n"
        (self.base / "poolfs.ini").write_text(config + f"[pool many]\ntype = {kind}\ncount = {count}\n"
                                              + ("run = sh -c\n" if kind == "exec" else ""))
        self.daemon = subprocess.Popen([self.build / "poolfs", "-f", self.base / "poolfs.ini", self.mnt])
        while not os.path.ismount(self.mnt):
            if self.daemon.poll() is not None:
                raise SystemExit("poolfs did not start")
            time.sleep(0.01)

    def make_module(self):
        """The example module, built against the header of this source."""
        (self.base / "include").mkdir()
        (self.base / "include/poolfs").symlink_to(TOP / "backends")
        module = self.base / "null.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{self.base}/include", "-o", module,
                        TOP / "docs/examples/module/null.c"], check=True)
        return module

    def close(self):
        subprocess.run(["fusermount3", "-u", "-z", self.mnt], check=False)
        self.daemon.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def names(self):
        return [f"n{i:04}" for i in range(self.count)]

    def make(self):
        """mkdir of all, in turns with the peer."""
        mkdirs, spawns, disk, ways, peers = [], [], [], [], []
        plain = self.base / "plain"
        plain.mkdir()
        before, begin = cpu(self.daemon.pid), time.perf_counter()
        for name in self.names():
            mkdirs.append(took(lambda name=name: os.mkdir(self.pool / name)))
            spawns.append(took(lambda: peers.append(spawn())))
            disk.append(took(lambda name=name: write_plain(plain / name)))
            ways.append(took(lambda: text(self.mnt / "version")))
        used = cpu(self.daemon.pid) - before
        for pid in peers:
            os.waitpid(pid, 0)
        peer = statistics.median(spawns) + statistics.median(disk)
        print(f"mkdir          {quartiles(mkdirs)}; ratio {statistics.median(mkdirs) / peer:.2f} to the sum of")
        print(f"fork and exec  {quartiles(spawns)}, and of")
        print(f"the same files {quartiles(disk)}")
        print(f"read version   {quartiles(ways)}; ratio of mkdir to it "
              f"{statistics.median(mkdirs) / statistics.median(ways):.2f}")
        print(f"               {used / self.count:.2f} ms of the daemon's processor time for each")
        for name in self.names():
            text(self.pool / name / "ready")
        print(f"all ready      {time.perf_counter() - begin:7.1f} s")

    def look(self):
        """Those who look at all of them."""
        plain = self.base / "plain"
        listed = min(took(lambda: subprocess.run(["ls", "-l", self.pool], stdout=subprocess.DEVNULL, check=True))
                     for _ in range(5))
        peer = min(took(lambda: subprocess.run(["ls", "-l", plain], stdout=subprocess.DEVNULL, check=True))
                   for _ in range(5))
        status = min(took(lambda: text(self.mnt / "status")) for _ in range(5))
        json = min(took(lambda: text(self.mnt / "status.json")) for _ in range(5))
        print(f"ls -l          {listed:7.1f} ms; of as many directories on a disk {peer:.1f} ms; "
              f"ratio {listed / peer:.2f}")
        print(f"status         {status:7.1f} ms, status.json {json:.1f} ms")

    def weigh(self, before):
        """Memory of the daemon for each, and of the shims."""
        shims = [private(text(path).split()[0]) for path in self.work.glob("*/shim.pid")]
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
            time.sleep(0.1)
            peer = private(cat.pid)
            cat.stdin.close()
        print(f"daemon         {(private(self.daemon.pid) - before) / self.count:7.1f} KiB for each")
        print(f"shim           {statistics.median(shims):7.0f} KiB private (median), {max(shims)} at most; "
              f"cat(1): {peer}")
        files, processes = len(os.listdir(f"/proc/{self.daemon.pid}/fd")), len(family(self.daemon.pid))
        print(f"for each       {files / self.count:7.1f} descriptors of the daemon, "
              f"{processes / self.count:.1f} processes")

    def remove(self):
        begin = time.perf_counter()
        for name in self.names():
            os.rmdir(self.pool / name)
        mid = time.perf_counter()
        while any(path.name.isdigit() for path in self.work.iterdir()):
            time.sleep(0.02)
        print(f"rmdir          {(mid - begin) * 1e3 / self.count:7.2f} ms each; all gone after "
              f"{time.perf_counter() - begin:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--type", default="null", choices=("null", "container", "exec"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--work", help="where instances live; a directory of the temporary ones' disk")
    options = parser.parse_args()
    bench = Bench(options.build, options.type, options.count, options.work)
    with contextlib.closing(bench):
        before = private(bench.daemon.pid)
        bench.make()
        bench.look()
        bench.weigh(before)
        bench.remove()


if __name__ == "__main__":
    main()
