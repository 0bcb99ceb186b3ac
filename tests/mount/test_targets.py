# SPDX-License-Identifier: MIT
"""Machines that exist already and are lent: which one an instance gets, and how it comes back."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import POOLFS, text, value, wait_for
from targets import USER, TargetsTest, check, pool

class Lending(TargetsTest):
    """Three machines: one with a name; two pools have one of them both."""

    servers = 3

    @classmethod
    def pools(cls):
        one, two, three = (f"127.0.0.1:{server.port}" for server in cls.machines)
        keys = {"files": cls.files}
        return (pool("lab", cls.known, cls.machines[0], targets=f"pi={USER}@{one} {two}", **keys) +
                pool("both", cls.known, cls.machines[0], targets=f"{two} third={three}", **keys))

    def test_names(self):
        pi = self.new("lab", "pi")
        other = self.new("lab", "other")
        self.assertEqual((self.machine_of(pi), self.machine_of(other)), ("0", "1"))
        self.assertEqual(value(pi, "target"), "pi")
        self.assertEqual(value(pi, "address"), f"127.0.0.1:{self.machines[0].port}")
        self.assertEqual(text(self.mount.path / "lab/pool.count"), "2\n")
        status = self.status("lab")
        self.assertEqual((status["targets"], status["targets_free"]), ("2", "0"))
        self.assertTrue(status["target.pi"].endswith(" lent lab/pi"), status)
        self.assertTrue(status["target.2"].endswith(" lent lab/other"), status)
        self.assertIn("none of the 2 machines is free", self.refused(self.mount.path / "lab/c"))

    def test_named_machines_are_lent_last(self):
        self.assertEqual(self.machine_of(self.new("lab", "a")), "1")
        taken = self.new("lab", "b")
        self.assertEqual(self.machine_of(taken), "0")
        line = self.refused(self.mount.path / "lab/pi")
        self.assertIn(f"mkdir pi: 127.0.0.1:{self.machines[0].port} is lent to lab/b", line)
        taken.rmdir()
        self.free("lab", 1)
        self.assertEqual(self.machine_of(self.new("lab", "pi")), "0")

    def test_two_pools(self):
        shared = self.new("both", "a")
        self.assertEqual(self.machine_of(shared), "1")
        self.assertEqual(self.status("lab")["targets_free"], "1")
        self.assertEqual(self.machine_of(self.new("lab", "a")), "0")
        self.assertIn("lent to", self.refused(self.mount.path / "lab/b"))
        shared.rmdir()
        self.free("lab", 1)
        self.assertEqual(self.machine_of(self.new("lab", "b")), "1")

    def test_given_back_after_its_process_was_killed(self):
        instance = self.new("lab", "pi")
        os.kill(self.mount.shim_pid("lab", "pi"), 9)
        wait_for(lambda: text(instance / "state") == "stopped\n", "end")
        # It has ended, but it is there.
        self.assertTrue(self.status("lab")["target.pi"].endswith(" lent lab/pi"))
        instance.rmdir()
        self.free("lab", 2)


class Users(TargetsTest):
    """A machine of one user is not another's."""

    servers = 1

    @classmethod
    def pools(cls):
        if os.getuid() != 0:
            raise unittest.SkipTest("two users: for root only")
        lent = pool("lab", cls.known, cls.machines[0], files=cls.files,
                    targets=f"127.0.0.1:{cls.machines[0].port}")
        return "allow_other = yes\n" + lent

    def mkdir_as(self, uid, path):
        return subprocess.run(["setpriv", f"--reuid={uid}", "--clear-groups", "mkdir", path],
                              capture_output=True, text=True, timeout=harness.PATIENCE)

    def test_two_users(self):
        os.chmod(self.mount.base, 0o755)
        first = self.mount.path / "lab/a"
        self.assertEqual(self.mkdir_as(65534, first).returncode, 0)
        self.addCleanup(self.drop, first)
        self.assertEqual(first.stat().st_uid, 65534)
        refused = self.mkdir_as(1, self.mount.path / "lab/b")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("No space left", refused.stderr)
        first.rmdir()
        self.free("lab", 1)
        self.assertEqual(self.mkdir_as(1, self.mount.path / "lab/b").returncode, 0)
        self.drop(self.mount.path / "lab/b")


class HostKeys(TargetsTest):
    """Which machine is trusted: one that is known, one that is new, one that changed."""

    servers = 2

    @classmethod
    def pools(cls):
        one, two = cls.machines
        key = (two.directory / "known_hosts").read_text().split(" ", 1)[1]
        cls.changed = cls.base / "changed"
        cls.changed.write_text(f"[127.0.0.1]:{one.port} {key}")
        cls.learnt = cls.base / "new"
        shutil.copy(two.directory / "known_hosts", cls.learnt)
        cls.learnt.write_text(cls.learnt.read_text().rstrip("\n"))
        target = {"targets": f"127.0.0.1:{one.port}", "files": cls.files}
        return (pool("unknown", two.directory / "known_hosts", one, **target) +
                pool("changed", cls.changed, one, **target) +
                pool("changed-new", cls.changed, one, host_key="accept-new", **target) +
                pool("new", cls.learnt, one, host_key="accept-new", **target) +
                pool("made", cls.base / "made", one, host_key="accept-new", **target))

    def test_unknown(self):
        line = (self.machines[0].directory / "known_hosts").read_text().strip()
        error = self.fails("unknown")
        self.assertIn(line, error)
        self.assertIn(f"ssh-keyscan -p {self.machines[0].port} 127.0.0.1", error)

    def test_changed(self):
        before = self.changed.read_text()
        for name in ("changed", "changed-new"):
            error = self.fails(name)
            self.assertIn(f"is not the one in {self.changed}", error)
            self.assertIn(f"-R '[127.0.0.1]:{self.machines[0].port}'", error)
            self.drop(self.mount.path / name / "a")
            self.settle()
        self.assertEqual(self.changed.read_text(), before)

    def test_new(self):
        self.assertEqual(self.machine_of(self.new("new")), "0")
        both = [(server.directory / "known_hosts").read_text() for server in self.machines[::-1]]
        self.assertEqual(self.learnt.read_text(), "".join(both))
        # It is known now.
        self.drop(self.mount.path / "new/a")
        self.free("new", 1)
        self.new("new")
        self.assertEqual(self.learnt.read_text(), "".join(both))

    def test_no_file_yet(self):
        self.new("made")
        self.assertEqual((self.base / "made").read_text(),
                         (self.machines[0].directory / "known_hosts").read_text())


class Jump(TargetsTest):
    """A machine on the way."""

    servers = 3

    @classmethod
    def pools(cls):
        gate, inner, other = cls.machines
        keys = {"targets": f"127.0.0.1:{inner.port}", "files": cls.files}
        partly = cls.base / "partly"
        partly.write_text((inner.directory / "known_hosts").read_text())
        outer = cls.base / "outer %h file"
        outer.write_text((gate.directory / "known_hosts").read_text())
        gone = f"{USER}@127.0.0.1:1"
        gate = f"{USER}@127.0.0.1:{gate.port}"
        return (pool("good", cls.known, inner, jump=gate, **keys) +
                pool("gate-unknown", partly, inner, jump=gate, boot_timeout=4, **keys) +
                pool("inner-unknown", outer, inner, jump=gate, **keys) +
                pool("accepts", cls.base / "none yet", inner, jump=gate, host_key="accept-new",
                     **keys) +
                pool("gone", cls.known, inner, jump=gone, boot_timeout=4, **keys))

    def test_through_another(self):
        instance = self.new("good")
        self.assertEqual(self.machine_of(instance), "1")
        (instance / "files/x").write_text("y" * 300000)
        self.assertEqual((self.files / "x").read_text(), "y" * 300000)
        log = (self.machines[0].directory / "log").read_text()
        self.assertIn("Accepted publickey", log)

    def test_the_way_breaks(self):
        instance = self.new("good")
        pids = (set(harness.processes_with("-W")) &
                set(harness.processes_with(f"127.0.0.1:{self.machines[1].port}")))
        self.assertTrue(pids)
        for pid in pids:
            os.kill(pid, 9)
        wait_for(lambda: "on the way to the machine was ended by signal 9" in
                 text(self.mount.path / "events"), "loss")
        wait_for(lambda: text(instance / "state") == "ready\n", "return")
        self.assertEqual(self.machine_of(instance), "1")

    def test_both_keys_are_checked(self):
        self.assertIn("127.0.0.1 port", self.fails("inner-unknown"))
        self.drop(self.mount.path / "inner-unknown/a")
        self.settle()
        error = self.fails("gate-unknown")
        self.assertIn("Host key verification failed", error)

    def test_both_keys_are_added(self):
        self.new("accepts")
        lines = (self.base / "none yet").read_text()
        for server in self.machines[:2]:
            self.assertIn((server.directory / "known_hosts").read_text(), lines)

    def test_no_gate(self):
        self.assertIn("Connection refused", self.fails("gone"))


class Configuration(unittest.TestCase):
    """What is wrong with a list is said at the start."""

    def test_known_hosts(self):
        none = tempfile.mkdtemp(prefix="poolfs-test.")
        self.addCleanup(shutil.rmtree, none)
        for trust, expected in (("known", "ssh-keyscan"), ("accept-new", "")):
            lines = f"host = lab\nhost_key = {trust}\nknown_hosts = {none}/x\n"
            self.assertIn(expected, check(lines, ""))
        self.assertEqual(check(lines, ""), "")

    def test_right(self):
        for lines in ("targets = a=root@10.0.0.1:22 pi@lab2 [::1]:22 lab3\n", "host = lab\n"):
            self.assertEqual(check(lines), "")

    def test_wrong(self):
        for lines, expected in (
                ("", "FILE:1: host: a name or an address is needed"),
                ("targets =\n", "FILE:4: targets: "),
                ("host = lab\ntargets = lab\n", "FILE:5: targets: there is a host already"),
                ("targets = lab lab:22\n", "lab:22 stands in the list already"),
                ("targets = a=lab a=pi\n", "another machine has that name already"),
                ("targets = a=\n", "no machine"),
                ("targets = .=lab\n", "no name that mkdir can take"),
                ("host = lab\nhost_key = no\n", "known or accept-new"),
                ("host = lab\njump = a b\n", "FILE:5: jump: "),
                ("host = lab\njump = -x\n", "FILE:5: jump: "),
                ("host = lab\nssh_agent = no\n", "FILE:1: ssh_key: without an agent"),
                ("targets = lab:99999\n", 'FILE:4: targets: "lab:99999": no machine')):
            self.assertIn(expected, check(lines), lines)


if __name__ == "__main__":
    harness.main()
