#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Modules that poolfs refuses, and what it says of each. Nothing is mounted."""
import concurrent.futures
import os
import pathlib
import shutil
import tempfile
import unittest

from harness import main
from modules import Root, stone

ROOT = None
ENDLESS = None
KEY = '{ .name = "%s", .type = POOLFS_STRING, .help = "A key." }'


def setUpModule():
    global ROOT, ENDLESS
    ROOT = Root()
    # It is waited for while the other tests run.
    module = ROOT.build("endless", stone() + "#include <unistd.h>\n"
                        "__attribute__((constructor)) static void wait(void) { for (;;) pause(); }\n")
    ENDLESS = concurrent.futures.ThreadPoolExecutor().submit(ROOT.ask, "--module", module, "--backends")


def keys(text):
    """The smallest module with these keys."""
    return (f"#include <poolfs/backend.h>\nstatic const struct poolfs_key list[] = {{ {text}, {{ 0 }} }};\n" +
            stone().replace("{ NULL };", "{ list, NULL };"))


# What is replaced in the smallest module, by what, and what is said then.
CHANGES = {
    "another interface": (".size = sizeof(struct poolfs_module)", ".size = sizeof(poolfs_module), .abi = 2",
                          "its module is of interface 2, and this poolfs has interface 1: build it with"),
    "another kind's interface": (".name =", ".abi = 7, .name =", "its kind is of interface 7"),
    "no size": (".size = sizeof(struct poolfs_backend)", ".size = 0", "its backend has an unknown size, 0"),
    "too short": (".size = sizeof(struct poolfs_backend)", ".size = 24", "its backend has an unknown size"),
    "too long": (".size = sizeof(struct poolfs_kind)", ".size = 1 << 20", "its kind has an unknown size"),
    "no symbol": ("const struct poolfs_module poolfs_module", "const struct poolfs_module other",
                  "it does not define poolfs_module, see poolfs-backend(3)"),
    "no kind": (".kind = &kind, .backend", ".backend", "it has no kind: poolfs_module must name one"),
    "no backend": (", .backend = &backend", "", "it has no backend"),
    "another kind": (".kind = &kind, .open", ".open", "its backend is not of its kind"),
    "a name of poolfs": ('"stone"', '"qemu"', "poolfs itself has a kind qemu: choose another name"),
    "a name with blanks": ('"stone"', '"A stone"', '"A stone" cannot be the name of a kind'),
    "no name": ('.name = "stone",', "", "cannot be the name of a kind"),
    "no summary": (', .summary = "machines that do nothing"', "", "the kind stone has no summary"),
    "no tables": (".tables = tables,", "", "the kind stone has no tables"),
    "no stop": (", .stop = stone_stop", "", "it has no function stop: every backend needs it"),
    "no open": (".open = stone_open,", "", "it has no function open"),
    "no transport": (".stop = stone_stop", ".stop = stone_stop, .address = (void *)stone_open",
                     'names the transport "pigeon", which does not exist', ('"none"', '"pigeon"')),
    "poolfs' own transport": ('"none"', '"agent"', "it has no function address: its transport needs one"),
    "a transport without address": ('"none"', '"ssh"', "it has no function address"),
    "a transport without keys": (".stop = stone_stop", ".stop = stone_stop, .address = (void *)stone_open",
                                 "has the transport ssh, but not its key ssh_user", ('"none"', '"ssh"')),
    "the agent": (".stop = stone_stop", ".stop = stone_stop, .address = (void *)stone_open",
                  "the transport agent is for kinds that come with poolfs", ('"none"', '"agent"')),
    "a feature without function": (".tables =", ".features = POOLFS_FEATURE_NMI, .tables =",
                                   "it has no function nmi: its features have POOLFS_FEATURE_NMI"),
    "an unknown feature": (".tables =", ".features = 1u << 30, .tables =", "features are unknown here"),
    "targets without key": (".tables =", '.targets = "list", .tables =', "targets names the key list"),
    "a verb without function": (".tables =", '.verbs = &(struct poolfs_verb){ "go" }, .tables =',
                                "it has no function verb: it has verbs"),
    "a verb of poolfs": (".tables =", ".verbs = go, .tables =", '"stop" cannot be a verb of ctl',
                         ("#include <stdlib.h>", '#include <poolfs/backend.h>\n'
                          'static const struct poolfs_verb go[] = { { .name = "stop" }, { 0 } };'),
                         (".stop = stone_stop", ".stop = stone_stop, .verb = (void *)stone_open")),
    "a verb with unknown flags": (".tables =", ".verbs = go, .tables =", "the verb go: its flags are unknown here",
                                  ("#include <stdlib.h>", '#include <poolfs/backend.h>\n'
                                   'static const struct poolfs_verb go[] = { { .name = "go", .flags = 64 }, { 0 } };'),
                                  (".stop = stone_stop", ".stop = stone_stop, .verb = (void *)stone_open")),
    "an unknown function": ("*state = machine;", "extern void nowhere(void); nowhere(); *state = machine;",
                            "it cannot be loaded: ", ("zzz", "zzz")),
    "a crash": ("#include <stdlib.h>", "#include <stdlib.h>\n"
                "__attribute__((constructor)) static void crash(void) { __builtin_trap(); }",
                "the process that loaded it was killed by signal"),
    "an exit": ("#include <stdlib.h>", "#include <stdlib.h>\n"
                "__attribute__((constructor)) static void leave(void) { _Exit(3); }",
                "the process that loaded it ended with status 3, without an answer"),
}
KEYS = {
    "a key of every pool": (KEY % "count", "the key count: every pool has a key of that name"),
    "a key twice": (KEY % "a" + ", " + KEY % "a", "the key a: it is there twice"),
    "a key with a blank": (KEY % "a b", "the key a b: its name must be a small letter"),
    "a key without help": ('{ .name = "a" }', "the key a: it has no help"),
    "no choices": ('{ .name = "a", .type = POOLFS_CHOICE, .help = "A." }', "the key a: it has no choices"),
    "a wrong default": ('{ .name = "a", .type = POOLFS_INT, .max = 9, .fallback = "10", .help = "A." }',
                        "the key a: its default"),
    "a type": ('{ .name = "a", .type = 99, .help = "A." }', "the key a: its type is unknown here"),
    "flags": ('{ .name = "a", .flags = 1u << 20, .help = "A." }', "the key a: its flags are unknown here"),
    "bounds": ('{ .name = "a", .type = POOLFS_INT, .min = 2, .max = 1, .help = "A." }', "its min is above"),
    "a family": ('{ .name = "a.b", .flags = POOLFS_KEY_FAMILY | POOLFS_KEY_REQUIRED, .help = "A." }',
                 "a family is called PREFIX.WORD"),
}


class Refusal(unittest.TestCase):
    def refused(self, module, message):
        """--backends with a module says the message, its path first, and lists nothing."""
        status, out = ROOT.ask("--module", module, "--backends")
        self.assertIn(message, out)
        self.assertIn(f"poolfs: error: --module: {module}: ", out)
        self.assertNotIn("AddressSanitizer", out)
        self.assertNotIn("\nqemu ", out)
        self.assertEqual(status, 1)

    def check(self, config, *lines):
        """--check of a configuration says these lines."""
        path = pathlib.Path(tempfile.mkdtemp(dir=ROOT.scratch)) / "poolfs.ini"
        path.write_text(config)
        status, out = ROOT.ask("--check", path)
        self.assertEqual(out, "".join(f"{path}:{line}\n" for line in lines))
        self.assertEqual(status, 1 if lines else 0)


class TableTest(Refusal):
    def test_tables(self):
        for name, (old, new, message, *more) in CHANGES.items():
            with self.subTest(name):
                source = stone().replace(old, new, 1)
                self.assertNotEqual(source, stone())
                for before, after in more:
                    source = source.replace(before, after)
                module = ROOT.build("wrong", source, "-w")
                self.refused(module, message)

    def test_keys(self):
        for name, (text, message) in KEYS.items():
            with self.subTest(name):
                self.refused(ROOT.build("wrong", keys(text), "-w"), message)

    def test_newer_members_that_are_used(self):
        source = stone().replace("static const struct poolfs_backend backend = {",
                                 "static const struct { struct poolfs_backend b; void *more; } backend = { {")
        source = source.replace(".stop = stone_stop,\n};", ".stop = stone_stop,\n}, tables };")
        source = source.replace("sizeof(struct poolfs_backend)", "sizeof(backend)").replace(
            ".backend = &backend", ".backend = &backend.b")
        self.refused(ROOT.build("newer", source), "its backend has members that are newer than this poolfs")

    def test_two_modules_with_one_name(self):
        first, second = ROOT.build("first", stone()), ROOT.build("second", stone())
        status, out = ROOT.ask("--module", first, "--module", second, "--backends")
        self.assertEqual((status, out), (1, f"poolfs: error: --module: {second}: the module {first} has a kind "
                                            "stone too: load one of them\n"))

    def test_one_that_never_ends(self):
        status, out = ENDLESS.result()
        self.assertIn("endless.so: loading it did not end within 10 s\n", out)
        self.assertEqual(status, 1)


class FileTest(Refusal):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=ROOT.scratch))
        self.module = self.directory / "stone.so"

    def test_what_is_no_module(self):
        self.refused(self.module, "No such file or directory")
        for content in (b"", b"garbage\n", b"\x7fELF" + bytes(100), 5000 * b"\xff"):
            self.module.write_bytes(content)
            self.refused(self.module, "it cannot be loaded: ")
        good = ROOT.build("good", stone()).read_bytes()
        # The dynamic linker trusts what a header says, and may die of it: in a process of its own.
        for size in (64, 1000, len(good) // 2):
            self.module.write_bytes(good[:size])
            status, out = ROOT.ask("--module", self.module, "--backends")
            self.assertEqual(status, 1)
            self.assertRegex(out.splitlines()[-1], rf"^poolfs: error: --module: {self.module}: "
                             "(it cannot be loaded: |the process that loaded it (was killed by|ended with))")
        self.refused(self.directory, "not a file: a module is a shared object")
        status, out = ROOT.ask("--module", "nothing.so", "--backends")
        self.assertEqual(status, 1)
        self.assertIn("/nothing.so: No such file or directory: a module elsewhere needs a path, such as "
                      "./nothing.so", out)

    def test_what_others_can_change(self):
        shutil.copy(ROOT.build("good", stone()), self.module)
        for mode in (0o775, 0o757, 0o622):
            self.module.chmod(mode)
            self.refused(self.module, f"{self.module} can be changed by others (mode {mode:04o}): chmod go-w")
        self.module.chmod(0o755)
        self.directory.chmod(0o777)
        self.refused(self.module, f"{self.directory} can be changed by others (mode 0777)")
        self.directory.chmod(0o1777)
        self.assertEqual(ROOT.ask("--module", self.module, "--backends")[0], 0)
        self.directory.chmod(0o700)
        link = self.directory / "link.so"
        link.symlink_to(self.module)
        self.module.chmod(0o777)
        self.refused(link, "can be changed by others")

    @unittest.skipIf(os.geteuid() != 0, "only root can give files away")
    def test_what_belongs_to_another(self):
        shutil.copy(ROOT.build("good", stone()), self.module)
        os.chown(self.module, 1, -1)
        self.refused(self.module, f"{self.module} belongs to user 1, who could change what runs as user 0")
        os.chown(self.module, 0, -1)
        os.chown(self.directory, 1, -1)
        self.refused(self.module, f"{self.directory} belongs to user 1")


class ConfigTest(Refusal):
    def test_the_key(self):
        null = ROOT.make_example()
        pool = "[pool p]\ntype = null\n"
        self.check(f"[poolfs]\nmodules = {null}\n{pool}")
        self.check(f"{pool}[poolfs]\nmodules = {null} {null}\n")
        self.check(f"{pool}", '2: type: no kind of machine is called "null": write '
                   + ", ".join(self.kinds()[:-1]) + " or " + self.kinds()[-1])
        self.check(f"[poolfs]\nmodules = /nowhere.so {null}\n{pool}[pool q]\ntype = never\n",
                   "2: modules: /nowhere.so: No such file or directory")
        self.check(f"[poolfs]\nmodules = ''\n{pool}", "2: modules: empty: write the path of a module")

    @staticmethod
    def kinds():
        return [line.split()[0] for line in ROOT.ask("--backends")[1].splitlines() if line[0] != " "]

    def test_a_relative_path(self):
        directory = pathlib.Path(tempfile.mkdtemp(dir=ROOT.scratch))
        shutil.copy(ROOT.make_example(), directory / "here.so")
        (directory / "poolfs.ini").write_text("[poolfs]\nmodules = ./here.so\n[pool p]\ntype = null\n")
        self.assertEqual(ROOT.ask("--check", directory / "poolfs.ini"), (0, ""))

    def test_what_the_kind_says_of_values(self):
        head = f"[poolfs]\nmodules = {ROOT.make_example()}\n[pool p]\ntype = null\n"
        self.check(head + "address = nowhere\n", '5: address: "nowhere": write HOST:PORT')
        self.check(head + "address = a:1\nssh_agent = no\n", "3: ssh_key: without an agent (ssh_agent = no), "
                   "the file of a private key is needed")
        self.check(head + "delay = 2h\n", '5: delay: too large: write a time from 0 to 3600 seconds')
        self.check(head + "adress = a:1\n", "5: adress: there is no such key; did you mean address?")

    def test_what_a_kind_must_not_say(self):
        for name, code, message in (
                ("agent", '.transport_with = (void *)word', "names the transport agent, which is for kinds"),
                ("other", '.transport_with = (void *)other', 'names the transport "pigeon"'),
                ("trap", '.check = (void *)trap, .transport = "none"', "the process that loaded it was killed by signal")):
            source = stone().replace('.transport = "none"', code).replace(
                ".stop = stone_stop", ".stop = stone_stop, .address = (void *)stone_open").replace(
                "#include <stdlib.h>", "#include <stdlib.h>\n"
                'static const char *word(void) { return "agent"; }\n'
                'static const char *other(void) { return "pigeon"; }\n'
                "static int trap(void) { __builtin_trap(); }\n")
            config = ROOT.scratch / "said.ini"
            config.write_text(f"[poolfs]\nmodules = {ROOT.build(name, source, '-w')}\n"
                              "[pool p]\ntype = stone\n")
            status, out = ROOT.ask("--check", config)
            with self.subTest(name):
                self.assertIn(message, out)
                self.assertEqual(status, 1)


if __name__ == "__main__":
    main()
