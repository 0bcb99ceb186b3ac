# SPDX-License-Identifier: MIT
"""The limits of containers by control groups of version 2, in a virtual machine that has these alone."""
import shutil
import unittest

import harness
import runs

PROBE = harness.BUILD / "tests/mount/limits_probe"
LIMIT, PIDS = 32 << 20, 10


class Unified(runs.GuestRuns):
    """A machine with the hierarchy mounted. The probe starts in a group of the test's choice."""

    @classmethod
    def configure(cls):
        if not PROBE.exists():
            raise unittest.SkipTest("no static C library: the probe was not built")
        return super().configure()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            shutil.copy(PROBE, cls.instance / "files/probe")
            (cls.instance / "files/probe").chmod(0o755)
        except BaseException:
            cls.tearDownClass()
            raise

    def probe(self, group, before=":"):
        """What it says, as lines, when it runs in that group."""
        out, err, status, _ = self.result(
            "grep -q cgroup2 /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup; cd /sys/fs/cgroup; "
            f"mkdir -p {group} && {before} && echo $$ >{group}/cgroup.procs && "
            f"~/probe {LIMIT} {PIDS}; find . -name 'poolfs-*' -type d | sort; echo $$ >cgroup.procs")
        self.assertEqual((err, status), (b"", 0), out)
        return out.decode().splitlines()

    def check(self, lines, parent, left=()):
        for line in ("memory signal 9", f"pids status {PIDS}", f"told memory_limit {LIMIT}",
                     f"told pids_limit {PIDS}", "told cpus_limit 1"):
            self.assertIn(line, lines)
        groups = {line.rpartition("/")[0] for line in lines if line.startswith("group ")}
        self.assertEqual(groups, {"group " + parent})
        self.assertEqual([line for line in lines if line.startswith("./")], list(left))

    def test_at_the_top(self):
        self.check(self.probe("."), "/sys/fs/cgroup")

    def test_what_others_left(self):
        """Of a process that is gone; not of one that is there, and not what is no group of ours."""
        lines = self.probe(".", "mkdir poolfs-999999 poolfs-1 poolfs-999999x")
        self.check(lines, "/sys/fs/cgroup", left=["./poolfs-1", "./poolfs-999999x"])
        self.result("rmdir /sys/fs/cgroup/poolfs-1 /sys/fs/cgroup/poolfs-999999x")

    def test_in_a_group_that_cannot_hand_on(self):
        """One that has processes; the one above has none."""
        self.check(self.probe("slice/service", "echo +memory +pids +cpu >cgroup.subtree_control && "
                              "echo +memory +pids +cpu >slice/cgroup.subtree_control"),
                   "/sys/fs/cgroup/slice")


if __name__ == "__main__":
    harness.main()
