# SPDX-License-Identifier: MIT
"""Containers: what they are and are not let do, their limits, and that nothing is left of them."""
import contextlib
import glob
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import containers
import harness
import runs
from containers import AsOrdinaryUser, ContainerTest, OneContainer, children, descendants
from harness import alive, read, sh, text, value, wait_for, write


class Machine(OneContainer):
    """What a container looks like from inside."""

    def says(self, command, status=0):
        output, got = self.run_in(self.instance, command)
        self.assertEqual(got, status, output)
        return output.decode()

    def test_name_and_user(self):
        self.assertEqual(self.says("hostname; cat /etc/hostname; id -u; pwd; echo $HOME"),
                         "a\na\n0\n/root\n/root\n")
        self.assertEqual(self.says("ls -A /root /home /srv /mnt /tmp"),
                         "/home:\n\n/mnt:\n\n/root:\n\n/srv:\n\n/tmp:\n")

    def test_limits(self):
        """What poolfs needs for itself is not its commands' and its console's."""
        def hard(limit):
            most = resource.getrlimit(limit)[1]
            return "unlimited" if most == resource.RLIM_INFINITY else str(most)

        told = self.says("grep -E '^Max (open|core) file' /proc/self/limits")
        files = hard(resource.RLIMIT_NOFILE)
        self.assertRegex(told, rf"open files +{'1024' if len(files) > 3 else files} +{files} ")
        self.assertRegex(told, rf"core file size +0 +{hard(resource.RLIMIT_CORE)} ")

    def test_only_its_own_processes(self):
        mine = self.says("cat /proc/[0-9]*/comm").split()
        self.assertIn("poolfs-agent", mine)
        self.assertLess(len(mine), 10, mine)
        self.assertNotIn(str(harness.BUILD), self.says("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))

    def test_the_agent_is_out_of_reach(self):
        for command in ("kill -9 1; kill -STOP 1; kill -INT 1", ":", "echo >/proc/1/mem", "cat /proc/1/environ",
                        "readlink /proc/1/exe", "ls /proc/1/fd", "ls /proc/1/root/"):
            output, _ = self.run_in(self.instance, command)
            self.assertNotIn(b"poolfs-container", output)
            self.assertTrue(not output or b"denied" in output or b"cannot" in output, output)
        self.assertEqual(text(self.instance / "state"), "ready\n")

    def test_files_of_the_host_stay_as_they_are(self):
        before = sorted(os.listdir("/etc")), os.stat("/etc/passwd").st_mtime_ns
        self.says("echo x >/etc/poolfs-new && rm -f /etc/passwd && echo root::0:0::/:/bin/sh >/etc/passwd")
        self.assertIn("poolfs-new", self.says("ls /etc"))
        self.assertEqual((sorted(os.listdir("/etc")), os.stat("/etc/passwd").st_mtime_ns), before)
        self.says("echo x >/usr/local/bin/tool && chmod +x /usr/local/bin/tool && mkdir /new")
        self.assertFalse(os.path.exists("/usr/local/bin/tool") or os.path.exists("/new"))

    def test_secrets_of_the_host(self):
        for path in glob.glob("/etc/*shadow*") + glob.glob("/etc/ssh/*_key"):
            if os.stat(path).st_mode & 0o4 == 0:
                self.assertIn("denied", self.says(f"cat {path}", 1))
        with tempfile.NamedTemporaryFile(prefix="poolfs-secret.") as file:
            os.chmod(file.name, 0o644)
            self.says(f"cat {file.name}", 1)
        self.says(f"ls {self.mount.work}", 2)

    def test_network_is_its_own(self):
        names = [line.split(":")[0].strip()
                 for line in self.says("cat /proc/net/dev").splitlines() if ":" in line]
        self.assertNotIn("eth0", names)
        self.assertIn("127.0.0.1", self.says("cat /proc/net/fib_trie"))

    def test_refused_calls(self):
        for command in ("mount -t tmpfs none /mnt", "umount /proc", "unshare -U true",
                        "unshare -n true", "chroot /proc/1/root true", "mknod /tmp/d b 8 0",
                        "dmesg", "date -s 2020-01-01"):
            output, status = self.run_in(self.instance, command)
            self.assertNotEqual(status, 0, command)
            self.assertRegex(output.decode(), "ermitted|denied|superuser", command)
        output = self.says("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status")
        self.assertEqual(output.split(), ["NoNewPrivs:", "1", "Seccomp:", "2"])

    def test_setuid_programs_gain_nothing(self):
        self.says("cp /bin/sh /tmp/s && chmod 4755 /tmp/s && /tmp/s -c 'grep NoNewPrivs /proc/self/status'")

    def test_devices(self):
        self.says("echo x >/dev/null && head -c 4 /dev/zero /dev/urandom >/dev/null && ls /dev/full "
                  "/dev/tty /dev/fd/0 /dev/shm /dev/pts/ptmx /dev/console >/dev/null && "
                  "touch /dev/shm/x && rm /dev/shm/x")
        self.assertEqual(self.says("ls /dev/kvm /dev/sda /dev/vda /dev/mem /dev/fuse 2>/dev/null", 2), "")

    def test_space_is_limited(self):
        path = self.mount.path / "box/small"
        output, _ = self.run_in(self.instance, "dd if=/dev/zero of=/var/tmp/x bs=1M count=1500 2>&1; "
                                               "rm /var/tmp/x")
        self.assertIn(b"No space left", output)
        self.assertFalse(path.exists())


class Console(ContainerTest):
    """The terminal of a container's shell."""

    def wait_console(self, instance, pattern):
        wait_for(lambda: re.search(pattern, text(instance / "console")), f"{pattern} on the console")

    def test_typing(self):
        instance = self.new("box")
        write(instance / "console", "echo $((6*7))-; tty\n")
        self.wait_console(instance, r"42-\r\n/dev/pts/\d+")

    def test_a_shell_that_ended_is_started_again(self):
        instance = self.new("box")
        write(instance / "console", "echo first-$$; exit\n")
        self.wait_console(instance, r"first-\d+")
        first = re.search(r"first-(\d+)", text(instance / "console")).group(1)

        def second():
            write(instance / "console", "echo again-$$\n")
            time.sleep(0.05)
            return re.search(r"again-(\d+)", text(instance / "console"))
        wait_for(lambda: second() and second().group(1) != first, "another shell")

    def test_control_c(self):
        instance = self.new("box")
        write(instance / "console", "sleep 1000\n")
        self.wait_console(instance, "sleep 1000")

        def typed():
            write(instance / "console", b"\x03")
            write(instance / "console", "echo $((40+2))-\n")
            time.sleep(0.05)
            return "\n42-" in text(instance / "console")
        wait_for(typed, "end of the sleep")


class Runs(runs.RunTools, OneContainer):
    """Commands, as they are with SSH."""

    def processes(self, argument):
        return runs.local_processes(argument)

    def test_exit_statuses(self):
        for command, expected in (("exit 0", (0, "exited")), ("exit 255", (255, "exited")),
                                  ("kill -TERM $$", (143, "signaled")),
                                  ("kill -9 $$", (137, "signaled")), ("nonsense-x", (127, "exited"))):
            with self.subTest(command):
                *_, status, state = self.result(command)
                self.assertEqual((status, state), expected)

    def test_text_arrives_as_it_is(self):
        command = "cat <<'E'\n$HOME `x` \\ \" ' \xff %s\tä\nE\n".encode("latin-1")
        out, err, status, _ = self.result(command)
        self.assertEqual((out, err, status), (command.split(b"\n")[1] + b"\n", b"", 0))
        long = "x=" + "y" * 131000 + "; echo ${#x}"
        self.assertEqual(self.result(long)[0], b"131000\n")

    def test_streams(self):
        out, err, status, _ = self.result("echo out; echo err >&2; printf '\\0\\377'")
        self.assertEqual((out, err, status), (b"out\n\0\xff", b"err\n", 0))

    def test_much_output(self):
        out, _, status, _ = self.result("head -c 20000000 /dev/zero | tr '\\0' x")
        self.assertEqual((len(out), out.count(b"x"), status), (20000000, 20000000, 0))

    def test_the_end_of_the_output_is_not_the_end(self):
        run = self.quiet("exec >&- 2>&-; sleep 0.3; exit 9")
        self.assertEqual(self.ended(run), (9, "exited"))

    def test_background_with_the_output_is_heard(self):
        run = self.quiet("(sleep 0.5; echo late) & echo early; exit 4")
        self.assertEqual(read(run / "output"), b"early\nlate\n")
        self.assertEqual(self.ended(run), (4, "exited"))

    def test_background_without_the_output_lives_on(self):
        mark = runs.token()
        run = self.quiet(f"sleep {mark} >/dev/null 2>&1 </dev/null & exit 5")
        self.assertEqual(self.ended(run), (5, "exited"))
        found = wait_for(lambda: self.processes(mark), "process that was left behind")
        os.kill(found[0], signal.SIGKILL)

    def test_input(self):
        run = self.start("cat; echo end; exit 3")
        data = os.urandom(3000000)
        write(run / "stdin", data)
        self.assertEqual(read(run / "stdout"), data + b"end\n")
        self.assertEqual(self.ended(run), (3, "exited"))

    def test_input_that_nobody_wants(self):
        run = self.start("exec <&-; sleep 0.2; echo done")
        write(run / "stdin", b"x" * 100000)
        self.assertEqual(read(run / "stdout"), b"done\n")

    def test_environment_and_directory(self):
        run = self.named(environment="A=1\nPATH=/bin:/usr/bin\nB=x y\n", cwd="/var/log")
        write(run / "cmd", "echo $A $B; pwd")
        self.assertEqual(read(run / "output"), b"1 x y\n/var/log\n")
        run = self.named(cwd="not-there")
        write(run / "cmd", "echo no")
        self.assertIn(b"No such file", read(run / "output"))
        self.assertEqual(text(run / "exit"), "255\n")

    def test_terminal(self):
        run = self.named(tty="100x30")
        write(run / "cmd", "tty; stty size; echo $TERM; read x; echo got-$x; exit 6")
        self.put_out(run, b"xterm")
        write(run / "stdin", b"hello\n")
        out = read(run / "output")
        self.assertRegex(out, rb"^/dev/pts/\d+\r\n30 100\r\nxterm\r\n")
        self.assertIn(b"got-hello\r\n", out)
        self.assertEqual(self.ended(run), (6, "exited"))

    def test_signals(self):
        run = self.quiet("trap 'echo usr1; exit 7' USR1; echo up; while :; do sleep 0.05; done")
        self.put_out(run, b"up")
        write(run / "ctl", "signal USR1\n")
        self.assertTrue(read(run / "stdout").endswith(b"usr1\n"))
        self.assertEqual(self.ended(run), (7, "exited"))

    def test_stop_finds_every_process(self):
        marks = [runs.token() for _ in range(4)]
        run = self.quiet(f"setsid sleep {marks[0]} & (setsid sh -c 'sleep {marks[1]} & ' &) ; "
                         f"env -i /bin/sh -c '/usr/bin/setsid /bin/sleep {marks[2]} >/dev/null 2>&1 &'; "
                         f"echo up; sleep {marks[3]}")
        self.put_out(run, b"up")
        for mark in marks:
            wait_for(lambda: self.processes(mark), "all processes")
        write(run / "ctl", "stop\n")
        self.assertEqual(self.ended(run), (143, "stopped"))
        self.assertEqual([self.processes(mark) for mark in marks], [[]] * 4)

    def test_stop_of_what_ignores_term(self):
        mark = runs.token()
        run = self.quiet(f"trap '' TERM; (trap '' TERM; setsid sleep {mark}) & echo up; wait; sleep {mark}")
        self.put_out(run, b"up")
        wait_for(lambda: self.processes(mark), "process")
        write(run / "ctl", "stop\n")
        status, state = self.ended(run)
        self.assertEqual((status, state), (137, "stopped"))
        self.assertEqual(self.processes(mark), [])

    def test_stop_of_what_has_lost_its_first_thread(self):
        """It looks as if it had ended, and has not."""
        if not os.path.exists("/usr/bin/python3"):
            self.skipTest("no python3 in the container")
        mark = runs.token()
        run = self.quiet("/usr/bin/python3 -c 'import ctypes, time, _thread\n"
                         "_thread.start_new_thread(time.sleep, (1000,))\n"
                         f"print(\"up\", flush=True)\nctypes.CDLL(None).pthread_exit(None)' {mark}")
        self.put_out(run, b"up")
        wait_for(lambda: any(b"\nState:\tZ" in read(f"/proc/{pid}/status") for pid in self.processes(mark)),
                 "end of the first thread")
        write(run / "ctl", "stop\n")
        self.ended(run)
        self.assertEqual(self.processes(mark), [])

    def test_timeout(self):
        mark = runs.token()
        run = self.quiet(f"setsid sleep {mark} & sleep {mark}", timeout="0.3")
        self.assertEqual(self.ended(run), (124, "timeout"))
        self.assertEqual(self.processes(mark), [])

    def test_forks_that_flee(self):
        mark = runs.token()
        run = self.quiet(f"f() {{ setsid sh -c 'sleep {mark} & sleep 0.02; exec sh -c \"$0\" \"$0\"' "
                         f"'sleep {mark} & sleep 0.02; exec sh -c \"$0\" \"$0\"' & }}; f; echo up; sleep {mark}")
        self.put_out(run, b"up")
        write(run / "ctl", "stop\n")
        self.ended(run)
        self.assertEqual(self.processes(mark), [])

    def test_many_at_once(self):
        started = [self.quiet(f"sleep 0.2; echo {n}; exit {n}") for n in range(60)]
        for n, run in enumerate(started):
            self.assertEqual(read(run / "output"), f"{n}\n".encode())
            self.assertEqual(self.ended(run), (n, "exited"))


class Ends(ContainerTest):
    """Whoever goes first, nothing is left."""

    def gone(self, pids, what):
        wait_for(lambda: not any(alive(pid) for pid in pids), f"end of {what}")

    def make(self):
        instance = self.new("box", "x")
        write(instance / "cmd", "setsid sleep 98765 & sleep 98765")
        wait_for(lambda: text(instance / "runs/1/state") == "running\n", "run")
        shim = self.mount.shim_pid("box", "x")
        pids = [shim, *descendants(shim)]
        self.assertIn(self.agent(instance), pids)
        self.assertGreaterEqual(len(pids), 6)
        return instance, shim, pids

    def mounts(self):
        return [line for line in text("/proc/self/mounts").splitlines() if str(self.mount.base) in line]

    def groups(self):
        return glob.glob("/sys/fs/cgroup/**/poolfs-*", recursive=True)

    def test_rmdir(self):
        instance, shim, pids = self.make()
        directory = self.mount.directory_of("box", "x")
        instance.rmdir()
        self.gone(pids, "the instance's processes")
        wait_for(lambda: not directory.exists(), "end of its directory")

    def test_kill_of_the_shim(self):
        instance, shim, pids = self.make()
        os.kill(shim, signal.SIGKILL)
        self.gone(pids, "the container")
        self.assertIn(text(instance / "state"), ("lost\n", "stopped\n", "failed\n"))

    def test_kill_of_the_container(self):
        instance, shim, pids = self.make()
        os.kill(self.agent(instance), signal.SIGKILL)
        self.gone([pid for pid in pids if pid != shim], "the container")
        wait_for(lambda: text(instance / "state") == "stopped\n", "state stopped")
        self.assertIn("signal 9", text(instance / "error"))
        self.assertEqual(text(instance / "runs/1/exit"), "255\n")

    def test_kill_of_the_one_outside(self):
        instance, shim, pids = self.make()
        outside = [pid for pid in children(shim) if self.agent(instance) in children(pid)]
        os.kill(outside[0], signal.SIGKILL)
        self.gone([pid for pid in pids if pid != shim], "the container")
        wait_for(lambda: text(instance / "state") == "stopped\n", "state stopped")

    def test_power_off(self):
        instance, shim, pids = self.make()
        write(instance / "cmd", "kill -TERM 1")
        self.gone([pid for pid in pids if pid != shim], "the container")
        wait_for(lambda: text(instance / "state") == "stopped\n", "state stopped")
        self.assertIn("powered off", text(instance / "error"))

    def test_kill_of_everything_inside(self):
        instance = self.new("box", "x")
        (instance / "files/kept").write_text("x")
        (instance / "runs/r").mkdir()
        write(instance / "runs/r/cmd", "kill -9 -1; sleep 1000")
        self.assertEqual(text(instance / "runs/r/exit"), "137\n")
        self.assertEqual(self.run_in(instance, "echo still"), (b"still\n", 0))
        wait_for(lambda: self.reads(instance / "files/kept"), "files again")

    @staticmethod
    def reads(path):
        try:
            return path.read_text() == "x"
        except OSError:
            return False

    def test_mounts_and_groups(self):
        before = self.mounts(), self.groups()
        instance, _, pids = self.make()
        instance.rmdir()
        self.gone(pids, "the instance's processes")
        self.assertEqual((self.mounts(), self.groups()), before)


class Many(ContainerTest):
    keys = {"count": 100}

    def test_fifty_at_once(self):
        paths = [self.mount.path / f"box/n{number}" for number in range(50)]
        for path in paths:
            path.mkdir()
            self.addCleanup(self.drop, path)
        for number, path in enumerate(paths):
            write(path / "cmd", f"hostname; exit {number}")
        for number, path in enumerate(paths):
            self.assertEqual(read(path / "runs/1/output"), f"n{number}\n".encode())
            self.assertEqual(text(path / "runs/1/exit"), f"{number}\n")
        shim = self.mount.shim_pid("box", "n7")
        print("private KiB:", {text(f"/proc/{pid}/comm").strip(): self.private(pid)
                               for pid in [shim, *descendants(shim)]})

    @staticmethod
    def private(pid):
        try:
            rollup = text(f"/proc/{pid}/smaps_rollup")
        except OSError:
            return None
        return sum(int(n) for n in re.findall(r"^Private_\w+: +(\d+)", rollup, re.M))


class Keys(unittest.TestCase):
    """What is wrong with a configuration is told before anything starts."""

    def test_mistakes(self):
        for keys, expected in (({"root": "/nonexistent"}, "root: /nonexistent: No such file"),
                               ({"root": "/dev/null"}, "neither a directory nor an archive"),
                               ({"bind": "etc"}, "bind: etc: the full path"),
                               ({"bind": "/"}, "bind: /: the full path"),
                               ({"bind": "/etc/passwd"}, "not a directory"),
                               ({"shell": "sh"}, "shell: sh: a full path"),
                               ({"network": "yes"}, "isolated"), ({"memory_limit": "1K"}, "memory_limit"),
                               ({"pids_limit": "1"}, "pids_limit"), ({"user": "../x"}, "user: ../x"),
                               ({"user": "-x"}, "a name or a number"), ({"space": "0"}, "space"),
                               ({"user": "4294967296"}, "user: 4294967296: numbers go to 65535"),
                               ({"bind": "/usr/.."}, "bind: /usr/..: the full path"),
                               ({"bind": "/../usr"}, "bind: /../usr: the full path"),
                               ({"bind": "/usr/./"}, "bind: /usr/./: the full path")):
            mount = harness.Mount(containers.container_pool(**keys), start=False)
            self.addCleanup(mount.clear)
            done = subprocess.run([harness.POOLFS, "--check", mount.config], capture_output=True,
                                  text=True, timeout=harness.PATIENCE)
            self.assertEqual(done.returncode, 1, keys)
            self.assertIn(expected, done.stderr)


class Demo(unittest.TestCase):
    """poolfs --demo."""

    def test_demo(self):
        containers.need_containers()
        mount = harness.Mount("", start=False)
        self.addCleanup(mount.clear)
        environment = {**os.environ, "HOME": str(mount.base), "XDG_STATE_HOME": str(mount.base / "state")}
        done = subprocess.run([harness.POOLFS, "--demo", mount.path], env=environment, timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 0)
        try:
            self.assertIn("demo", os.listdir(mount.path))
            (mount.path / "demo/a").mkdir()
            write(mount.path / "demo/a/cmd", "hostname")
            self.assertEqual(read(mount.path / "demo/a/last/output"), b"a\n")
            pid = int(value(mount.path / "demo/a", "pid"))
        finally:
            mount.unmount()
        wait_for(lambda: not alive(pid), "end of the container")
        wait_for(lambda: not harness.processes_with(mount.base), "end of the daemon")

    def test_arguments(self):
        for words in (["--demo"], ["--demo", "a", "b"], ["--demo", "--check", "a"]):
            done = subprocess.run([harness.POOLFS, *words], capture_output=True, text=True,
                                  timeout=harness.PATIENCE)
            self.assertEqual(done.returncode, 2)
            self.assertIn("poolfs --demo MOUNTPOINT", done.stderr)


class Roots(unittest.TestCase):
    """Other root filesystems than the host's."""

    def setUp(self):
        containers.need_containers()
        self.busybox = shutil.which("busybox")
        if not self.busybox or b"not a dynamic" not in subprocess.run(
                ["ldd", self.busybox], capture_output=True, check=False).stderr:
            self.skipTest("no static busybox")
        self.tree = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-root."))
        self.addCleanup(shutil.rmtree, self.tree, ignore_errors=True)
        os.chmod(self.tree, 0o755)
        (self.tree / "bin").mkdir()
        shutil.copy(self.busybox, self.tree / "bin/busybox")
        for name in ("sh", "cat", "ls", "hostname", "touch", "id", "tar", "sleep"):
            (self.tree / "bin" / name).symlink_to("busybox")
        (self.tree / "hello").write_text("from the tree\n")

    def mount(self, **keys):
        mount = harness.Mount(containers.container_pool(**keys))
        self.addCleanup(mount.stop)
        instance = mount.path / "box/a"
        instance.mkdir()
        return instance

    def check(self, instance):
        self.assertRegex(text(instance / "ready"), r"^\d")
        write(instance / "cmd", "cat /hello; touch /new && ls -d /new; ls /usr; hostname")
        self.assertEqual(read(instance / "last/stdout"), b"from the tree\n/new\na\n")
        (instance / "files/f").write_text("x")
        self.assertEqual((instance / "files/f").read_text(), "x")

    def test_directory(self):
        self.check(self.mount(root=self.tree))
        self.assertFalse((self.tree / "new").exists())

    def test_owners_of_a_directory(self):
        if os.getuid() != 0:
            self.skipTest("only root has several owners to keep")
        os.chown(self.tree / "hello", 0, 5)
        instance = self.mount(root=self.tree)
        write(instance / "cmd", "ls -ln /hello; echo more >>/hello && cat /hello")
        output = text(instance / "last/output")
        if "keep the host's owners" in text(instance / "log"):
            self.skipTest(text(instance / "log"))
        self.assertRegex(output, r"^-rw\S+ +1 0 +5 ")
        self.assertTrue(output.endswith("from the tree\nmore\n"), output)
        self.assertEqual((self.tree / "hello").read_text(), "from the tree\n")

    def test_archive(self):
        archive = self.tree / "root.tar.gz"
        sh(f"tar -czf {archive} -C {self.tree} bin hello")
        self.check(self.mount(root=archive))

    def test_links_of_an_image_lead_nowhere_else(self):
        """What is made in a root filesystem is made there, whatever the image has in the way."""
        victim = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-victim."))
        self.addCleanup(shutil.rmtree, victim, ignore_errors=True)
        os.chmod(victim, 0o777)
        (victim / "hostname").write_text("the host's\n")
        os.chmod(victim / "hostname", 0o666)
        for target in (str(victim), "../" * 20 + str(victim).lstrip("/")):
            for name in ("etc", "var", "usr", "root"):
                (self.tree / name).unlink(missing_ok=True)
                (self.tree / name).symlink_to(target)
            archive = self.tree / "links.tar"
            sh(f"tar -cf {archive} -C {self.tree} bin hello etc var usr root")
            for root in (self.tree, archive):
                with self.subTest(root=root, target=target):
                    instance = self.mount(root=root, bind="/usr/share")
                    with contextlib.suppress(OSError):
                        text(instance / "ready")
                    self.assertEqual(os.listdir(victim), ["hostname"], text(instance / "error"))
                    self.assertEqual((victim / "hostname").read_text(), "the host's\n")

    def fails(self, expected, **keys):
        instance = self.mount(**keys)
        with self.assertRaises(OSError):
            text(instance / "ready")
        self.assertIn(expected, text(instance / "error"))

    def test_failures(self):
        broken = self.tree / "broken.tar"
        broken.write_bytes(b"x" * 5000)
        self.fails("could not be unpacked", root=broken)
        self.fails("shell: /bin/nothing", root=self.tree, shell="/bin/nothing")

    def test_bind(self):
        instance = self.mount(bind=self.tree)
        write(instance / "cmd", f"cat {self.tree}/hello; touch {self.tree}/x")
        self.assertIn(b"from the tree", read(instance / "last/output"))
        self.assertFalse((self.tree / "x").exists())

    def test_host_network(self):
        instance = self.mount(network="host")
        write(instance / "cmd", "cat /proc/net/dev")
        self.assertEqual(len(read(instance / "last/output").splitlines()),
                         len(read("/proc/self/net/dev").splitlines()))


if __name__ == "__main__":
    harness.main()
