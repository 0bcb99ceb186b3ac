# SPDX-License-Identifier: MIT
"""
files/: what the kernel may answer by itself, and when it must ask. That nobody is asked is shown by
stopping the shim: whoever asks then waits.
"""
import contextlib
import errno
import multiprocessing
import os
import shutil
import signal
import stat
import time

import guestfiles
import harness
from harness import read, sh, wait_for, write

# Long enough for all that a test does within it, on a busy machine.
LONG = 300


def state(path):
    """Type and size, or None."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return stat.S_IFMT(status.st_mode), 0 if stat.S_ISDIR(status.st_mode) else status.st_size


def epochs():
    """Whether this kernel can forget names (6.16)."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 16)


class CacheTest(guestfiles.FilesTest):
    @contextlib.contextmanager
    def nobody_answers(self):
        """The shim stands still. What waits for it in this process is interrupted after a while."""
        def give_up(*ignored):
            raise AssertionError("the guest was asked")

        pid = self.mount.shim_pid("host", "a")
        signal.signal(signal.SIGALRM, give_up)
        os.kill(pid, signal.SIGSTOP)
        signal.alarm(10)
        try:
            yield
        finally:
            signal.alarm(0)
            os.kill(pid, signal.SIGCONT)

    def run_here(self, script):
        """Runs a script in the test's directory on the server, as a command of the instance."""
        output, status = self.run_in(self.instance, f"cd {self.there.name} && {script}")
        self.assertEqual(status, 0, output)

    def asks(self, call, *arguments):
        """Whether the call waits for the guest. It is made in another process, as it may wait."""
        with self.nobody_answers():
            process = multiprocessing.get_context("fork").Process(target=call, args=arguments)
            process.start()
            process.join(0.3)
            waits = process.is_alive()
        process.join(harness.PATIENCE)
        return waits


class Long(CacheTest):
    """With a time that does not end within a test."""

    keys = {"cache": LONG}

    def test_stat_after_ls_asks_nobody(self):
        for i in range(300):
            write(self.there / f"f{i}", "x" * i)
        sh("ls -l", cwd=self.here)
        with self.nobody_answers():
            for i in range(300):
                self.assertEqual(os.stat(self.here / f"f{i}").st_size, i)

    def test_listing_again_asks_nobody(self):
        """Until something is changed from here in the directory, or a run has ended."""
        names = [f"f{i}" for i in range(10)]
        for name in names:
            (self.there / name).touch()
        (self.there / "d").mkdir()
        self.assertEqual(sorted(os.listdir(self.here)), ["d"] + names)
        with self.nobody_answers():
            self.assertEqual(sorted(os.listdir(self.here)), ["d"] + names)
            self.assertEqual(sorted(entry.name for entry in os.scandir(self.here)
                                    if entry.stat().st_size == 0), names)
        for name, before in (("v", lambda: None), ("w", lambda: write(self.here / "f0", b"1")),
                             ("x", lambda: self.run_here("true"))):
            os.listdir(self.here)
            (self.there / name).touch()
            before()
            names += [name] if name != "v" else []
            self.assertEqual("v" in os.listdir(self.here), name != "v")
            self.assertLessEqual(set(names), set(os.listdir(self.here)))

    def test_attributes_after_reading_ask_nobody(self):
        """All but the time of the last access are what they were."""
        write(self.there / "x", "12345")
        with open(self.here / "x", "rb", buffering=0) as file:
            self.assertEqual(file.read(), b"12345")
            with self.nobody_answers():
                self.assertEqual(os.fstat(file.fileno()).st_size, 5)
                self.assertEqual(os.stat(self.here / "x").st_size, 5)
        os.listdir(self.here)
        with self.nobody_answers():
            os.stat(self.here)

    def test_the_time_of_the_last_access_is_never_set_to_an_old_one(self):
        """It goes to the guest with the other time, so it must be known; reading changes it."""
        write(self.here / "x", "12345")
        os.utime(self.here / "x", (10**9, 10**9))
        os.utime(self.there / "x", (1100000000, 10**9))
        self.assertEqual(read(self.here / "x"), b"12345")
        sh("touch -m -d @1200000000 x", cwd=self.here)
        status = os.stat(self.there / "x")
        self.assertEqual(status.st_mtime, 1200000000)
        self.assertGreaterEqual(status.st_atime, 1100000000)

    def test_absent_names_ask_nobody(self):
        if not epochs():
            self.skipTest("this kernel cannot forget names")
        self.assertFalse((self.here / "none").exists())
        with self.nobody_answers():
            self.assertFalse((self.here / "none").exists())
            self.fails(errno.ENOENT, os.stat, self.here / "none")

    def test_what_was_made_here_asks_nobody(self):
        os.mkdir(self.here / "d")
        os.close(os.open(self.here / "d/x", os.O_CREAT | os.O_WRONLY))
        os.symlink("x", self.here / "d/l")
        with self.nobody_answers():
            self.assertEqual(state(self.here / "d/x"), (stat.S_IFREG, 0))
            self.assertEqual(state(self.here / "d/l"), (stat.S_IFLNK, 1))

    def test_attributes_that_were_just_told_ask_nobody(self):
        """The kernel asks for them before it changes the owner, as tar does with each file."""
        with open(self.here / "x", "wb", buffering=0) as file:
            file.write(b"12345")
            os.utime(file.fileno(), (10**9, 10**9))
            with self.nobody_answers():
                os.fchown(file.fileno(), os.getuid(), os.getgid())
                self.assertEqual(os.fstat(file.fileno()).st_size, 5)
            file.write(b"6")
            os.fchown(file.fileno(), os.getuid(), os.getgid())
            self.assertEqual(os.fstat(file.fileno()).st_size, 6)
            sh("touch -m -d @1200000000 x", cwd=self.here)
            self.assertEqual(os.stat(self.there / "x").st_atime, 10**9)
        os.mkdir(self.here / "d")
        os.utime(self.here / "d", (10**9, 10**9))
        write(self.here / "d/x", "x")
        os.chown(self.here / "d", os.getuid(), os.getgid())
        self.assertEqual(os.stat(self.here / "d").st_mtime, int(os.stat(self.there / "d").st_mtime))
        self.assertNotEqual(os.stat(self.here / "d").st_mtime, 10**9)

    def test_changes_made_here(self):
        write(self.here / "x", "12345")
        self.assertEqual(os.stat(self.here / "x").st_size, 5)
        with open(self.here / "x", "ab", buffering=0) as file:
            file.write(b"678")
            self.assertEqual(os.stat(self.here / "x").st_size, 8)
        os.truncate(self.here / "x", 2)
        self.assertEqual(os.stat(self.here / "x").st_size, 2)
        os.chmod(self.here / "x", 0o600)
        self.assertEqual(os.stat(self.here / "x").st_mode & 0o777, 0o600)
        self.assertIsNone(state(self.here / "y"))
        os.rename(self.here / "x", self.here / "y")
        self.assertIsNone(state(self.here / "x"))
        self.assertEqual(self.both("y"), b"12")
        write(self.here / "z", "zzz")
        os.rename(self.here / "z", self.here / "y")
        self.assertEqual((state(self.here / "y"), self.both("y")), ((stat.S_IFREG, 3), b"zzz"))
        os.unlink(self.here / "y")
        self.assertIsNone(state(self.here / "y"))
        os.mkdir(self.here / "y")
        self.assertEqual(state(self.here / "y"), (stat.S_IFDIR, 0))
        os.rmdir(self.here / "y")
        self.assertEqual(os.listdir(self.here), [])

    def test_hard_links(self):
        write(self.here / "a", "one")
        self.assertEqual(os.stat(self.here / "a").st_size, 3)
        os.link(self.here / "a", self.here / "b")
        for i in range(1, 20):
            write(self.here / "ab"[i % 2:][:1], "x" * i)
            for name in ("a", "b"):
                self.assertEqual(os.stat(self.here / name).st_size, i)
                self.assertEqual(read(self.here / name), b"x" * i)

    def test_open_asks(self):
        write(self.there / "x", "old")
        self.assertEqual(os.stat(self.here / "x").st_size, 3)
        for content in (b"newer", b"", b"x", b"y", b"longer content"):
            write(self.there / "x", content)
            with open(self.here / "x", "rb", buffering=0) as file:
                self.assertEqual(os.fstat(file.fileno()).st_size, len(content))
                self.assertEqual(file.read(), content)
            self.assertEqual(os.stat(self.here / "x").st_size, len(content))

    def test_bytes_stay_while_unchanged(self):
        # More than comes with an open.
        write(self.there / "x", "content" * 10000)
        os.utime(self.there / "x", (10 ** 9, 10 ** 9))

        def again():
            # Open stays with the guest; the bytes need not.
            with open(self.here / "x", "rb", buffering=0) as file, self.nobody_answers():
                process = multiprocessing.get_context("fork").Process(
                    target=os.pread, args=(file.fileno(), 100, 0))
                process.start()
                process.join(0.3)
                kept = not process.is_alive()
            process.join(harness.PATIENCE)
            read(self.here / "x")
            return kept
        self.assertFalse(again())
        wait_for(again, "kept bytes", 20)
        write(self.there / "x", "other")
        self.assertEqual(read(self.here / "x"), b"other")
        # A command may set any time that it likes.
        write(self.there / "x", "contenT" * 10000)
        os.utime(self.there / "x", (10 ** 9, 10 ** 9))
        self.assertFalse(again())
        wait_for(again, "kept bytes", 20)
        self.run_here("tr T U <x >y && cat y >x && touch -d @1000000000 x")
        self.assertEqual(read(self.here / "x"), b"contenU" * 10000)

    def test_names_that_mean_something_else(self):
        """What the server changed, unseen: no operation may fail because of what is believed."""
        write(self.there / "gone", "x")
        (self.there / "dir").mkdir()
        write(self.there / "file", "x")
        os.symlink("file", self.there / "link")
        sh("ls -lL", cwd=self.here)
        os.unlink(self.there / "gone")
        write(self.here / "gone", "made again")
        self.assertEqual(self.both("gone"), b"made again")
        os.unlink(self.there / "gone")
        self.fails(errno.ENOENT, open, self.here / "gone")
        shutil.rmtree(self.there / "dir")
        write(self.there / "dir", "a file")
        self.assertEqual(sh("cat dir; ls -d dir", cwd=self.here), "a filedir\n")
        os.unlink(self.there / "file")
        (self.there / "file").mkdir()
        (self.there / "file/inside").touch()
        with contextlib.suppress(OSError): # whatever it says: after it, the name is right
            open(self.here / "file").close()
        self.assertEqual(os.listdir(self.here / "file"), ["inside"])
        os.unlink(self.there / "link")
        write(self.there / "link", "no link")
        self.assertEqual(read(self.here / "link"), b"no link")

    def test_runs_are_seen_at_once(self):
        names = ("a", "b", "d/a")
        scripts = ("printf %0{n}d 0 >{x}", "rm -rf {x}", "rm -rf {x}; mkdir {x}", "mv {x} {y}; :",
                   "rm -rf {x}; ln -s b {x}", "rm -rf {x}; printf %0{n}d 1 >{x}", "printf 1 >>{x}; :")
        (self.there / "d").mkdir()
        kinds = set()
        for i in range(100):
            for name in names: # all of it is believed
                state(self.here / name)
            sh("ls -l . d", cwd=self.here)
            script = scripts[i * 5 % len(scripts)].format(
                n=i + 1, x=names[i % 3], y=names[(i + 1) % 3])
            self.run_in(self.instance, f"cd {self.there.name}; {script}")
            for name in names[i % 3:] + names[:i % 3]:
                self.assertEqual(state(self.here / name), state(self.there / name), (i, script, name))
                kinds.add((state(self.there / name) or [0])[0])
                if os.path.isfile(self.there / name):
                    self.assertEqual(read(self.here / name), read(self.there / name), (i, script))
                elif os.path.isdir(self.there / name):
                    self.assertEqual(os.listdir(self.here / name), os.listdir(self.there / name))
            self.assertEqual(sorted(os.listdir(self.here)), sorted(os.listdir(self.there)))
        self.assertEqual(kinds, {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK})

    def test_a_file_becomes_a_directory(self):
        if not epochs():
            self.skipTest("this kernel cannot forget names")
        for _ in range(20):
            write(self.here / "x", "x")
            self.assertEqual(state(self.here / "x"), (stat.S_IFREG, 1))
            self.assertIsNone(state(self.here / "y"))
            self.run_here("rm x; mkdir x; echo y >x/in; echo y >y")
            self.assertEqual(os.listdir(self.here / "x"), ["in"])
            self.assertEqual(read(self.here / "y"), b"y\n")
            self.assertEqual(sh("cd x && cat in && rm in && cd .. && rmdir x && rm y",
                                cwd=self.here), "y\n")

    def test_a_shell_sees_its_run(self):
        for i in range(100):
            seen = sh(f"ls -l files/{self.there.name} >/dev/null; cat files/{self.there.name}/f{i};"
                      f"r=runs/s{i}; mkdir $r; echo 'echo {i} >{self.there.name}/f{i}' >$r/cmd;"
                      f"cat $r/output; cat files/{self.there.name}/f{i}; ls files/{self.there.name};"
                      f"cat $r/exit; rmdir $r", cwd=self.instance)
            self.assertEqual(seen.split(), [str(i)] + sorted(f"f{j}" for j in range(i + 1)) + ["0"])

    def test_open_files_and_directories_of_shells_stay(self):
        (self.there / "d").mkdir()
        write(self.there / "d/x", "123")
        with open(self.here / "d/x", "rb", buffering=0) as file:
            before = os.getcwd()
            os.chdir(self.here / "d")
            try:
                self.assertEqual(os.fstat(file.fileno()).st_size, 3)
                self.run_here("echo 456 >>d/x; touch d/y")
                self.assertEqual(os.getcwd(), str(self.here / "d"))
                self.assertEqual(os.fstat(file.fileno()).st_size, 7)
                self.assertEqual(sorted(os.listdir(".")), ["x", "y"])
            finally:
                os.chdir(before)

    def test_many_runs_beside_look_ups(self):
        stop = multiprocessing.Event()

        def look():
            while not stop.is_set():
                for i in range(20):
                    state(self.here / f"f{i}")
                    with contextlib.suppress(FileNotFoundError):
                        read(self.here / f"f{i}")
        lookers = [multiprocessing.get_context("fork").Process(target=look) for _ in range(2)]
        for looker in lookers:
            looker.start()
        try:
            for i in range(60):
                name = f"f{i % 20}"
                self.run_here(f"rm {name}" if (self.there / name).exists() else f"echo {i} >{name}")
                self.assertEqual(state(self.here / name), state(self.there / name), i)
        finally:
            stop.set()
            for looker in lookers:
                looker.join(harness.PATIENCE)


class Short(CacheTest):
    """With the default, one second."""

    def test_expiry(self):
        write(self.there / "x", "1")
        (self.there / "gone").touch()
        self.assertFalse((self.here / "new").exists())
        sh("ls -l", cwd=self.here)
        began = time.monotonic()
        write(self.there / "x", "22")
        os.unlink(self.there / "gone")
        (self.there / "new").touch()
        wait_for(lambda: (self.here / "new").exists() and not (self.here / "gone").exists() and
                 os.stat(self.here / "x").st_size == 2, "news of the server", 5)
        self.assertLess(time.monotonic() - began, 4)

    def test_another_instance_of_the_same_directory(self):
        other = self.new("host", "b") / "files" / self.there.name
        write(self.here / "x", "one")
        self.assertEqual(read(other / "x"), b"one")
        write(self.here / "x", "three")
        self.assertEqual(read(other / "x"), b"three")
        os.rename(self.here / "x", self.here / "y")
        wait_for(lambda: os.listdir(other) == ["y"] and not (other / "x").exists(), "the rename", 5)


class TwoMounts(CacheTest):
    """Two daemons show one directory."""

    keys = {"cache": LONG}

    def test_close_to_open(self):
        other = harness.Mount(harness.ssh_pool(self.sshd, files=self.sshd.directory / "home"))
        self.addCleanup(other.stop)
        there = other.path / "host/b"
        there.mkdir()
        read(there / "ready")
        path = there / "files" / self.there.name / "x"
        for i in range(50):
            one, two = (self.here / "x", path) if i % 2 else (path, self.here / "x")
            write(one, f"{i}" * (i % 3 + 1))
            self.assertEqual(read(two), read(self.there / "x"), i)
            self.assertEqual(os.stat(two).st_size, os.stat(self.there / "x").st_size)


class Nothing(CacheTest):
    """With no time at all."""

    keys = {"cache": 0}

    def test_everything_asks(self):
        write(self.there / "x", "1")
        sh("ls -l", cwd=self.here)
        self.assertTrue(self.asks(os.stat, self.here / "x"))
        self.assertTrue(self.asks(os.path.exists, self.here / "none"))
        self.assertTrue(self.asks(os.path.exists, self.here / "none"))


if __name__ == "__main__":
    harness.main()
