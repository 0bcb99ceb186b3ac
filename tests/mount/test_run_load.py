# SPDX-License-Identifier: MIT
"""Many runs: at once, from many processes, and one after another, which leave nothing behind."""
import os
import subprocess

import harness
import runs
from harness import PATIENCE, text, value, wait_for, write

# A user of its own: makes a run, starts it, follows it, and checks all that it got; so many times.
USER = """
set -e
for round in $(seq $3); do
r=$1/runs/u$2
[ $round = 1 ] || rmdir $r
mkdir $r
printf 'x=%s; for i in 1 2 3 4 5; do echo out $x $i; echo err $x $i >&2; done; exit %s' \
$2 $(($2 % 256)) >$r/cmd
: >$r/stdin
[ "$(cat $r/stdout)" = "$(for i in 1 2 3 4 5; do echo out $2 $i; done)" ]
[ "$(cat $r/stderr)" = "$(for i in 1 2 3 4 5; do echo err $2 $i; done)" ]
[ "$(cat $r/exit)" = $(($2 % 256)) ]
[ "$(cat $r/output | wc -l)" = 10 ]
done
"""


class Users:
    """For one instance on any kind of machine."""

    users = 200
    rounds = 1

    def test_many_processes(self):
        users = [subprocess.Popen(["sh", "-c", USER, "sh", self.instance, str(n),
                                   str(self.rounds)], stderr=subprocess.PIPE) for n in range(self.users)]
        for n, user in enumerate(users):
            _, err = user.communicate(timeout=PATIENCE)
            self.assertEqual((user.returncode, err), (0, b""), n)
        self.assertEqual(sorted(os.listdir(self.instance / "runs")),
                         sorted(f"u{n}" for n in range(self.users)))
        self.assertEqual(text(self.instance / "state"), "ready\n")


class AtOnce(Users, runs.HostRuns):
    """A server that takes ten commands at a time: the others wait for their turn."""

    sshd_config = ("MaxSessions 10",)

    def test_more_than_the_server_takes(self):
        """Some that hold every place, and others that get one as they go."""
        long = [self.start("cat") for _ in range(9)]
        short = [self.quiet(f"exit {n}") for n in range(20)]
        for run in long[:5]:
            write(run / "stdin", b"x")
        for n, run in enumerate(short):
            self.assertEqual(self.ended(run), (n, "exited"))
        for run in long[5:]:
            write(run / "stdin", b"x")
        for run in long:
            self.assertEqual(self.ended(run), (0, "exited"))


class AtOnceOnDropbear(Users, runs.HostRuns):
    """A server that ends a connection on which one command ends while another one starts."""

    server = harness.Dropbear
    sshd_config = ()
    rounds = 4


class AtOnceOnGuest(Users, runs.GuestRuns):
    """The same in a virtual machine, which is slow."""

    users = 50
    rounds = 2


def resident(pid):
    """The kilobytes of memory that a process has."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def own(pid):
    """The kilobytes of it that are the process's own, not a file's."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return listed.read().split()


class Memory(runs.HostRuns):
    """What commands take of the shim's memory that print much more than is kept."""

    sshd_config = ("MaxSessions 128",)
    keys = {"output_limit": "256K"}
    count, most = 64, 256 # runs; kilobytes for each

    @classmethod
    def configure(cls):
        os.environ["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=1"
        return super().configure()

    def test_much_output(self):
        """Endless lines on both streams, of which some have a reader who stands still."""
        self.quiet("true")
        shim = self.mount.shim_pid("host", "a")
        before, most = own(shim), 0
        readers = []
        command = ("for i in 1 2; do head -c 500000 /dev/zero; head -c 500000 /dev/zero >&2; "
                   "done; cat")
        started = []
        for n in range(self.count):
            started.append(self.named())
            if n % 4 == 0:
                readers.append(open(started[n] / "output", "rb", buffering=0))
            write(started[n] / "cmd", command)
        for run in started:
            wait_for(lambda: value(run, "output_bytes") == "2000000", "end of the output")
            most = max(most, own(shim))
        for run in started:
            write(run / "stdin", b"")
        for run in started:
            self.assertEqual(self.ended(run), (0, "exited"))
        for reader in readers:
            reader.close()
        self.assertLess(most - before, self.count * self.most)
        self.assertGreater(most - before, self.count * 128) # the beginnings of two lines


class OneAfterAnother(runs.HostRuns):
    """Short runs; what the processes have before and after."""

    count = 1000

    @classmethod
    def configure(cls):
        # A sanitizer keeps freed memory for a while: no more of it than shows in this test.
        os.environ["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=1"
        return super().configure()

    def server_process(self):
        """The server's process for our connection: of ours, the one that has commands."""
        return next(pid for pid in runs.local_processes("sshd: ")
                    if runs.parent(pid) == self.sshd.pid())

    def state(self):
        """Descriptors of daemon, shim and server; processes of shim and server; memory."""
        pids = (self.mount.process.pid, self.mount.shim_pid("host", "a"), self.server_process())
        return ([len(os.listdir(f"/proc/{pid}/fd")) for pid in pids],
                [len(children(pid)) for pid in pids], sum(resident(pid) for pid in pids[:2]))

    def use(self, count):
        for n in range(count):
            with open(self.instance / "cmd", "r+b", buffering=0) as cmd:
                cmd.write(b"echo out; echo err >&2; exit 3")
                run = self.instance / "runs" / cmd.read().decode().strip()
            if n % 10 == 0:
                self.assertEqual(len(harness.read(run / "output")), 8)
            self.assertEqual(text(run / "exit"), "3\n")

    def test_nothing_is_left(self):
        self.use(200) # more than runs_kept
        before = self.state()
        self.use(self.count)

        def settled():
            now = self.state()
            return all(max(now[i]) <= max(before[i]) + 2 for i in (0, 1)) and now
        now = wait_for(settled, f"return to {before}", 10)
        self.assertLess(now[2], before[2] + 4096)
        self.assertEqual(len(os.listdir(self.instance / "runs")), 64)
        spools = list(self.mount.directory_of("host", "a").glob("run.*"))
        self.assertLessEqual(len(spools), 64 * 4)


if __name__ == "__main__":
    harness.main()
