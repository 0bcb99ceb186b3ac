# SPDX-License-Identifier: MIT
"""
How long work on files takes: through files/ of a mount, and through sshfs with its defaults and
with the cipher aes128-gcm, in one run, on one sshd on loopback, in alternation. What is read was
put there by the server's side and has a name that nobody has seen, so that nothing is cached.
The server's files are in memory: making one on a disk may take longer than all the rest.
Printed are medians in seconds, and the time of sshfs divided by ours: above 1, poolfs takes less.
Then the same for the CPU time of all processes of a peer and of those that serve it, which is
quieter on a machine that others use too.

usage: files.py [--build DIRECTORY] [--rounds N] [--rows WORD,WORD] [--delay MILLISECONDS]
                [--mode strict|eager] [--directory DIRECTORY] ...
"""
from concurrent import futures
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

import peers

ABSENT = 20 # different names that do not exist


class Work:
    """A directory of the server, and the same through a peer; each row below is one method."""

    def __init__(self, peer, there, options):
        self.peer, self.there, self.options = peer, there, options
        self.here = peer.files / there.name
        self.count = 0
        self.random = random.Random(1)
        there.mkdir()

    def fresh(self, source=None):
        """A new name; what source names on the server is there, moved, or linked if it is a file."""
        self.count += 1
        name = f"n{self.count}"
        if source and (self.there / source).is_dir():
            os.rename(self.there / source, self.there / name)
        elif source:
            os.link(self.there / source, self.there / name)
        return name

    def made(self, name, make):
        """A name on the server that make(path) filled, once."""
        if not (self.there / name).exists():
            make(self.there / name)
        return name

    @contextlib.contextmanager
    def moved(self, name, make):
        """A directory that was made once, by a new name."""
        fresh = self.fresh(self.made(name, make))
        yield self.here / fresh
        os.rename(self.there / fresh, self.there / name)

    def big(self, path):
        with open(path, "wb") as file:
            block = self.random.randbytes(1 << 20)
            for _ in range(self.options.mebibytes):
                file.write(block)

    def small(self, count, size=4096):
        def make(path):
            path.mkdir()
            for i in range(count):
                (path / f"f{i:05}").write_bytes(self.random.randbytes(size))
        return make

    def tree(self, path):
        """As a source tree looks: directories of some tens of files of a few KiB."""
        for i in range(self.options.tree):
            directory = path / f"part{i // 25}" / ("include" if i % 5 == 0 else "src")
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"file{i}.c").write_bytes(self.random.randbytes(500 + i * 37 % 9000))

    def repository(self, path):
        self.tree(path)
        subprocess.run("git init -q . && git add . && "
                       "git -c user.name=n -c user.email=e commit -qm all",
                       shell=True, cwd=path, check=True)

    def write(self):
        path, block = self.here / self.fresh(), self.random.randbytes(1 << 20)
        with timer() as took, open(path, "wb", buffering=0) as file:
            for _ in range(self.options.mebibytes):
                file.write(block)
            os.fsync(file.fileno())
        path.unlink()
        return took

    def read(self):
        path = self.here / self.fresh(self.made("big", self.big))
        with timer() as took, open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
        path.unlink()
        return took

    def random_reads(self, readers=1):
        path = self.here / self.fresh(self.made("big", self.big))
        last = (self.options.mebibytes << 20) - 4096
        offsets = [self.random.randrange(last) & ~4095 for _ in range(self.options.reads)]

        def read(part):
            for offset in part:
                os.pread(file.fileno(), 4096, offset)

        with open(path, "rb", buffering=0) as file, futures.ThreadPoolExecutor(readers) as pool:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            with timer() as took:
                list(pool.map(read, [offsets[i::readers] for i in range(readers)]))
        path.unlink()
        return took

    def random_reads_at_once(self):
        return self.random_reads(self.options.readers)

    def create(self):
        path, data = self.here / self.fresh(), bytes(4096)
        path.mkdir()
        with timer() as took:
            for i in range(self.options.files):
                with open(path / f"f{i:05}", "wb", buffering=0) as file:
                    file.write(data)
        self.peer.settle(path)
        shutil.rmtree(self.there / path.name)
        return took

    def read_small(self):
        with self.moved("small", self.small(self.options.files)) as path:
            with timer() as took:
                for i in range(self.options.files):
                    with open(path / f"f{i:05}", "rb", buffering=0) as file:
                        file.read()
        return took

    def list(self):
        with self.moved("many", self.small(self.options.listed, 0)) as path:
            return run("ls -l", path)

    def stat(self, listed=True):
        with self.moved("small", self.small(self.options.files)) as path:
            names = [os.fspath(path / f"f{i:05}") for i in range(self.options.files)]
            if listed:
                run("ls", path)
            with timer() as took:
                for name in names:
                    os.stat(name)
        return took

    def stat_unlisted(self):
        return self.stat(listed=False)

    def absent(self):
        with self.moved("small", self.small(self.options.files)) as path:
            names = [os.fspath(path / f"none{i}") for i in range(ABSENT)]
            with timer() as took:
                for i in range(self.options.files):
                    os.path.exists(names[i % ABSENT])
        return took

    def tar(self):
        archive = self.there / "tree.tar"
        if not archive.exists():
            self.tree(self.there / "packed")
            run(f"tar cf {archive} packed", self.there)
        path = self.here / self.fresh()
        path.mkdir()
        took = run(f"tar xf {archive}", path)
        self.peer.settle(path)
        shutil.rmtree(self.there / path.name)
        return took

    def status(self):
        with self.moved("repository", self.repository) as path:
            run("git status", path) # takes up the numbers of these files
            return run("git status", path)

    def remove(self):
        name = self.fresh()
        self.tree(self.there / name)
        return run(f"rm -rf {name}", self.here)


ROWS = {"write": (Work.write, "write {mebibytes} MiB, fsync"),
        "read": (Work.read, "read {mebibytes} MiB"),
        "random": (Work.random_reads, "{reads} random reads of 4 KiB"),
        "readers": (Work.random_reads_at_once, "the same, {readers} readers at once"),
        "create": (Work.create, "create {files} files of 4 KiB"),
        "small": (Work.read_small, "read {files} files of 4 KiB"),
        "list": (Work.list, "ls -l of {listed}"),
        "stat": (Work.stat, "stat of {files} after ls"),
        "unlisted": (Work.stat_unlisted, "stat of {files} without ls"),
        "absent": (Work.absent, "{files} look-ups of absent names"),
        "tar": (Work.tar, "tar x of a tree of {tree} files"),
        "status": (Work.status, "git status, {tree} files"),
        "remove": (Work.remove, "rm -rf of {tree} files")}


@contextlib.contextmanager
def timer():
    """Measures its block; the list that it gives holds the seconds afterwards."""
    took = []
    start = time.perf_counter()
    yield took
    took.append(time.perf_counter() - start)


def run(command, directory):
    with timer() as took:
        subprocess.run(command, shell=True, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return took


def measure(works, method, rounds):
    """The medians of the peers, which take turns; who begins changes too: of seconds, of CPU time."""
    times, burdens = [[] for _ in works], [[] for _ in works]
    for turn in range(rounds):
        for i in range(len(works)):
            at = (i + turn) % len(works)
            before = works[at].peer.burden.seconds()
            times[at] += method(works[at])
            burdens[at].append(works[at].peer.burden.seconds() - before)
    return [[peers.median(column) for column in columns] for columns in (times, burdens)]


def table(works, options):
    columns = ["poolfs", "sshfs", "s/ours", "gcm", "gcm/ours"]
    print(f"{'seconds':34}", *(f"{word:>9}" for word in columns + ["CPU ours", "sshfs", "s/ours"]))
    for name in options.rows.split(","):
        method, title = ROWS[name]
        (ours, sshfs, gcm), cpu = measure(works, method, options.rounds)
        print(f"{title.format(**vars(options)):34} {ours:9.4f} {sshfs:9.4f} {sshfs / ours:9.2f} "
              f"{gcm:9.4f} {gcm / ours:9.2f} {cpu[0]:9.4f} {cpu[1]:9.4f} {cpu[1] / cpu[0]:9.2f}",
              flush=True)


def main():
    options = peers.arguments("Work on files against sshfs.", rounds=5, rows=",".join(ROWS), delay=0,
                              mode="strict", mebibytes=256, reads=2000, readers=16, files=2000, listed=5000, tree=200,
                              directory="/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())
    sshd = peers.server("MaxSessions 10", directory=options.directory)
    with contextlib.ExitStack() as stack:
        stack.callback(sshd.abandon)
        home = pathlib.Path(sshd.directory, "home")
        home.mkdir()
        if options.delay:
            stack.callback(peers.Delay(sshd, options.delay / 2).close)
        open_peers = [peers.Poolfs(sshd, files=home, files_mode=options.mode)]
        stack.callback(open_peers[0].close)
        for more in ((), ("-o", "Ciphers=aes128-gcm@openssh.com")):
            open_peers.append(peers.Sshfs(sshd, home, *more))
            stack.callback(open_peers[-1].close)
        works = [Work(peer, home / f"peer{i}", options) for i, peer in enumerate(open_peers)]
        table(works, options)


if __name__ == "__main__":
    main()
