# SPDX-License-Identifier: MIT
"""
How fast a command's output comes: a file of 1 GiB by `cat` on the server, read through a run's
output, against the same by ssh(1) over a connection that is there already (ControlMaster), in
alternation, on one sshd on loopback. A ratio above 1 means that poolfs is faster. libssh2 alone, which
drops what it reads (floor.c), shows what can be had with that library. Then the processor time that each
side's processes take for a GiB, which other work on the machine changes less.

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


def floor(peer, command, size):
    peer.run(command)


def main():
    options = peers.arguments("Output of a command against ssh.", mebibytes=1024, rounds=3)
    size = options.mebibytes << 20
    sshd = peers.server()
    poolfs = master = libssh2 = None
    try:
        poolfs, master, libssh2 = peers.Poolfs(sshd), peers.ControlMaster(sshd), peers.Floor(sshd)
        path = sshd.directory / "big"
        with open(path, "wb") as file:
            for _ in range(options.mebibytes):
                file.write(os.urandom(1 << 20))
        sides = (("poolfs", ours, poolfs, {"poolfs-shim": poolfs.mount.shim_pid("host", "a"),
                                           "poolfs": poolfs.mount.process.pid}),
                 ("ssh", theirs, master, {"ssh": master.pid()}),
                 ("libssh2", floor, libssh2, {"libssh2": libssh2.process.pid}))
        speeds, used = {name: [] for name, *_ in sides}, {}
        for _ in range(options.rounds):
            for name, run, peer, pids in sides:
                counts = {**{what: [pid] for what, pid in pids.items()}, "sshd": peers.family(sshd.pid())}
                before = [peers.processor(pids) for pids in counts.values()]
                start = time.perf_counter()
                run(peer, f"cat {path}", size)
                speeds[name].append(options.mebibytes / (time.perf_counter() - start))
                for (what, pids), first in zip(counts.items(), before):
                    used.setdefault((name, what), []).append(
                        (peers.processor(pids) - first) * 1024 / options.mebibytes)
        medians = {name: peers.median(column) for name, column in speeds.items()}
        print("   ".join(f"{name} {speed:.0f} MiB/s" for name, speed in medians.items()),
              f"  ratio {medians['poolfs'] / medians['ssh']:.2f}")
        print("processor seconds for a GiB, the least of all rounds:")
        for name, *_ in sides:
            print(f"  {name}: " + ", ".join(f"{what} {min(column):.2f}" for (side, what), column
                                            in used.items() if side == name))
    finally:
        for peer in (libssh2, master, poolfs):
            if peer:
                peer.close()
        (sshd.directory / "big").unlink(missing_ok=True)
        sshd.abandon()


if __name__ == "__main__":
    main()
