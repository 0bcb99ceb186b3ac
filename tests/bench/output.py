# SPDX-License-Identifier: MIT
"""
How fast a command's output comes: a file of 1 GiB by `cat` on the server, read through a run's
output, against the same by ssh(1) over a connection that is there already (ControlMaster), in
alternation, on one sshd on loopback. A ratio above 1 means that poolfs is faster. Then the
processor time that each side's processes take for a GiB, which other work on the machine changes
little.

usage: output.py [--build DIRECTORY] [--mebibytes N] [--rounds N]
"""
import os
import time

import peers


def ours(poolfs, command, size):
    with open(poolfs.cmd, "wb", buffering=0) as cmd:
        cmd.write(command.encode())
    got = 0
    with open(poolfs.instance / "last/output", "rb", buffering=0) as output:
        while data := output.read(131072):
            got += len(data)
    assert got == size, (got, size)


def theirs(master, command, size):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        master.run(command, stdout=write)
        os._exit(0)
    os.close(write)
    got = 0
    while data := os.read(read, 131072):
        got += len(data)
    os.close(read)
    os.waitpid(pid, 0)
    assert got == size, (got, size)


def processor(pid):
    """The seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as stat:
        times = stat.read().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def main():
    options = peers.arguments("Output of a command against ssh.", mebibytes=1024, rounds=3)
    size = options.mebibytes << 20
    sshd = peers.server()
    poolfs = master = None
    try:
        poolfs = peers.Poolfs(sshd)
        master = peers.ControlMaster(sshd)
        path = sshd.directory / "big"
        with open(path, "wb") as file:
            for _ in range(options.mebibytes):
                file.write(os.urandom(1 << 20))
        rows, used = [], []
        pids = [poolfs.mount.shim_pid("host", "a"), poolfs.mount.process.pid, master.pid()]
        for _ in range(options.rounds):
            row, before = [], [processor(pid) for pid in pids]
            for run, peer in ((ours, poolfs), (theirs, master)):
                start = time.perf_counter()
                run(peer, f"cat {path}", size)
                row.append(options.mebibytes / (time.perf_counter() - start))
            rows.append(row)
            used.append([(processor(pid) - first) * 1024 / options.mebibytes
                         for pid, first in zip(pids, before)])
        medians = [peers.median(column) for column in zip(*rows)]
        print(f"poolfs {medians[0]:.0f} MiB/s   ssh {medians[1]:.0f} MiB/s   "
              f"ratio {medians[0] / medians[1]:.2f}")
        shim, daemon, ssh = (peers.median(column) for column in zip(*used))
        print(f"processor seconds for a GiB: poolfs-shim {shim:.2f}, poolfs {daemon:.2f}; "
              f"ssh {ssh:.2f}")
    finally:
        for peer in (master, poolfs):
            if peer:
                peer.close()
        (sshd.directory / "big").unlink(missing_ok=True)
        sshd.stop()


if __name__ == "__main__":
    main()
