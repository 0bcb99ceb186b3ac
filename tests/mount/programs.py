# SPDX-License-Identifier: MIT
"""
What the tests of kind exec share: pools whose programs are scripts that the test writes. Every script
notes in a journal that it was started, and with what name.
"""
import contextlib
import pathlib
import shutil
import tempfile

import harness
from harness import text, wait_for

HEAD = """#!/bin/sh
echo "$POOLFS_INSTANCE ${POOLFS_PROGRAM}" >>'%s'
set -u
"""


class ExecTest(harness.MountTest):
    """A mount with the pools of `pools`: name -> keys, where a value with a newline is a script."""

    pools = {}

    @classmethod
    def configure(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-exec."))
        cls.addClassCleanup(shutil.rmtree, cls.base, ignore_errors=True)
        return "".join(cls.pool(name, **keys) for name, keys in cls.pools.items())

    @classmethod
    def pool(cls, name, **keys):
        lines = [f"[pool {name}]", "type = exec"]
        if "run" not in keys and "address" not in keys:
            keys["run"] = "exec sh -c \"$1\"\n"
        for key, value in keys.items():
            key = key.replace("__", ".")
            if "\n" in str(value):
                value = cls.script(f"{name}.{key}", value)
            lines.append(f"{key} = {value}")
        return "\n".join(lines) + "\n"

    @classmethod
    def script(cls, name, body):
        path = cls.base / name
        path.write_text(HEAD % cls.journal_of(name.partition(".")[0]) + body)
        path.chmod(0o755)
        return path

    @classmethod
    def journal_of(cls, pool):
        return cls.base / f"{pool}.journal"

    def started(self, pool, instance="a"):
        """The names of the programs that were started for an instance, in order."""
        with contextlib.suppress(FileNotFoundError):
            lines = text(self.journal_of(pool)).splitlines()
            return [line.split()[1] for line in lines if line.split()[0] == instance]
        return []

    def failed(self, instance, seconds=harness.PATIENCE):
        """Waits for the end of a boot that fails; the reason."""
        wait_for(lambda: text(instance / "state") == "failed\n", "end of the boot", seconds)
        return text(instance / "error")

    def gone(self, pool):
        """Waits until nothing of a pool's instances is there any more."""
        wait_for(lambda: not self.mount.directory_of(pool, "a"), "end of the instance")

    def remove(self, path):
        """rmdir, and waits until all is done."""
        pool = path.parent.name
        path.rmdir()
        self.gone(pool)
        self.assertFalse([pid for pid in harness.processes_with(self.base)
                          if harness.alive(pid) and f"{pool}." in cmdline(pid)])


def cmdline(pid):
    """The words of a process; "" when it is gone."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def events(mount, word):
    """The events that have a word."""
    return [line for line in text(mount.path / "events").splitlines() if word in line]


def environment(lines):
    """Lines NAME=VALUE as a dictionary."""
    return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)


def read_later(path):
    """The text of a file that some program writes; None when it is not there."""
    with contextlib.suppress(OSError):
        return text(path) or None
    return None
