# SPDX-License-Identifier: MIT
"""
How long a command takes: `true`, from writing it to cmd until its exit status is read, through a
mount. Measured in one run, on one sshd on loopback, in alternation with ssh(1) over a connection
that is there already (ControlMaster) and with libssh2 alone (the floor, see floor.c). Then the
same with several commands at once, as commands per second. A ratio below 1 means that poolfs
takes less time.

usage: exec.py [--build DIRECTORY] [--rounds N]
"""
import threading
import time

import peers


def timed(run):
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def latency(options, ours, master, floor):
    for warm in (ours, master, floor):
        for _ in range(10):
            warm.run()
    rows = [(timed(ours.run), timed(master.run), floor.run()) for _ in range(options.rounds)]
    medians = [peers.median(column) for column in zip(*rows)]
    print("one command at a time, milliseconds (median, fastest, slowest tenth):")
    for name, column in zip(("poolfs", "ssh, ControlMaster", "libssh2 alone"), zip(*rows)):
        column = sorted(column)
        print(f"  {name:20} {peers.median(column):7.2f} {column[0]:7.2f} "
              f"{column[len(column) * 9 // 10]:7.2f}")
    print(f"  poolfs / ControlMaster {medians[0] / medians[1]:.2f}   "
          f"poolfs / libssh2 {medians[0] / medians[2]:.2f}")


def rate(runs, count):
    """Commands per second, when len(runs) workers make count together."""
    def work(run):
        for _ in range(count // len(runs)):
            run()

    workers = [threading.Thread(target=work, args=(run,)) for run in runs]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count // len(runs) * len(runs) / (time.perf_counter() - start)


def concurrency(options, sshd, ours, master):
    print("commands per second:")
    print(f"  {'at once':>8} {'poolfs':>8} {'master':>8} {'libssh2':>8}   poolfs / master")
    for width in (1, 2, 4, 8, 16, 32):
        floors = [peers.Floor(sshd) for _ in range(width)]
        try:
            for floor in floors:
                floor.run()
            rates = [rate(runs, options.rounds) for runs in
                     ([ours.run] * width, [master.run] * width, [floor.run for floor in floors])]
        finally:
            for floor in floors:
                floor.close()
        print(f"  {width:8} {rates[0]:8.0f} {rates[1]:8.0f} {rates[2]:8.0f}   "
              f"{rates[1] / rates[0]:.2f} of its time")


def main():
    options = peers.arguments("Time of a command against ssh and libssh2.", rounds=200)
    sshd = peers.server("MaxSessions 64", "MaxStartups 100")
    open_peers = []
    try:
        for peer in (peers.Poolfs, peers.ControlMaster, peers.Floor):
            open_peers.append(peer(sshd))
        latency(options, *open_peers)
        concurrency(options, sshd, *open_peers[:2])
    finally:
        for peer in reversed(open_peers):
            peer.close()
        sshd.abandon()


if __name__ == "__main__":
    main()
