# SPDX-License-Identifier: MIT
"""From mkdir to ready, what an instance lists, and the verbs of its ctl."""
import os
import re
import select

import lab
from lab import error_of, read, text, wait_for, write

# What stands in every instance.
ALWAYS = {"state", "ready", "error", "status", "log"}
# What stands there where its kind has it: all of a line, or nothing of it.
GROUPS = ({"cmd", "runs", "timeout", "environment", "cwd", "tty"}, {"files"}, {"ctl"},
          {"forward", "expose"}, {"console", "crash", "crashes"})
# Verbs that poolfs itself knows, with something that may follow.
ARGUMENTS = {"stop": "", "sysrq": "h", "nmi": ""}


def value(instance, key):
    """One value of an instance's status; None: it is not there."""
    found = re.search(rf"^{re.escape(key)} (.*)$", text(instance / "status"), re.M)
    return found and found.group(1)


class Making(lab.Case):
    """What mkdir answers, and how a boot goes."""

    def test_mkdir_does_not_wait_for_the_boot(self):
        self.assertLess(self.lab.mkdir_seconds, lab.QUICK)

    def test_names(self):
        self.assertEqual(error_of(os.mkdir, self.daemon.pool / "a"), "EEXIST")
        for name in (".hidden", "pool.x", "with blank", "x" * 64):
            self.assertIn(error_of(os.mkdir, self.daemon.pool / name), ("EINVAL", "EPERM", "EEXIST"))

    def test_commands_wait_for_the_boot(self):
        self.need("runs")
        path = self.daemon.pool / "a"
        for number in range(3):
            run = path / "runs" / str(number + 1)
            self.assertEqual(text(run / "exit"), f"{number}\n", text(path / "error"))
            self.assertEqual(text(run / "output"), f"early {number}\n")

    def test_ready(self):
        instance = self.instance
        self.assertRegex(text(instance / "ready"), r"^\d+(\.\d+)?\n$")
        self.assertEqual(text(instance / "state"), "ready\n")
        self.assertEqual(text(instance / "error"), "")
        self.assertEqual(value(instance, "state"), "ready")
        self.assertEqual(value(instance, "backend"), text(self.daemon.pool / "pool.type").strip())
        self.assertIsNotNone(value(instance, "boot_seconds"))

    def test_state_can_be_polled(self):
        path = self.daemon.pool / "c"
        if not path.is_dir():
            self.lab.make("c")
        states = ["booting"]
        with open(path / "state", "rb", buffering=0) as file:
            poll = select.poll()
            poll.register(file, select.POLLPRI)
            while states[-1] == "booting":
                file.seek(0)
                states.append(file.read().decode().strip())
                if states[-1] == "booting":
                    self.assertTrue(poll.poll(lab.PATIENCE * 1000), "the state did not change")
        self.assertEqual(states[-1], "ready", text(path / "error"))

    def test_order_of_the_states(self):
        self.lab.instance("c").rmdir()

        def changes():
            """What events tells of the instance's states."""
            lines = [line.split() for line in text(self.daemon.mount / "events").splitlines()]
            return [tuple(words[2:4]) for words in lines
                    if len(words) >= 4 and words[1] == f"{self.daemon.pool_name}/c"]
        wait_for(lambda: ("ready", "closing") in changes(), "event of the end")
        self.assertEqual(changes()[:3], [("-", "booting"), ("booting", "ready"), ("ready", "closing")])


class Abilities(lab.Case):
    """What is listed works, and what is not listed is refused."""

    def test_names_that_are_listed(self):
        names = set(os.listdir(self.instance))
        self.assertEqual(ALWAYS - names, set())
        for group in GROUPS:
            self.assertIn(group & names, (group, set()))

    def test_names_that_are_not_listed(self):
        instance = self.instance
        names = set(os.listdir(instance))
        missing = set.union(*GROUPS) - names
        if "console" not in names:
            missing.add("console.follow")
        for name in missing:
            path = instance / name
            self.assertEqual(error_of(os.stat, path), "ENOENT", name)
            self.assertEqual(error_of(os.open, path, os.O_WRONLY), "ENOENT", name)
            self.assertIn(error_of(os.open, path, os.O_WRONLY | os.O_CREAT), ("EPERM", "EACCES"), name)
            self.assertIn(error_of(os.mkdir, path), ("EPERM", "EACCES"), name)

    def test_every_listed_file_can_be_read(self):
        instance = self.instance
        for name in sorted(os.listdir(instance)):
            path = instance / name
            with self.subTest(name):
                if path.is_dir():
                    os.listdir(path)
                else:
                    read(path)

    def verbs(self, instance):
        """Each verb that is listed: what follows it, "" for nothing."""
        found, self.optional = {}, set()
        for line in text(instance / "ctl").splitlines():
            name, _, argument = line.partition(" ")
            found[name] = ARGUMENTS.get(name, "x") if argument else ""
            if argument.startswith("["):
                self.optional.add(name)
        return found

    def tell(self, instance, verb, argument):
        """Writes a verb; the name of the error."""
        return error_of(write, instance / "ctl", f"{verb} {argument}".strip())

    def test_verbs_that_are_not_listed(self):
        self.need("ctl")
        instance = self.lab.instance("c")
        listed = self.verbs(instance)
        for verb in {"no-such-verb", *ARGUMENTS} - set(listed):
            self.assertEqual(self.tell(instance, verb, ARGUMENTS.get(verb, "")), "EINVAL", verb)
        for verb, argument in listed.items():
            if verb not in self.optional:
                self.assertEqual(self.tell(instance, verb, "" if argument else "x"), "EINVAL", verb)
        self.assertEqual(text(instance / "state"), "ready\n")

    def test_verbs_that_are_listed(self):
        self.need("ctl")
        instance = self.lab.instance("c")
        listed = self.verbs(instance)
        own = sorted(set(listed) - set(ARGUMENTS))
        for verb in own:
            error = self.tell(instance, verb, listed[verb])
            if error:
                # One of the others has ended the machine.
                self.assertEqual((error, text(instance / "state")), ("EHOSTDOWN", "stopped\n"), verb)
                continue
            wait_for(lambda verb=verb: re.search(rf"(?m)^verb {verb} (done|failed: .*)$",
                                                 text(instance / "status")), f"end of {verb}")
        # The machine may not survive these.
        for verb in sorted(set(listed) & set(ARGUMENTS)):
            self.assertIn(self.tell(instance, verb, listed[verb]), (None, "EHOSTDOWN"), verb)
        for verb in own:
            self.tell(instance, verb, listed[verb])
        self.quickly(instance.rmdir)


CASES = (Making, Abilities)
