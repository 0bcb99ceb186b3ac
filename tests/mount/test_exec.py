# SPDX-License-Identifier: MIT
"""Machines of one's own programs: their life, what the programs get, and what becomes of their end."""
import contextlib
import os
import re
import signal
import time
import unittest

import harness
import programs
import runs
from harness import alive, read, text, value, wait_for, write
from programs import ExecTest, events, read_later
from runs import local_processes

KEEP = "100000"


class Life(ExecTest):
    """From mkdir to rmdir."""

    token = runs.token()
    pools = {
        "whole": {
            "create": "env >env; pwd >pwd; cat >stdin; echo place here; echo 'odd line'; echo Größe x; echo\n"
                      "printf 'no newline'\n",
            "run": "exec sh -c \"$1\"\n", "destroy": f"ls >'@/whole.seen'\n", "wait": f"exec sleep {KEEP}\n",
            "console": "echo up; tr a-z A-Z\n", "ctl__go": "echo gone >>went\n", "env__FLAVOUR": "sour cherry"},
        "bare": {},
        "leaves": {
            "create": f"sleep {token} & (setsid sleep {token} &) ; (sleep 0.2; echo later; exec setsid sleep {token}) &\n"
                      "trap '' TERM; echo noise >&2\n",
            "destroy": f"pgrep -f 'sleep {token}' | wc -l >'@/leaves.seen'\n"},
        "ends": {"create": f"sleep {KEEP} & echo $! >pid\n",
                 "wait": "tail --pid=$(cat pid) -f /dev/null; echo it fell over >&2; exit 7\n",
                 "console": "echo up; exec cat\n", "ctl__x": "true\n", "destroy": "true\n"},
        "mounts": {"create": "mkdir -p outer && mount -t tmpfs x outer && mkdir 'outer/a b' && "
                             "mount --bind '@/precious' 'outer/a b' && mkdir same && mount --bind '@/precious' same\n"},
        "slow": {"run": "[ -e \"$POOLFS_DIRECTORY/up\" ] || { echo not yet >&2; exit 9; }; exec sh -c \"$1\"\n"},
    }

    @classmethod
    def pool(cls, name, **keys):
        return super().pool(name, **{key: str(value).replace("@", str(cls.base)) for key, value in keys.items()})

    def test_order_and_environment(self):
        instance = self.new("whole")
        home = self.mount.directory_of("whole", "a") / "exec"
        found = programs.environment(text(home / "env"))
        self.assertEqual(found.pop("POOLFS_PROGRAM"), "create")
        self.assertEqual(found.pop("POOLFS_POOL"), "whole")
        self.assertEqual(found.pop("POOLFS_INSTANCE"), "a")
        self.assertEqual(found.pop("POOLFS_DIRECTORY"), str(home))
        self.assertEqual(found.pop("FLAVOUR"), "sour cherry")
        self.assertEqual(found.pop("LC_ALL"), "C")
        self.assertLessEqual(set(found), {"PATH", "HOME", "USER", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_"})
        self.assertEqual((text(home / "pwd"), text(home / "stdin")), (f"{home}\n", ""))
        self.assertEqual(os.stat(home).st_mode & 0o777, 0o700)
        self.assertEqual(value(instance, "place"), "here")
        self.assertEqual(value(instance, "odd"), "line")
        self.assertEqual(value(instance, "no"), "newline")
        self.assertIn("create: Gr", text(instance / "log"))
        self.assertEqual(text(instance / "ctl"), "stop\ngo [ARGUMENT...]\n")
        write(instance / "ctl", "go\n")
        wait_for(lambda: value(instance, "verb") == "go done", "end of the verb")
        self.assertEqual(text(home / "went"), "gone\n")
        self.assertEqual(self.run_in(instance, "echo $POOLFS_PROGRAM")[0], b"run\n")
        wait_for(lambda: "console" in self.started("whole"), "start of the console")
        self.remove(instance)
        order = self.started("whole")
        self.assertEqual((order[0], order[-1]), ("create", "destroy"))
        self.assertEqual(sorted(order), sorted(["create", "wait", "console", "run", "run", "ctl.go", "destroy"]))
        self.assertIn("went\n", text(self.base / "whole.seen"))

    def test_without_create(self):
        instance = self.new("bare")
        self.assertEqual(sorted(set(os.listdir(instance)) & {"console", "crash", "forward", "expose"}), [])
        self.assertEqual(text(instance / "ctl"), "stop\n")
        self.remove(instance)
        self.assertEqual(set(self.started("bare")), {"run"})

    def test_what_create_leaves_is_the_machine(self):
        instance = self.new("leaves")
        wait_for(lambda: "later\n" in text(instance / "log"), "what was printed after create")
        wait_for(lambda: len(local_processes(self.token)) == 3, "its processes")
        self.assertIn("noise\n", text(instance / "log"))
        self.remove(instance)
        self.assertGreaterEqual(int(text(self.base / "leaves.seen")), 3)
        self.assertEqual(local_processes(self.token), [])

    def test_wait_tells_the_end(self):
        instance = self.new("ends")
        os.kill(int(text(self.mount.directory_of("ends", "a") / "exec/pid")), signal.SIGKILL)
        wait_for(lambda: text(instance / "state") == "stopped\n", "end of the machine")
        self.assertEqual(text(instance / "error").splitlines()[0], "wait ended with status 7: it fell over")
        self.assertEqual(self.refused(instance / "ctl", "x"), "EHOSTDOWN")
        self.remove(instance)

    refused = runs.RunTools.refused

    def test_what_is_mounted_is_not_removed(self):
        if os.getuid() != 0:
            self.skipTest("only root may mount")
        precious = self.base / "precious"
        precious.mkdir()
        (precious / "file").write_text("x")
        path = self.new("mounts", ready=False)
        try:
            read(path / "ready")
        except OSError:
            self.skipTest("no mounts here: " + text(path / "error"))
        self.remove(path)
        self.assertEqual(text(precious / "file"), "x")
        self.assertNotIn(str(precious), text("/proc/self/mountinfo"))
        self.assertNotIn(str(self.mount.work), text("/proc/self/mountinfo"))

    def test_ready_when_run_works(self):
        instance = self.new("slow", ready=False)
        wait_for(lambda: len(self.started("slow")) > 2, "attempts")
        self.assertEqual(text(instance / "state"), "booting\n")
        self.assertIn("not yet", text(instance / "log"))
        (self.mount.directory_of("slow", "a") / "exec/up").touch()
        harness.booted(instance)

    def keepers(self, pool):
        """The processes that keep an instance's programs, and then its runs."""
        shim = self.mount.shim_pid(pool, "a")
        return sorted(pid for pid in harness.processes_with("poolfs-programs")
                      if runs.parent(pid) == shim and programs.cmdline(pid).split()[1:] == [])

    def test_killed_keeper_of_runs_is_a_loss(self):
        instance = self.new("bare")
        (instance / "files/file").write_text("x")
        write(instance / "cmd", f"sleep {self.token}")
        wait_for(lambda: local_processes(self.token), "the command")
        os.kill(self.keepers("bare")[1], signal.SIGKILL)
        wait_for(lambda: text(instance / "state") == "lost\n", "the loss")
        self.assertEqual(text(instance / "last/exit"), "255\n")
        self.assertIn("has gone", text(instance / "error"))
        with self.assertRaises(OSError):
            (instance / "files/file").read_text()
        wait_for(lambda: not local_processes(self.token), "end of the command")
        self.remove(instance)

    def test_killed_keeper_is_the_end_and_destroy_is_run(self):
        instance = self.new("ends")
        for pid in self.keepers("ends"):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: text(instance / "state") == "stopped\n", "end of the machine")
        self.assertIn("has gone", text(instance / "error"))
        os.kill(int(text(self.mount.directory_of("ends", "a") / "exec/pid")), signal.SIGKILL)
        instance.rmdir()
        wait_for(lambda: "destroy" in self.started("ends"), "destroy")


class Failures(ExecTest):
    """Each step can go wrong."""

    boot = "2"
    pools = {
        "creates": {"create": "echo first >&2; echo 'the disk is full' >&2; exit 3\n", "destroy": "true\n"},
        "killed": {"create": "kill -9 $$\n", "destroy": "true\n"},
        "hangs": {"create": f"trap '' TERM; setsid sleep @ & sleep {KEEP}.1\n", "destroy": "true\n",
                  "boot_timeout": boot},
        "floods": {"create": "yes aaaaaaaaaaaaaaa | head -c 3000000; yes b | head -c 3000000 >&2\n"
                             "yes c | head -c 3000000 >&2; head -c 100000 /dev/zero; seq 300 | sed 's/.*/key& v/'\n"},
        "vanishes": {"run": "sh -c\n", "boot_timeout": boot},
        "never": {"run": "echo 'no such guest' >&2; exit 5\n", "boot_timeout": boot},
        "sticks": {"create": "true\n", "destroy": "echo 'still busy' >&2; exit 4\n"},
        "clings": {"create": "true\n", "destroy": f"trap '' TERM; sleep {KEEP}.2 & sleep {KEEP}.3\n", "destroy_timeout": "1"},
        "mute": {"address": "true\n"},
        "rubbish": {"address": "printf 'one two\\n\\033[31mthree\\n'\n"},
        "option": {"address": "echo -oProxyCommand=x\n"},
        "nul": {"address": "printf 'ho\\0st'\n"},
        "long": {"address": "yes | head -c 100000000\n"},
        "lost": {"address": "exit 127\n"},
        "unborn": {"address": "echo no lease >&2; exit 1\n", "boot_timeout": boot},
    }
    token = runs.token()

    @classmethod
    def pool(cls, name, **keys):
        return super().pool(name, **{key: str(value).replace("@", cls.token) for key, value in keys.items()})

    def fails(self, pool):
        return self.failed(self.new(pool, ready=False))

    def test_create_fails(self):
        error = self.fails("creates")
        self.assertEqual(error, "the machine did not start: create ended with status 3: the disk is full\n")
        wait_for(lambda: self.started("creates") == ["create", "destroy"], "destroy, though there is no rmdir")
        self.assertIn("first\n", text(self.mount.path / "creates/a/log"))
        self.remove(self.mount.path / "creates/a")
        self.assertEqual(self.started("creates"), ["create", "destroy"])

    def test_create_is_killed(self):
        self.assertIn("create was ended by signal 9 (Killed)", self.fails("killed"))

    def test_create_hangs(self):
        error = self.fails("hangs")
        self.assertIn("within boot_timeout: create had not ended", error)
        wait_for(lambda: self.started("hangs") == ["create", "destroy"], "destroy")
        self.assertEqual(local_processes(self.token) + local_processes(f"{KEEP}.1"), [])

    def test_create_floods(self):
        instance = self.new("floods")
        log = read(instance / "log")
        self.assertLess(len(log), 2 << 20)
        self.assertLess(len(text(instance / "status")), 8192)

    def test_run_is_missing(self):
        self.base.joinpath("vanishes.run").unlink()
        error = self.fails("vanishes")
        self.assertIn("within 2 s (boot_timeout)", error)
        self.assertRegex(error, "the first command, true, ended with status 127: .*vanishes.run: No such file")

    def test_run_never_works(self):
        self.assertIn("true, ended with status 5: no such guest", self.fails("never"))

    def test_destroy_fails(self):
        self.remove(self.new("sticks"))
        found = wait_for(lambda: events(self.mount, "sticks/a destroy failed"), "an event")
        self.assertIn("destroy ended with status 4: still busy", found[0])

    def test_destroy_hangs(self):
        instance = self.new("clings")
        before = time.monotonic()
        self.remove(instance)
        self.assertGreaterEqual(time.monotonic() - before, 1)
        self.assertIn("destroy took more than 1 s (destroy_timeout)", events(self.mount, "clings/a destroy failed")[0])
        self.assertEqual(local_processes(f"{KEEP}.2") + local_processes(f"{KEEP}.3"), [])

    def test_address_says_nothing_of_use(self):
        for pool, words in {"mute": "address printed nothing", "option": '"-oProxyCommand=x": it has',
                            "rubbish": r'more than one word.*not "one two\\n\\x1b\[31mthree"',
                            "nul": "more than one word", "long": "more than one word",
                            "lost": "address ended with status 127"}.items():
            with self.subTest(pool):
                error = self.fails(pool)
                self.assertRegex(error, words)
                self.assertNotIn("\033", error)

    def test_address_is_asked_again(self):
        self.assertIn("within boot_timeout: address ended with status 1: no lease", self.fails("unborn"))
        self.assertGreater(self.started("unborn").count("address"), 1)


class Killed(ExecTest):
    """The shim is killed: destroy is run all the same, by another process."""

    hang = "(setsid sleep @ &); trap '' TERM; sleep @ & wait; wait; wait\n"
    token = runs.token()
    pools = {
        "whole": {"create": "env >made; (setsid sleep @ &); exec >/dev/null 2>&1; sleep @ &\n", "env__FLAVOUR": "sour cherry",
                  "wait": "exec sleep @\n", "console": "exec sleep @\n",
                  "destroy": "pgrep -f 'sleep @' >left; env >env; mv env made left '%'\n"},
        "makes": {"create": hang, "destroy": "true\n"},
        "sticks": {"create": "true\n", "destroy": "echo 'still busy' >&2; exit 4\n"},
        "clings": {"create": "true\n", "destroy": hang, "destroy_timeout": "1"},
        "waits": {"create": "true\n", "destroy": "while [ ! -e '%/go' ]; do sleep 0.05; done\n"},
        "first": {"create": "true\n", "destroy": "mkdir '%/begun' || exit 1\n" + hang},
        "plain": {"create": "sleep @ &\n"},
    }

    @classmethod
    def pool(cls, name, **keys):
        (cls.base / f"{name}.d").mkdir()
        return super().pool(name, **{key: str(value).replace("@", cls.token).replace("%", str(cls.base / f"{name}.d"))
                                     for key, value in keys.items()})

    def kill(self, pool, *, ready=True):
        """An instance whose shim is killed; its directory."""
        instance = self.new(pool, ready=ready)
        if not ready:
            wait_for(lambda: len(local_processes(self.token)) >= 2, "what create starts")
        os.kill(self.mount.shim_pid(pool, "a"), signal.SIGKILL)
        return instance

    def destroyed(self, pool, times=1):
        wait_for(lambda: self.started(pool).count("destroy") == times, "destroy")

    def test_at_once_and_once(self):
        instance = self.kill("whole")
        home = self.mount.directory_of("whole", "a") / "exec"
        wait_for((self.base / "whole.d/left").exists, "the end of destroy")
        self.assertIn("killed by signal 9", text(instance / "error"))
        # All else had ended by then.
        self.assertEqual(text(self.base / "whole.d/left"), "")
        made, env = (programs.environment(text(self.base / "whole.d" / name)) for name in ("made", "env"))
        self.assertEqual((made.pop("POOLFS_PROGRAM"), env.pop("POOLFS_PROGRAM")), ("create", "destroy"))
        self.assertEqual(made, env)
        self.assertEqual(env["POOLFS_DIRECTORY"], str(home))
        self.remove(instance)
        self.assertEqual(self.started("whole").count("destroy"), 1)
        self.assertEqual(events(self.mount, "whole/a destroy"), [])

    def test_while_create_is_run(self):
        instance = self.kill("makes", ready=False)
        wait_for(lambda: self.started("makes") == ["create", "destroy"], "destroy")
        self.assertEqual(text(instance / "state"), "failed\n")
        self.assertEqual(local_processes(self.token), [])
        self.remove(instance)
        self.assertEqual(self.started("makes"), ["create", "destroy"])

    def test_failures_are_told(self):
        for pool, words in {"sticks": "destroy ended with status 4: still busy",
                            "clings": "destroy took more than 1 s (destroy_timeout)"}.items():
            instance = self.kill(pool)
            found = wait_for(lambda pool=pool: events(self.mount, f"{pool}/a destroy failed"), "an event")
            self.assertIn(words, found[0])
            self.assertEqual(len(found), 1)
            self.remove(instance)
            self.assertEqual(self.started(pool).count("destroy"), 1)
        self.assertEqual(local_processes(self.token), [])

    def test_rmdir_waits_for_it(self):
        instance = self.kill("waits")
        self.destroyed("waits")
        instance.rmdir()
        self.assertTrue(self.mount.directory_of("waits", "a"))
        self.assertFalse(events(self.mount, "waits/a closing"))
        (self.base / "waits.d/go").touch()
        self.gone("waits")
        wait_for(lambda: events(self.mount, "waits/a closing - destroyed"), "the end")

    def test_while_destroy_is_run(self):
        instance = self.new("first")
        shim = self.mount.shim_pid("first", "a")
        instance.rmdir()
        wait_for((self.base / "first.d/begun").exists, "destroy")
        os.kill(shim, signal.SIGKILL)
        self.gone("first")
        self.assertEqual(self.started("first").count("destroy"), 2)
        self.assertEqual(local_processes(self.token), [])
        self.assertIn("destroy ended with status 1", events(self.mount, "first/a destroy failed")[0])

    def test_without_destroy(self):
        instance = self.kill("plain")
        wait_for(lambda: not local_processes(self.token), "end of what create left")
        self.remove(instance)
        self.assertEqual(set(self.started("plain")), {"create", "run"})


class KilledAtTheEnd(ExecTest):
    """Somebody unmounts at once, or the daemon is killed too."""

    pools = {"a": {"create": "true\n", "destroy": "sleep 0.3; touch '%'\n"}}

    @classmethod
    def configure(cls):
        cls.configuration = super().configure()
        return cls.configuration

    def setUp(self):
        (self.base / "destroyed").unlink(missing_ok=True)
        self.mount = harness.Mount(self.configuration)
        self.addCleanup(self.mount.abandon)

    @classmethod
    def pool(cls, name, **keys):
        return super().pool(name, **{key: value.replace("%", str(cls.base / "destroyed"))
                                     for key, value in keys.items()})

    def test_unmount(self):
        self.new("a")
        os.kill(self.mount.shim_pid("a", "a"), signal.SIGKILL)
        self.mount.stop()
        self.assertTrue((self.base / "destroyed").exists())

    def test_next_daemon(self):
        self.new("a", "b")
        shim = self.mount.shim_pid("a", "b")
        self.mount.process.kill()
        self.mount.process.wait()
        os.kill(shim, signal.SIGKILL)
        before = self.mount.directory_of("a", "b")
        self.mount.start()
        wait_for(lambda: harness.sh(f"cat {self.mount.path}/events 2>&1 | grep 'a/b destroy done' || true"), "destroy")
        self.assertTrue((self.base / "destroyed").exists())
        wait_for(lambda: not before.exists(), "end of the directory")
        self.mount.stop()


class Cancelled(ExecTest):
    """rmdir ends whatever is under way, and all that it started."""

    hang = "(setsid sleep @ &); trap '' TERM; sleep @ & wait; wait; wait\n"
    token = runs.token()
    pools = {
        "create": {"create": hang, "destroy": "true\n"},
        "address": {"create": "true\n", "address": hang, "destroy": "true\n"},
        "again": {"address": "exit 1\n"},
        "probe": {"create": "true\n", "run": hang, "destroy": "true\n"},
        "verb": {"create": "true\n", "ctl__go": hang, "destroy": "true\n"},
        "console": {"console": hang},
        "wait": {"wait": hang},
        "runs": {"create": "true\n", "destroy": "true\n"},
    }

    @classmethod
    def pool(cls, name, **keys):
        return super().pool(name, **{key: str(value).replace("@", cls.token) for key, value in keys.items()})

    def begin(self, pool, program, ready=True):
        """An instance whose program of that name hangs."""
        instance = self.new(pool, ready=ready)
        if program == "ctl.go":
            write(instance / "ctl", "go")
        if program:
            wait_for(lambda: program in self.started(pool), "start of the program")
            wait_for(lambda: len(local_processes(self.token)) >= 2, "what it starts")
        return instance

    def ends(self, instance, *order):
        self.remove(instance)
        self.assertEqual(local_processes(self.token), [])
        self.assertEqual(self.started(instance.parent.name), list(order))

    def test_create(self):
        self.ends(self.begin("create", "create", ready=False), "create", "destroy")

    def test_address(self):
        self.ends(self.begin("address", "address", ready=False), "create", "address", "destroy")

    def test_between_attempts(self):
        instance = self.begin("again", None, ready=False)
        wait_for(lambda: self.started("again"), "an attempt")
        self.remove(instance)

    def test_probe(self):
        self.ends(self.begin("probe", "run", ready=False), "create", "run", "destroy")

    def test_verb(self):
        self.ends(self.begin("verb", "ctl.go"), "create", "run", "ctl.go", "destroy")

    def test_wait(self):
        self.ends(self.begin("wait", "wait"), *self.started("wait"))

    def test_console(self):
        self.ends(self.begin("console", "console"), *self.started("console"))

    def test_at_once(self):
        for pool in ("create", "runs"):
            (self.mount.path / pool / "x").mkdir()
            (self.mount.path / pool / "x").rmdir()
        wait_for(lambda: not [pid for pid in harness.processes_with(self.mount.work)], "end of all")

    def test_runs(self):
        instance = self.new("runs")
        run = instance / "runs/r"
        run.mkdir()
        write(run / "cmd", self.hang.replace("@", self.token))
        wait_for(lambda: len(local_processes(self.token)) >= 2, "its processes")
        self.ends(instance, "create", "run", "run", "destroy")


class Verbs(ExecTest):
    """Words of ctl."""

    pools = {"a": {"ctl__good": "echo $POOLFS_PROGRAM; echo fine >&2\n", "ctl__bad": "echo broken >&2; exit 2\n",
                   "ctl__arguments": "printf '%s|' \"$@\" >\"$POOLFS_DIRECTORY/arguments\"\n"}}
    refused = runs.RunTools.refused

    def test_verbs(self):
        instance = self.new("a")
        self.assertEqual(text(instance / "ctl"), "stop\n" + "".join(
            f"{name} [ARGUMENT...]\n" for name in ("good", "bad", "arguments")))
        write(instance / "ctl", "good")
        wait_for(lambda: value(instance, "verb") == "good done", "end of the verb")
        self.assertIn("ctl.good\n", text(instance / "log"))
        self.assertIn("fine\n", text(instance / "log"))
        write(instance / "ctl", "bad\n")
        wait_for(lambda: value(instance, "verb") == "bad failed: ctl.bad ended with status 2: broken", "failure")
        for line in ("good done", "bad failed: ctl.bad ended with status 2: broken"):
            self.assertTrue(any(found.endswith(f" a/a verb {line}") for found in events(self.mount, "verb")), line)
        for wrong in ("goo", "goo x", "ctl.good", "good\nbad", "good 'x", "good x\nbad y", "stop x", "good a\0b",
                      "good " + 4097 * "x"):
            self.assertEqual(self.refused(instance / "ctl", wrong), "EINVAL", wrong)
        self.assertEqual(text(instance / "state"), "ready\n")

    def test_arguments(self):
        instance = self.new("a", "b")
        path = self.mount.directory_of("a", "b") / "exec/arguments"
        for line, expected in (("arguments", "|"), ("arguments ", "|"), ("arguments one  two\n", "one|two|"),
                               ("arguments 'it is' \"$HOME\" a\\ b '' -n", "it is|$HOME|a b||-n|"),
                               ("arguments 'two\nlines' \"don't\"", "two\nlines|don't|"),
                               ("arguments " + 4096 * "x", 4096 * "x" + "|")):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            write(instance / "ctl", line)
            wait_for(lambda: programs.read_later(path) == expected, line)


class Console(ExecTest):
    """The console's program."""

    pools = {"a": {"console": "echo complaint >&2; stty -a | grep -o -- '-echo '; read line; echo \"got $line\"\n"}}

    def test_console(self):
        instance = self.new("a")
        wait_for(lambda: b"-echo" in read(instance / "console"), "a raw terminal")
        write(instance / "console", "hello\n")
        wait_for(lambda: b"got hello\n" in read(instance / "console"), "an answer")
        # It has ended: it is started again.
        wait_for(lambda: self.started("a").count("console") > 1, "another start")
        self.assertIn("complaint\n", text(instance / "log"))
        self.assertEqual(text(instance / "state"), "ready\n")


class Configurations(unittest.TestCase):
    """What --check says."""

    def check(self, *lines):
        mount = harness.Mount("[pool a]\ntype = exec\n" + "\n".join(lines) + "\n", start=False)
        self.addCleanup(mount.abandon)
        done = harness.subprocess.run([harness.POOLFS, "--check", mount.config], capture_output=True,
                                      text=True, timeout=harness.PATIENCE)
        return re.sub(r".*poolfs\.ini:\d+: ", "", done.stderr)

    def test_check(self):
        for lines, words in {
                (): "run: missing: write",
                ("run = sh -c", "address = true"): "run: there is an address already",
                ("run = /no/such",): "/no/such: No such file",
                ("run = no-such-program x",): "no-such-program is not found in PATH",
                ("run = /etc/passwd",): "/etc/passwd is no program that can be run",
                ("run = ''",): "empty: write a program",
                ("run = true", "destroy = true"): "without create nothing",
                ("address = true", "push = true"): "push: files are carried by SSH",
                ("address = true", "pull = true"): "pull: files are carried by SSH",
                ("push = true", "pull = true"): "run: missing: write",
                ("run = true", "push = no-such-program"): "not found in PATH",
                ("run = true", "carry_from = 2M"): "too large",
                ("run = true", "env.2 = x"): "env.2: a variable's name",
                ("run = true", "env.POOLFS_POOL = x"): "are set by poolfs",
                ("run = true", "ctl.stop = true"): "stop",
                ("run = true", "ctl.a b = true"): '"a b" cannot be a verb',
                ("run = true", "ctl.x = no-such-program"): "not found in PATH",
                ("run = true", "ctl.x = true", "ctl.x = false"): "set before",
                ("run = true", "ctl. = true"): "there is no such key",
                ("run = true", "destroy_timeout = 0"): "too small"}.items():
            with self.subTest(lines):
                self.assertIn(words, self.check(*lines))
        self.assertEqual(self.check("run = sh -c", "ctl.x = true", "env.X = y"), "")


if __name__ == "__main__":
    harness.main()
