# SPDX-License-Identifier: MIT
"""The tree and its control files, as tools that know nothing of poolfs see them."""
import errno
import json
import os
import re
import shutil
import stat
import subprocess
import unittest

import harness
from harness import read, sh, text, write

STATES = ["booting", "ready", "paused", "crashed", "stopped", "lost", "failed"]


def refused(call, *arguments):
    """The name of the errno that a call fails with."""
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "nothing"


def spliced(path):
    """The file's content as splice(2) gives it."""
    ours, theirs = os.pipe()
    file = os.open(path, os.O_RDONLY)
    got = b""
    while count := os.splice(file, theirs, 65536):
        got += os.read(ours, count)
    for descriptor in (ours, theirs, file):
        os.close(descriptor)
    return got


def sent(path, directory):
    """The file's content as sendfile(2) gives it."""
    with open(path, "rb", buffering=0) as source, open(directory / "sent", "wb+") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, 65536):
            pass
        target.seek(0)
        return target.read()


def copied(path, directory):
    return read(shutil.copyfile(path, directory / "copied"))


class Tree(harness.SshTest):
    """The files of the mount, a pool and an instance."""

    keys = {"count": 3}

    @classmethod
    def configure(cls):
        return super().configure() + harness.ssh_pool(cls.sshd, "other", count=1)

    def setUp(self):
        self.top = self.mount.path
        self.pool = self.top / "host"
        self.instance = self.new("host")
        self.assertEqual(self.run_in(self.instance, "echo out; echo err >&2; exit 3")[1], 3)

    def control_files(self):
        """Every control file that is listed and does not change by itself."""
        for directory in (self.top, self.pool, self.instance, self.instance / "runs/1"):
            for entry in os.scandir(directory):
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("status"):
                    yield directory / entry.name

    def test_sizes_are_true(self):
        base = self.mount.base
        tools = ["cat {}", "dd if={} status=none", "cp {} " + f"{base}/c; cat {base}/c", "tail -c +1 {}"]
        if shutil.which("busybox"):
            tools.append("busybox cat {}")
        names = set()
        for path in self.control_files():
            names.add(path.name)
            whole = text(path)
            with self.subTest(path):
                self.assertEqual(path.stat().st_size, len(whole))
                self.assertEqual(spliced(path).decode(), whole)
                self.assertEqual(sent(path, base).decode(), whole)
                self.assertEqual(copied(path, base).decode(), whole)
                self.assertEqual(int(sh(f"wc -c <{path}")), len(whole))
                for tool in tools:
                    self.assertEqual(sh(tool.format(path)), whole, tool)
                if path.name != "cmd" or whole:
                    self.assertTrue(whole == "" or whole.endswith("\n") or path.name == "cmd")
        self.assertLessEqual({"README", "version", "events", "pool.config", "state", "ready", "error",
                              "log", "cmd", "ctl", "output", "stdout", "stderr", "exit"}, names)

    def test_version_and_readme(self):
        self.assertRegex(text(self.top / "version"), r"^poolfs \d+\.\d+\.\d+\n$")
        self.assertIn("mkdir", text(self.top / "README"))
        self.assertIn(f"cd {self.top}/host", text(self.top / "README"))

    def test_listing(self):
        self.assertEqual(sorted(os.listdir(self.top)),
                         ["README", "events", "host", "other", "status", "status.json", "version"])
        self.assertEqual(sorted(os.listdir(self.pool)),
                         ["a", "pool.config", "pool.count", "pool.status", "pool.type"])
        names = set(os.listdir(self.instance))
        self.assertLessEqual({"state", "ready", "error", "status", "cmd", "last", "runs", "files",
                              "ctl", "log"}, names)
        self.assertEqual([name for name in names if name.endswith(".follow")], [])
        self.assertNotIn("console", names) # this kind has none
        self.assertFalse((self.instance / "console").exists())
        self.assertTrue((self.top / "events.follow").is_file())
        self.assertEqual(os.listdir(self.instance / "runs"), ["1"])
        for path, mode in ((self.instance, 0o700), (self.instance / "runs", 0o700),
                           (self.instance / "files", 0o700), (self.pool, 0o755)):
            found = path.stat()
            self.assertEqual((stat.S_ISDIR(found.st_mode), found.st_mode & 0o7777, found.st_uid),
                             (True, mode, os.getuid()), path)

    def test_recursive_tools_end(self):
        """Also while a run goes on, with those that do not read a file beyond its size."""
        waits = self.instance / "runs/waits"
        waits.mkdir()
        target = self.mount.base / "copy"
        for script in (f"ls -lR {self.top}", f"find {self.top} -name nothing", f"du -s {self.top}",
                       f"tar cf {target}.tar {self.instance}", f"grep -rs fox {self.instance}",
                       f"stat {self.instance}/* {waits}/*", f"file {waits}/*"):
            subprocess.run(["sh", "-c", script], timeout=20, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        # What reads to the end waits for the run's.
        copy = subprocess.Popen(["cp", "-r", self.instance, target], stderr=subprocess.DEVNULL)
        self.assertRaises(subprocess.TimeoutExpired, copy.wait, 0.3)
        write(waits / "cmd", "echo at last")
        self.assertEqual(copy.wait(harness.PATIENCE), 0)
        self.assertEqual(text(target / "runs/waits/output"), "at last\n")
        self.assertEqual(text(target / "runs/1/exit"), "3\n")
        shutil.rmtree(target)

    def test_names_of_instances(self):
        for name in ("-a", ".a", "_a", "a b", "a\n", "a/../b c", "ä", "a:b", "pool.x", "pool.", "n" * 64):
            with self.subTest(name):
                self.assertEqual(refused(os.mkdir, f"{self.pool}/{name}"), "EINVAL")
        for name in ("pool.type", "a"):
            self.assertEqual(refused(os.mkdir, self.pool / name), "EEXIST")
        for name in ("n" * 63, "0A.b_c-"):
            self.new("host", name)
        self.assertEqual(refused(os.mkdir, self.pool / "b"), "ENOSPC")
        self.new("other", "a") # its own count, its own names
        self.assertEqual(refused(os.mkdir, self.top / "other/b"), "ENOSPC")
        os.rmdir(self.pool / ("n" * 63))
        self.new("host", "n" * 63)
        self.assertEqual(refused(os.mkdir, self.top / "pool"), "EPERM")
        self.assertEqual(refused(os.mkdir, self.instance / "new"), "EPERM")
        self.assertEqual(refused(os.rmdir, self.pool), "EPERM")
        self.assertEqual(refused(os.rmdir, self.instance / "runs"), "EPERM")
        self.assertEqual(refused(os.rmdir, self.pool / "none"), "ENOENT")
        self.assertEqual(refused(os.rmdir, self.pool / "pool.type"), "ENOTDIR")

    def test_control_names_are_not_changed(self):
        outside = self.mount.base / "outside"
        outside.write_text("x")
        for name in ("state", "cmd", "runs/1/output"):
            path = self.instance / name
            for call in (os.unlink, lambda p: os.rename(p, f"{p}2"), lambda p: os.link(p, f"{p}2"),
                         lambda p: os.rename(p, self.instance / "files/x"),
                         lambda p: os.rename(p, self.top / "x"),
                         lambda p: os.symlink("x", f"{p}2"), lambda p: os.mkfifo(f"{p}2"),
                         lambda p: os.close(os.open(f"{p}2", os.O_CREAT | os.O_WRONLY))):
                self.assertEqual(refused(call, path), "EPERM", name)
        self.run_in(self.instance, f"echo x >{self.sshd.directory}/home/x")
        for name in ("cmd", "new"):
            self.assertEqual(refused(os.rename, self.instance / "files/x", self.instance / name), "EPERM")
        self.assertEqual(refused(os.rename, self.instance, self.pool / "b"), "EPERM")
        moved = subprocess.run(["mv", self.instance, self.pool / "b"], stderr=subprocess.PIPE, text=True)
        self.assertEqual((moved.returncode, "not permitted" in moved.stderr), (1, True), moved.stderr)
        self.assertEqual(os.listdir(self.pool).count("b"), 0)
        self.assertEqual(text(self.instance / "state"), "ready\n")

    def test_attributes_do_nothing(self):
        for path in (self.instance / "cmd", self.instance / "state", self.instance / "runs/1/output"):
            before = path.stat()
            whole = read(path)
            os.chmod(path, 0o777)
            os.chown(path, os.getuid(), os.getgid())
            os.utime(path, (1, 1))
            os.truncate(path, 0)
            os.truncate(path, 100)
            after = path.stat()
            self.assertEqual((after.st_mode, after.st_size, after.st_uid, after.st_mtime),
                             (before.st_mode, before.st_size, before.st_uid, before.st_mtime))
            self.assertEqual(read(path), whole)
            sh(f"touch {path}; chmod 600 {path}")

    def test_read_only_files(self):
        for path in self.control_files():
            if path.stat().st_mode & 0o200:
                continue
            for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
                self.assertEqual(refused(os.open, path, flags), "EACCES", path)
        self.assertEqual(refused(read, self.instance), "EISDIR")

    def test_status(self):
        rows = text(self.top / "status").splitlines()
        self.assertEqual(rows[0].split(), ["INSTANCE", "STATE", "UPTIME", "RUNS"])
        self.assertRegex(rows[1], r"^host/a +ready +[0-9]+\.[0-9]s +0$")
        self.assertIn("other/ (ssh, none of 1)", rows)
        lines = dict(line.split(" ", 1) for line in text(self.instance / "status").splitlines())
        self.assertEqual((lines["state"], lines["backend"], lines["runs_running"],
                          lines["runs_queued"]), ("ready", "ssh", "0", "0"))
        self.assertLess(float(lines["boot_seconds"]), float(lines["uptime_seconds"]) + 0.1)
        self.assertEqual(read(self.instance / "error"), b"")
        self.assertRegex(text(self.instance / "ready"), r"^[0-9]+\.[0-9]{2}\n$")

    def test_status_for_programs(self):
        status = json.loads(read(self.top / "status.json"))
        self.assertEqual(set(status), {"version", "uptime_seconds", "pools"})
        self.assertEqual([pool["name"] for pool in status["pools"]], ["host", "other"])
        pool = status["pools"][0]
        instance, = pool.pop("instances")
        self.assertGreater(pool.pop("boots"), 0)
        self.assertEqual(pool, {"name": "host", "type": "ssh", "count": 3, "boot_failures": 0,
                          "boot_failures_in_a_row": 0, "last_failure": None})
        self.assertEqual(set(instance), {"name", "state", "uid", "uptime_seconds", "boot_seconds",
                                         "runs_running", "runs_queued", "console_bytes",
                                         "console_bytes_dropped", "error"})
        self.assertEqual((instance["name"], instance["state"], instance["uid"], instance["error"]),
                         ("a", "ready", os.getuid(), None))
        self.assertAlmostEqual(instance["boot_seconds"], float(text(self.instance / "ready")), delta=0.01)
        self.assertGreater(status["uptime_seconds"] + 0.1, instance["uptime_seconds"])
        self.assertEqual(status["pools"][1]["instances"], [])

    def test_pool_files(self):
        self.assertEqual((text(self.pool / "pool.type"), text(self.pool / "pool.count")), ("ssh\n", "3\n"))
        lines = dict(line.split(" ", 1) for line in text(self.pool / "pool.status").splitlines())
        self.assertGreater(int(lines.pop("boots")), 0) # of all tests so far
        self.assertEqual(lines, {"instances": "1", **dict.fromkeys(STATES, "0"), "ready": "1",
                                 "boot_failures": "0", "boot_failures_in_a_row": "0"})
        config = text(self.pool / "pool.config")
        self.assertIn(f"ssh_port = {self.sshd.port}\n", config)
        self.assertIn(f"ssh_key = {self.sshd.directory}/id\n", config)
        self.assertIn("boot_timeout = ", config) # a default
        self.assertNotIn("PRIVATE KEY", config)

    def test_events(self):
        for line in text(self.top / "events").splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (-|[a-z]+/\S+) \S.*$")
        log = [line.split(" ", 1)[1] for line in text(self.top / "events").splitlines()]
        self.assertIn("- started: poolfs", " ".join(log))
        mine = [line for line in log if line.startswith("host/a ") and "closing" not in line]
        self.assertEqual(mine[-2:], ["host/a - booting", "host/a booting ready"])

    def test_rmdir(self):
        files = {name: os.open(self.instance / name, os.O_RDONLY)
                 for name in ("state", "log", "ready", "runs/1/stdout", "runs/1/exit")}
        directory = os.open(self.instance, os.O_RDONLY)
        log = read(self.instance / "log")
        os.rmdir(self.instance)
        self.assertFalse(self.instance.exists())
        harness.wait_for(lambda: "host/a closing - destroyed" in text(self.top / "events"), "destruction")
        self.assertTrue(os.read(files["log"], 1 << 20).startswith(log))
        self.assertEqual(os.read(files["runs/1/stdout"], 99), b"out\n")
        self.assertEqual(os.read(files["runs/1/exit"], 99), b"3\n")
        self.assertRegex(os.read(files["ready"], 99), rb"^[0-9.]+\n$")
        self.assertEqual(refused(os.read, files["state"], 99), "ENODEV")
        self.assertIn(refused(os.open, "state", os.O_RDONLY, 0o600), ("ENOENT",))
        self.assertIn(refused(lambda: os.close(os.open("state", os.O_RDONLY, dir_fd=directory))),
                      ("ENOENT", "ESTALE", "ENODEV"))
        for descriptor in (*files.values(), directory):
            os.close(descriptor)
        again = self.new("host")
        self.assertEqual(os.listdir(again / "runs"), [])
        self.assertEqual(text(again / "state"), "ready\n")

    def test_rm_is_no_way_to_destroy(self):
        home = self.sshd.directory / "home"
        (home / "sub").mkdir(exist_ok=True)
        (home / "sub/file").write_text("x")
        done = subprocess.run(["rm", "-rf", self.instance], stderr=subprocess.PIPE, text=True,
                              timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("not permitted", done.stderr)
        self.assertEqual(text(self.instance / "state"), "ready\n")
        self.assertEqual(os.listdir(home), []) # as documented

    def test_extended_attributes(self):
        self.assertEqual(refused(os.setxattr, self.instance / "cmd", "user.x", b""), "ENOTSUP")
        self.assertEqual(re.sub(r"\s", "", sh(f"cd {self.instance}; ls -l cmd | cut -c 1-10")), "-rw-------")


class Owners(harness.SshTest):
    """With allow_other, an instance belongs to whoever made it."""

    @classmethod
    def configure(cls):
        if os.getuid() != 0:
            raise unittest.SkipTest("only root can act as two users")
        return "allow_other = yes\n" + super().configure()

    def other(self, script):
        """Runs a script as another user: its exit status and output."""
        done = subprocess.run(["sh", "-c", script], user=65534, group=65534, extra_groups=[],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=harness.PATIENCE, cwd="/")
        return done.returncode, done.stdout

    def test_owner(self):
        self.mount.base.chmod(0o711)
        pool = self.mount.path / "host"
        ours = self.new("host")
        self.assertEqual(stat.S_IMODE(pool.stat().st_mode), 0o1777)
        for script in (f"ls {ours}", f"cat {ours}/state", f"echo id >{ours}/cmd", f"rmdir {ours}",
                       f"mkdir {ours}/runs/x", f"ls {ours}/files", f"chmod 777 {ours}"):
            status, output = self.other(script)
            self.assertNotEqual(status, 0, script)
            self.assertRegex(output, "not permitted|denied", script)
        self.assertEqual(self.other(f"mkdir {pool}/b && cat {pool}/b/ready >&2 && "
                                    f"echo true >{pool}/b/cmd && cat {pool}/b/last/exit")[0], 0)
        self.addCleanup(self.drop, pool / "b")
        found = (pool / "b").stat()
        self.assertEqual((found.st_uid, found.st_gid, found.st_mode & 0o7777), (65534, 65534, 0o700))
        self.assertEqual((pool / "b/state").stat().st_uid, 65534)
        self.assertEqual(self.other(f"rmdir {pool}/b"), (0, ""))


if __name__ == "__main__":
    harness.main()
