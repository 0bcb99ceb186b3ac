# SPDX-License-Identifier: MIT
"""
What the tests through a mount share: a daemon of their own with a mount of their own, a real SSH
server on loopback, waiting for conditions, and the checks that must hold at the end of every test
(exit status 0, nothing left behind, no word of a sanitizer in the log).

A test is a unittest.TestCase in tests/mount/test_*.py, run by `main()`.
"""
import contextlib
import ctypes
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("POOLFS_TEST_BUILD", TOP / "build-test"))
POOLFS = BUILD / "poolfs"
GUEST = os.environ.get("POOLFS_TEST_GUEST", str(BUILD / "guest"))

# Longest wait for anything that should be quick, in seconds; the machine may be busy.
PATIENCE = 60

# What was started and not stopped yet.
STARTED = []

BAD_WORDS = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "Assertion", "ThreadSanitizer")


def wait_for(condition, what, seconds=PATIENCE):
    """Returns the first true value of condition(); fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"in {seconds} s there was no {what}")
        time.sleep(0.01)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def text(path):
    return read(path).decode()


def write(path, data):
    if isinstance(data, str):
        data = data.encode()
    with open(path, "wb", buffering=0) as file:
        if file.write(data) is None: # what Python makes of EAGAIN
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))


def value(instance, key):
    """One value of an instance's status; None when it is not there."""
    found = re.search(rf"^{key} (.*)$", text(instance / "status"), re.M)
    return found and found.group(1)


def alive(pid):
    """Whether a process is there that does not just wait to be reaped."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def sh(script, shell="sh", check=True, timeout=PATIENCE, **more):
    """Runs a script in a shell; returns its standard output as text."""
    done = subprocess.run([shell, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout, text=True, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{script!r}: status {done.returncode}: "
                             f"{done.stdout[-1000:]}{done.stderr}")
    return done.stdout


def sanitized():
    """Whether the program has a sanitizer, whose books and quarantine are no memory of its own."""
    return "libasan" in sh(f"ldd '{POOLFS}'")


def processes_with(path):
    """The pids of processes whose command line or directory names path."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            if str(path) in words or os.readlink(entry / "cwd").startswith(str(path)):
                found.append(int(entry.name))
    return found


def own_mounts():
    """Gives this process and its children a mount namespace of their own. False: it cannot be had."""
    clone_newns = 0x00020000  # unshare(2)
    if ctypes.CDLL(None).unshare(clone_newns) != 0:
        return False
    # Mounts of others must not live on in there after their end.
    sh("mount --make-rprivate / && "
       "awk '$3 ~ /^fuse/ { print $2 }' /proc/self/mounts | xargs -r umount -l")
    return True


class Sshd:
    """An SSH server on loopback with its own keys, whose logins get us a plain shell."""

    script = TOP / "tests/lib/sshd.sh"

    def __init__(self, directory, *config, home=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        out = subprocess.run(["sh", self.script, "start", self.directory, *config],
                             stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
        if out.returncode == 77:
            raise unittest.SkipTest("no SSH server: " + out.stdout)
        if out.returncode != 0:
            raise AssertionError("the SSH server did not start: " + out.stdout)
        self.port = int((self.directory / "port").read_text())
        STARTED.append(self)

    def pid(self):
        return int((self.directory / "pid").read_text())

    def sessions(self):
        """The server's processes for those who are logged in; each login may have several."""
        found = []

        def add_children(pid):
            for child in text(f"/proc/{pid}/task/{pid}/children").split():
                if text(f"/proc/{child}/comm").startswith("sshd"):
                    found.append(int(child))
                    add_children(child)
        add_children(self.pid())
        return found

    def stop(self):
        subprocess.run(["sh", self.script, "stop", self.directory], timeout=PATIENCE, check=True)
        if self in STARTED:
            STARTED.remove(self)

    def abandon(self):
        self.stop()

        def removed():
            """What commands of a login still do there may meet the removal."""
            shutil.rmtree(self.directory, ignore_errors=True)
            return not self.directory.exists()
        wait_for(removed, f"end of {self.directory}", 10)


class Dropbear(Sshd):
    """The same by Dropbear, for root only."""

    script = TOP / "tests/lib/dropbear.sh"


class Mount:
    """A daemon in the foreground, with its mount, its working directory and its log."""

    def __init__(self, config, start=True):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-test."))
        self.path = self.base / "mnt"
        self.work = self.base / "work"
        self.log = self.base / "log"
        self.config = self.base / "poolfs.ini"
        self.path.mkdir()
        self.config.write_text(f"[poolfs]\nworkdir = {self.work}\n" + config)
        self.process = None
        STARTED.append(self)
        if start:
            self.start()

    def start(self, *options):
        log = open(self.log, "ab")
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        environment.setdefault("LSAN_OPTIONS",
                               f"suppressions={TOP}/tests/lsan.supp:print_suppressions=0")
        self.process = subprocess.Popen([POOLFS, "-f", *options, self.config, self.path],
                                        stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        env=environment, start_new_session=True)
        log.close()
        wait_for(lambda: self.mounted() or self.process.poll() is not None, "mount")
        if self.process.poll() is not None:
            raise AssertionError("poolfs did not start: " + self.log_text())
        return self

    def mounted(self):
        # Never asks the mount itself, which may be a dead one.
        with open("/proc/self/mounts") as mounts:
            return any(line.split()[1] == str(self.path) for line in mounts)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def directory_of(self, pool, name):
        """The instance's directory in the working directory; None when there is none."""
        for path in self.work.glob("*/instance.json"):
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(path.read_text())
                if (found["pool"], found["name"]) == (pool, name):
                    return path.parent
        return None

    def shim_pid(self, pool, name):
        return int((self.directory_of(pool, name) / "shim.pid").read_text().split()[0])

    def unmount(self):
        subprocess.run(["fusermount3", "-u", "-z", self.path], check=True, timeout=PATIENCE)

    def ended(self):
        """Waits for the daemon's end; returns its exit status."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("poolfs did not end: " + self.log_text()[-2000:]) from None

    def stop(self):
        """Ends the daemon as a user would, and checks that it left nothing behind."""
        problems = []
        if self.process and self.process.poll() is None:
            if self.mounted():
                self.unmount()
            else:
                self.process.terminate()
            try:
                if self.ended() != 0:
                    problems.append(f"exit status {self.process.returncode}")
            except AssertionError as error:
                problems.append(str(error))
                self.process.kill()
                self.process.wait()
        problems += self.leftovers()
        self.clear()
        if problems:
            raise AssertionError("; ".join(problems))

    def leftovers(self):
        problems = []
        log = self.log_text()
        for word in BAD_WORDS:
            if word in log:
                problems.append(f"the log says {word}: " + log[max(0, log.index(word) - 200):][:3000])
        try:
            wait_for(lambda: not processes_with(self.work), "end of the instances' processes", 15)
        except AssertionError:
            problems.append(f"processes are left: {processes_with(self.work)}")
        if self.work.exists():
            left = [name for name in os.listdir(self.work) if name.isdigit()]
            if left:
                problems.append(f"directories are left in the working directory: {left}")
        if self.mounted():
            problems.append("the mount is left")
        return problems

    def abandon(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.clear()

    def clear(self):
        if self in STARTED:
            STARTED.remove(self)
        for pid in processes_with(self.work):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.mounted():
            subprocess.run(["fusermount3", "-u", "-z", self.path], check=False)
        if not self.mounted():
            shutil.rmtree(self.base, ignore_errors=True)


def ssh_pool(sshd, name="host", **keys):
    """A pool of logins on the SSH server of these tests."""
    lines = {"type": "ssh", "host": "127.0.0.1", "ssh_port": sshd.port,
             "ssh_user": sh("id -un").strip(), "ssh_key": sshd.directory / "id",
             "known_hosts": sshd.directory / "known_hosts", **keys}
    return f"[pool {name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def need_guest():
    """Skips the test where no virtual machine can be booted."""
    if not os.path.exists(os.path.join(GUEST, "kernel")):
        raise unittest.SkipTest("no guest image: set POOLFS_TEST_GUEST")
    if not any(shutil.which(f"qemu-system-{arch}") for arch in ("x86_64", "aarch64")):
        raise unittest.SkipTest("no QEMU: install qemu-system-x86 or qemu-system-arm")


def qemu_pool(name="linux", **keys):
    """A pool of virtual machines of the small guest image."""
    lines = {"type": "qemu", "kernel": f"{GUEST}/kernel", "initrd": f"{GUEST}/initrd.img",
             "ssh_key": f"{GUEST}/id_ed25519", **keys}
    return f"[pool {name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def booted(instance):
    """Waits for the end of a boot, which must be a good one; returns the instance."""
    try:
        read(instance / "ready")
    except OSError as error:
        raise AssertionError(f"{error}: " + text(instance / "error")) from None
    return instance


class MountTest(unittest.TestCase):
    """One daemon for all tests of a class. Subclasses give `pools`, the configuration, by configure()."""

    sshd = None

    @classmethod
    def configure(cls):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        cls.mount = None
        try:
            cls.mount = Mount(cls.configure())
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        try:
            if cls.mount:
                cls.mount.stop()
        finally:
            if cls.sshd:
                cls.sshd.abandon()
                cls.sshd = None

    @classmethod
    def make(cls, pool):
        """Makes the instance of a class, from its setUpClass; waits until it is ready."""
        path = cls.mount.path / pool / "a"
        try:
            path.mkdir()
            return booted(path)
        except BaseException:
            cls.tearDownClass()
            raise

    def new(self, pool, name="a", ready=True):
        """Makes an instance that goes with the test; waits until it is ready."""
        path = self.mount.path / pool / name
        path.mkdir()
        self.addCleanup(self.drop, path)
        return booted(path) if ready else path

    @staticmethod
    def drop(path):
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()

    def run_in(self, instance, command):
        """Runs a command by cmd; returns (output, status)."""
        with open(instance / "cmd", "r+b", buffering=0) as cmd:
            cmd.write(command.encode() if isinstance(command, str) else command)
            run = instance / "runs" / cmd.read().decode().strip()
        return read(run / "output"), int(text(run / "exit"))


class SshTest(MountTest):
    """Instances of the pool `host`: logins on an SSH server of ours, which is fast to come up."""

    keys = {}
    server = Sshd
    sshd_config = ()

    @classmethod
    def configure(cls):
        cls.sshd = cls.server(tempfile.mkdtemp(prefix="poolfs-sshd."), *cls.sshd_config)
        home = cls.sshd.directory / "home"
        home.mkdir(exist_ok=True)
        return ssh_pool(cls.sshd, **{"files": home, **cls.keys})


class GuestTest(MountTest):
    """Instances of the pool `linux`: virtual machines."""

    keys = {}

    @classmethod
    def configure(cls):
        need_guest()
        return qemu_pool(**cls.keys)


def clean_up(number, frame):
    """A test that takes too long is told so by SIGTERM: it leaves nothing behind all the same."""
    for started in list(STARTED):
        with contextlib.suppress(Exception):
            started.abandon()
    os._exit(128 + number)


def main():
    """Runs the tests of the calling program; exit status 77 when every one of them was skipped."""
    signal.signal(signal.SIGTERM, clean_up)
    # Ignored, for all that is started here, where a shell has the tests in its background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if result.testsRun == len(result.skipped) or (not result.testsRun and result.skipped):
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() else 1)
