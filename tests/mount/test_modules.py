#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kinds of machines from modules, built against an installed poolfs: what their instances show and do."""
import errno
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import Mount, MountTest, Sshd, main, read, sh, text, value, wait_for, write
from modules import Root, run, stone, use

ROOT = None


def setUpModule():
    global ROOT
    ROOT = Root()
    use(ROOT)


def listing(instance):
    return sorted(os.listdir(instance))


class NullTest(MountTest):
    """The example module: machines without commands and files."""

    @classmethod
    def configure(cls):
        return (f"modules = {ROOT.make_example()}\n[pool empty]\ntype = null\n"
                "[pool slow]\ntype = null\ndelay = 10m\n")

    def test_only_what_it_can_is_listed(self):
        instance = self.new("empty")
        self.assertEqual(listing(instance), ["console", "crash", "crashes", "ctl", "error", "log", "ready",
                                             "state", "status"])
        for name in ("cmd", "runs", "files", "forward", "timeout", "last", "files/x", "runs/x"):
            with self.assertRaises(FileNotFoundError, msg=name):
                os.stat(instance / name)
        with self.assertRaises(FileNotFoundError):
            (instance / "runs" / "x").mkdir()
        self.assertEqual(text(instance / "state"), "ready\n")
        self.assertEqual(value(instance, "backend"), "null")
        wait_for(lambda: "the boot is over" in text(instance / "log"), "message")

    def test_the_console_is_there(self):
        instance = self.new("empty")
        write(instance / "console", "hello\n")
        wait_for(lambda: read(instance / "console") == b"null: up\r\nhello\n", "echo")

    def test_verbs_are_done(self):
        instance = self.new("empty")
        self.assertEqual(text(instance / "ctl"), "say TEXT\neach [WORD...]\noff\n")
        write(instance / "ctl", "say one  two\n")
        wait_for(lambda: b"one  two\r\n" in read(instance / "console"), "text")
        wait_for(lambda: value(instance, "verb") == "say done", "outcome")
        write(instance / "ctl", "each 'one more' \"\" two\n")
        wait_for(lambda: b"\r\none more\r\n\r\ntwo\r\n" in read(instance / "console"), "words")
        write(instance / "ctl", "each")
        wait_for(lambda: text(self.mount.path / "events").count("empty/a verb each done\n") == 2, "outcomes")
        for wrong in ("say\n", "off now\n", "stop\n", "sa\n", "nmi\n", "\n", "say a\0b\n",
                      "each 'x\n", "each x\neach y\n"):
            with self.assertRaises(OSError, msg=wrong) as raised:
                write(instance / "ctl", wrong)
            self.assertEqual(raised.exception.errno, errno.EINVAL, wrong)
        with self.assertRaises(OSError) as raised:
            write(instance / "ctl", "say " + 4097 * "x")
        self.assertEqual(raised.exception.errno, errno.EINVAL)
        write(instance / "ctl", "off\n")
        wait_for(lambda: text(instance / "state") == "stopped\n", "end")
        self.assertIn("somebody turned it off", text(instance / "error"))
        with self.assertRaises(OSError) as raised:
            write(instance / "ctl", "say more\n")
        self.assertEqual(raised.exception.errno, errno.EHOSTDOWN)

    def test_a_boot_is_cancelled(self):
        instance = self.new("slow", ready=False)
        with self.assertRaises(OSError) as raised:
            write(instance / "ctl", "say early\n")
        self.assertEqual(raised.exception.errno, errno.EHOSTDOWN)
        directory = wait_for(lambda: self.mount.directory_of("slow", "a"), "directory")
        wait_for((directory / "shim.pid").exists, "process")
        instance.rmdir()
        wait_for(lambda: not directory.exists(), "end of the instance")

    def test_one_may_go_before_its_process_is_there(self):
        for i in range(40):
            path = self.mount.path / "slow" / f"x{i}"
            path.mkdir()
            if i % 3 == 1:
                os.stat(path)
            if i % 3 == 2:
                wait_for(lambda path=path: self.mount.directory_of("slow", path.name), "directory")
            path.rmdir()
        wait_for(lambda: not self.mount.directory_of("slow", "x39") and
                 not [name for name in os.listdir(self.mount.work) if name.isdigit()], "end of all")

    def test_the_daemon_loads_nothing(self):
        self.new("empty")
        shim = self.mount.shim_pid("empty", "a")
        self.assertIn("null.so", text(f"/proc/{shim}/maps"))
        self.assertNotIn("null.so", text(f"/proc/{self.mount.process.pid}/maps"))

    def test_a_module_that_changed_is_told(self):
        copy = ROOT.scratch / "changing.so"
        shutil.copy(ROOT.make_example(), copy)
        mount = Mount(f"modules = {copy}\n[pool p]\ntype = null\n")
        self.addCleanup(mount.stop)
        copy.unlink()
        (mount.path / "p" / "a").mkdir()
        with self.assertRaises(OSError):
            read(mount.path / "p" / "a" / "ready")
        self.assertIn("No such file or directory", text(mount.path / "p" / "a" / "error") + mount.log_text())


class SshTest(MountTest):
    """The same module with an address: SSH brings commands, files and forwards."""

    @classmethod
    def configure(cls):
        cls.sshd = Sshd(tempfile.mkdtemp(prefix="poolfs-sshd."))
        home = cls.sshd.directory / "home"
        home.mkdir()
        return (f"modules = {ROOT.make_example()}\n"
                f"[pool host]\ntype = null\naddress = 127.0.0.1:{cls.sshd.port}\n"
                f"ssh_user = {sh('id -un').strip()}\nssh_key = {cls.sshd.directory}/id\nfiles = {home}\n")

    def test_everything_is_there(self):
        instance = self.new("host")
        for name in ("cmd", "runs", "files", "forward", "expose", "console", "ctl"):
            self.assertIn(name, listing(instance))
        self.assertEqual(text(instance / "ctl"), "stop\nsay TEXT\neach [WORD...]\noff\n")
        write(instance / "files" / "hello", "some text\n")
        self.assertEqual(self.run_in(instance, "cat hello; exit 3"), (b"some text\n", 3))


class StoneTest(MountTest):
    """The example of the manual, and modules of other versions of the interface."""

    @classmethod
    def configure(cls):
        source = stone()
        # What a module had that was built when there were no transports yet; none of what follows.
        old = source.replace('"stone"', '"old"').replace(
            "sizeof(struct poolfs_kind)", "offsetof(struct poolfs_kind, stop_limit)").replace(
            "sizeof(struct poolfs_backend)", "offsetof(struct poolfs_backend, sysrq)").replace(
            "{ NULL };", "{ poolfs_ssh_keys, NULL };").replace(
            ".stop = stone_stop", ".address = old_address, .stop = stone_stop").replace(
            "static const struct poolfs_backend", """
static int old_address(void *state, struct poolfs_address *address, struct poolfs_err *err)
{
	return poolfs_err_set(err, -5, "the old one is nowhere");
}
static const struct poolfs_backend""")
        # A longer table, whose new member is not used.
        new = source.replace('"stone"', '"new"').replace(
            "static const struct poolfs_backend backend = {",
            "static const struct { struct poolfs_backend table; void *more; } longer = { {").replace(
            ".start = stone_start, .stop = stone_stop,\n};", ".start = stone_start, .stop = stone_stop,\n} };")
        new = new.replace("sizeof(struct poolfs_backend)", "sizeof(longer)").replace(
            ".backend = &backend", ".backend = &longer.table")
        loud = source.replace('"stone"', '"loud"').replace(
            ".tables", ".features = POOLFS_FEATURE_CONSOLE, .tables") + """
#include <stdio.h>
__attribute__((constructor)) static void begin(void) { puts("{\\"kind\\": 1}"); fflush(stdout); }
"""
        modules = " ".join(str(ROOT.build(name, code)) for name, code in
                           (("stone", source), ("old", old), ("new", new), ("loud", loud)))
        return f"modules = {modules}\n" + "".join(
            f"[pool {name}]\ntype = {name}\n" for name in ("stone", "new", "loud")) + (
            "[pool old]\ntype = old\nboot_timeout = 1\n")

    def test_the_example_of_the_manual_works(self):
        instance = self.new("stone")
        self.assertEqual(listing(instance), ["error", "log", "ready", "state", "status"])
        wait_for(lambda: "it lies there" in text(instance / "log"), "message")

    def test_a_shorter_table_works(self):
        instance = self.new("old", ready=False)
        self.assertIn("cmd", listing(instance))
        with self.assertRaises(OSError):
            read(instance / "ready")
        self.assertIn("the old one is nowhere", text(instance / "error"))

    def test_a_longer_table_works(self):
        self.assertEqual(text(self.new("new") / "state"), "ready\n")

    def test_a_console_that_takes_nothing_is_read_only(self):
        instance = self.new("loud")
        self.assertEqual(os.stat(instance / "console").st_mode & 0o777, 0o400)
        with self.assertRaises(PermissionError):
            write(instance / "console", "x")
        self.assertEqual(read(instance / "console"), b"")


class HeaderTest(unittest.TestCase):
    """What is installed."""

    def test_the_header_stands_alone(self):
        for language, standard in (("c", "c11"), ("c++", "c++11")):
            with tempfile.NamedTemporaryFile("w", suffix=".c") as file:
                file.write("#include <poolfs/backend.h>\n")
                file.flush()
                if language == "c++" and not shutil.which("g++"):
                    continue
                compiler = "g++" if language == "c++" else "cc"
                self.assertEqual(run(compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra",
                                     "-Werror", "-pedantic", "-fsyntax-only", file.name, *ROOT.flags), (0, ""))

    def test_the_shim_offers_what_the_header_declares(self):
        preprocessed = subprocess.run(["cc", "-E", "-P", ROOT.header], stdout=subprocess.PIPE, text=True,
                                      check=True).stdout
        declared = set(sh("grep -o 'poolfs_[a-z_]*(' | tr -d '('", input=preprocessed).split())
        shim = ROOT.one("**/poolfs-shim")
        offered = {line.split()[-1] for line in run("nm", "-D", "--defined-only", shim)[1].splitlines()}
        offered = {name for name in offered if name.startswith("poolfs_")}
        self.assertEqual(offered, declared | {"poolfs_ssh_keys"})
        inner = [name for name in ("life_begin", "shim_new", "values_new", "memory_new")
                 if f" {name}\n" in run("nm", "-D", shim)[1]]
        self.assertEqual(inner, [])

    def test_modules_in_their_directory_have_short_names(self):
        module = ROOT.directory() / "short.so"
        shutil.copy(ROOT.make_example(), module)
        self.addCleanup(module.unlink)
        status, out = ROOT.ask("--module", "short.so", "--backends")
        self.assertEqual(status, 0, out)
        self.assertRegex(out, "(?m)^null +machines that need nothing")
        self.assertEqual(ROOT.ask("--module", "short.so", "--module", module, "--backends"), (0, out))
        status, out = ROOT.ask("--module", module, "--help-backend", "null")
        self.assertEqual(status, 0, out)
        for line in ("  delay (time from 0 to 3600 seconds; default 0)", "  ssh_user (text; default root)",
                     "  say TEXT", "        The machine ends by itself."):
            self.assertIn(line + "\n", out)


if __name__ == "__main__":
    main()
