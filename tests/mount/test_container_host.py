# SPDX-License-Identifier: MIT
"""What containers take of the host: limits, and directories that they must not write to."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import containers
import harness
import runs
from containers import AsOrdinaryUser, ContainerTest
from harness import read, text, value, wait_for, write


class Limits(ContainerTest):
    keys = {"memory_limit": "64M", "pids_limit": 40, "cpus_limit": 1}

    def need(self, instance, key):
        if "not enforced" in value(instance, key):
            self.skipTest(value(instance, key))

    def test_memory(self):
        instance = self.new("box")
        self.need(instance, "memory_limit")
        output, status = self.run_in(instance, "python3 -c 'x = bytearray(200 << 20)' || "
                                               "dd if=/dev/zero of=/dev/null bs=200M count=1")
        self.assertNotEqual(status, 0, output)
        self.assertEqual(self.run_in(instance, "echo alive"), (b"alive\n", 0))

    def test_pids(self):
        instance = self.new("box")
        self.need(instance, "pids_limit")
        output, status = self.run_in(instance, "for i in $(seq 60); do sleep 5 & done; wait")
        self.assertIn(b"fork", output)

    def groups(self, instance):
        """The groups that its poolfs-container made: their names have its number."""
        outside = runs.parent(self.agent(instance))
        found = [pathlib.Path(root) / name for root, names, _ in os.walk("/sys/fs/cgroup")
                 for name in names if name == f"poolfs-{outside}"]
        return outside, found

    def test_groups_go_whoever_is_killed(self):
        for victim in ("outside", "inside", "shim"):
            with self.subTest(victim):
                instance = self.new("box", victim)
                self.need(instance, "pids_limit")
                outside, found = self.groups(instance)
                self.assertTrue(found)
                os.kill({"outside": outside, "inside": self.agent(instance),
                         "shim": self.mount.shim_pid("box", victim)}[victim], signal.SIGKILL)
                wait_for(lambda: not any(path.exists() for path in found), "end of the groups")

    def test_groups_of_all_that_was_killed_at_once_go_at_the_next_start(self):
        instance = self.new("box")
        self.need(instance, "pids_limit")
        outside, found = self.groups(instance)
        self.assertTrue(found)
        shim = self.mount.shim_pid("box", "a")
        for pid, number in ((shim, signal.SIGSTOP), (outside, signal.SIGKILL), (shim, signal.SIGKILL)):
            os.kill(pid, number)
        wait_for(lambda: text(instance / "state") == "stopped\n", "end of the shim")
        self.assertTrue(all(path.exists() for path in found))

        def gone():
            """At a start; what runs in a group is killed a moment later, and keeps it until then."""
            self.new("box", "next").rmdir()
            return not any(path.exists() for path in found)
        wait_for(gone, "end of the groups")

    def test_told(self):
        instance = self.new("box")
        for key in ("memory_limit", "pids_limit", "cpus_limit"):
            self.assertRegex(value(instance, key), r"^(\d+$|not enforced: )")


class InNamespace(unittest.TestCase):
    """A mount made by the root of a user namespace, who has no other users to give."""

    def run_inside(self, before, script, **keys):
        containers.need_containers()
        if os.getuid() != 0:
            self.skipTest("ordinary users cannot mount in a user namespace of their own here")
        mount = harness.Mount(containers.container_pool(**keys), start=False)
        self.addCleanup(mount.clear)
        done = subprocess.run(
            ["unshare", "-Urm", "sh", "-c",
             f"{before}; {harness.POOLFS} -f {mount.config} {mount.path} >{mount.log} 2>&1 & pid=$!; "
             f"while kill -0 $pid && ! [ -e {mount.path}/box ]; do sleep 0.05; done; "
             f"mkdir {mount.path}/box/a && cd {mount.path}/box/a && {script}; cd /; "
             "kill $pid; wait $pid"], capture_output=True, text=True, timeout=harness.PATIENCE)
        if "cannot be mounted" in mount.log_text():
            self.skipTest("no FUSE in user namespaces: " + mount.log_text())
        self.assertEqual(done.returncode, 0, done.stderr + mount.log_text())
        return done.stdout


class Nested(InNamespace):
    """What he finds."""

    def test_one_user(self):
        out = self.run_inside(":", "cat ready log; echo 'id -u; cat /proc/self/uid_map' >cmd; cat last/output")
        self.assertIn("one user only", out)
        self.assertRegex(out, r"\n0\n +0 +0 +1\n$")

    def test_no_namespaces(self):
        out = self.run_inside("echo 0 >/proc/sys/user/max_user_namespaces",
                              "cat ready; cat state error")
        self.assertIn("failed\n", out)
        self.assertIn("may this user make user namespaces?", out)


class ReadOnly(InNamespace):
    """Directories of the host that a container sees as they are, with another mount in them."""

    def setUp(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-tree."))
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.tree = self.base / "tree"
        for name in ("sub", "proc", "dev", "tmp", "run", "root", "mnt", "sys", "usr", "bin", "lib",
                     "lib64", "etc"):
            (self.tree / name).mkdir(parents=True)

    def flags(self, out, *names):
        """Checks that each of the mounts is there and lets nobody write."""
        for name in names:
            found = [line.split()[5].split(",") for line in out.splitlines()
                     if len(line.split()) > 5 and line.split()[4] == name]
            self.assertTrue(found, (name, out))
            for flag in ("ro", "nosuid", "nodev"):
                self.assertIn(flag, found[-1], name)

    def test_bind(self):
        mount = f"mount -t tmpfs inner {self.tree}/sub && mkdir {self.tree}/sub/deep && " \
                f"mount -t tmpfs -o noexec inner {self.tree}/sub/deep"
        out = self.run_inside(mount, "cat ready; echo 'cat /proc/self/mountinfo; "
                              f"touch {self.tree}/x {self.tree}/sub/x {self.tree}/sub/deep/x' >cmd; "
                              "cat last/output", bind=self.tree)
        self.flags(out, str(self.tree), f"{self.tree}/sub", f"{self.tree}/sub/deep")
        self.assertEqual(out.count("Read-only file system"), 3, out)
        self.assertIn("noexec", out[out.index("/sub/deep"):].splitlines()[0])

    def test_root_that_can_have_no_layer(self):
        """The kernel lays one overlay on another, but not a third one."""
        host = "for d in usr bin lib lib64 etc; do mount --rbind /$d TREE/$d || exit 1; done"
        lay = "".join(f"mount -t overlay o -o lowerdir={self.tree},upperdir={self.base}/s/u{n},"
                      f"workdir={self.base}/s/w{n},userxattr {self.tree} && " for n in (1, 2))
        out = self.run_inside(
            f"mkdir {self.base}/s && mount -t tmpfs s {self.base}/s && cd {self.base}/s && "
            f"mkdir u1 u2 w1 w2 && {lay} mount -t tmpfs inner {self.tree}/sub; "
            + host.replace("TREE", str(self.tree)),
            "cat ready log; echo 'cat /proc/self/mountinfo; touch /x /sub/x /etc/x' >cmd; "
            "cat last/output", root=self.tree)
        self.assertIn("no overlay", out)
        self.flags(out, "/", "/sub", "/usr", "/etc")
        self.assertEqual(out.count("Read-only file system"), 3, out)


class Users(ContainerTest):
    """Commands and files of another login than root."""

    @classmethod
    def configure(cls):
        containers.need_containers()
        return "".join(containers.container_pool(name, user=user) for name, user in
                       (("named", "nobody"), ("number", "1234"), ("unknown", "nosuchuser")))

    def boot(self, pool):
        """An instance of it; where there are no other users, what the boot says is looked at."""
        instance = self.new(pool, ready=False)
        if os.getuid() != 0 and not os.environ.get("POOLFS_TEST_SUBIDS"):
            with self.assertRaises(OSError):
                read(instance / "ready")
            self.assertIn("no other users than root", text(instance / "error"))
            self.skipTest("this user has no other users to give")
        return harness.booted(instance)

    def says(self, instance, command, **settings):
        run = instance / "runs/r"
        run.mkdir()
        for name, what in settings.items():
            write(run / name, what)
        write(run / "cmd", command)
        output = text(run / "output")
        run.rmdir()
        return output

    def test_name(self):
        instance = self.boot("named")
        self.assertEqual(self.says(instance, "id -u; id -g; id -G; echo $HOME $USER $LOGNAME; pwd"),
                         "65534\n65534\n65534\n/home/nobody nobody nobody\n/home/nobody\n")
        self.assertRegex(self.says(instance, "echo x >/etc/new"), "denied|Read-only")
        self.assertIn("denied", self.says(instance, "cat /root/x"))

    def test_files(self):
        instance = self.boot("number")
        (instance / "files/here").write_text("x")
        (instance / "files/sub").mkdir()
        self.assertEqual(self.says(instance, "stat -c '%u %g' here sub .; echo y >>here; rmdir sub; touch new"),
                         "1234 1234\n" * 3)
        self.assertEqual((instance / "files/here").read_text(), "xy\n")
        self.assertEqual(sorted(os.listdir(instance / "files")), ["here", "new"])
        # What root made on the console is root's here, too.
        write(instance / "console", "install -m 0600 /dev/null /home/1234/of-root && id -u >/home/1234/done\n")
        wait_for(lambda: (instance / "files/done").exists() and (instance / "files/done").read_text(), "file")
        self.assertEqual((instance / "files/done").read_text(), "0\n")
        with self.assertRaises(PermissionError):
            (instance / "files/of-root").write_text("x")

    def test_terminal_and_capabilities(self):
        instance = self.boot("named")
        self.assertEqual(self.says(instance, "echo mine >$(tty)", tty="80x24"), "mine\r\n")
        self.assertEqual(self.says(instance, "grep -E 'Cap(Prm|Eff)' /proc/self/status | cut -f2"),
                         "0000000000000000\n" * 2)
        self.assertRegex(self.says(instance, "kill -9 1 2>&1; head -c1 /proc/1/environ 2>&1"), "denied|permitted")

    def test_stop(self):
        instance = self.boot("named")
        mark = runs.token()
        write(instance / "cmd", f"setsid sleep {mark} & sleep {mark}")
        wait_for(lambda: len(runs.local_processes(mark)) >= 2, "processes")
        write(instance / "ctl", "stop\n")
        self.assertEqual(text(instance / "runs/1/exit"), "143\n")
        self.assertEqual(runs.local_processes(mark), [])

    def test_unknown(self):
        instance = self.new("unknown", ready=False)
        with self.assertRaises(OSError):
            read(instance / "ready")
        self.assertIn("user: nosuchuser in the container's /etc/passwd", text(instance / "error"))


class WithGivenIds(unittest.TestCase):
    """The same as an ordinary user who has a range of ids."""

    def test_all(self):
        base = tempfile.mkdtemp(prefix="poolfs-user.")
        self.addCleanup(shutil.rmtree, base, ignore_errors=True)
        become, environment = containers.as_user(base)
        containers.give_ids(base)
        done = subprocess.run([*become, sys.executable, "-B", __file__, "Users"],
                              env={**environment, "POOLFS_TEST_SUBIDS": "1"}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=5 * harness.PATIENCE)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, "see above")


if __name__ == "__main__":
    harness.main()
