# SPDX-License-Identifier: MIT
"""
What the tests of modules share: poolfs as it is installed, in a scratch root, and modules that are built
against it as a stranger would, with pkg-config.
"""
import atexit
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import BUILD, PATIENCE, TOP

MANUAL = TOP / "docs/poolfs-backend.3"


def run(*words, **more):
    """Runs a program; returns its output, all of it."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=PATIENCE, check=False, **more)
    return done.returncode, done.stdout


class Root:
    """An installed tree, away from where it thinks it is."""

    def __init__(self):
        for program in ("meson", "pkg-config", "make", "cc"):
            if not shutil.which(program):
                raise unittest.SkipTest(f"{program} is not installed")
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="poolfs-root."))
        atexit.register(shutil.rmtree, self.path, ignore_errors=True)
        status, out = run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.path)
        if status != 0:
            raise AssertionError(out)
        self.poolfs = self.one("**/bin/poolfs")
        self.header = self.one("**/include/poolfs/backend.h")
        self.example = self.one("**/examples/module")
        self.environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(self.path),
                            "PKG_CONFIG_PATH": str(self.one("**/poolfs.pc").parent)}
        self.flags = shlex.split(self.pkg_config("--cflags", "--libs"))
        self.scratch = self.path / "scratch"
        self.scratch.mkdir()

    def one(self, pattern):
        found = list(self.path.glob(pattern))
        assert len(found) == 1, (pattern, found)
        return found[0]

    def pkg_config(self, *options):
        status, out = run("pkg-config", *options, "poolfs", env=self.environment)
        assert status == 0, out
        return out.strip()

    def directory(self):
        """Where modules are that are named without a slash."""
        path = pathlib.Path(self.pkg_config("--variable=moduledir"))
        path = path if path.is_relative_to(self.path) else self.path / path.relative_to("/")
        path.mkdir(exist_ok=True, parents=True)
        return path

    def make_example(self):
        """Builds the example that is installed, with its own Makefile; the path of the module."""
        copy = self.scratch / "example"
        if not copy.exists():
            shutil.copytree(self.example, copy)
            status, out = run("make", "-C", copy, env=self.environment)
            assert status == 0 and "warning" not in out, out
        return copy / "null.so"

    def build(self, name, source, *flags):
        """Builds a module from a text; its path."""
        path = self.scratch / f"{name}.so"
        file = path.with_suffix(".c")
        file.write_text(source)
        status, out = run("cc", "-shared", "-fPIC", "-fvisibility=hidden", *flags, "-o", path, file,
                          *self.flags)
        assert status == 0, out
        return path

    def ask(self, *options):
        """Runs poolfs with options; its status and output."""
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        environment.setdefault("LSAN_OPTIONS",
                               f"suppressions={TOP}/tests/lsan.supp:print_suppressions=0")
        return run(self.poolfs, *options, env=environment)


def stone():
    """The example of the manual: the smallest module."""
    text = re.search(r"^\.Bd -literal\n(#include.*?)^\.Ed", MANUAL.read_text(), re.M | re.S).group(1)
    return text.replace("\\e", "\\").replace("\\&", "")


def use(root):
    """Mounts of the harness are those of the installed poolfs."""
    harness.POOLFS = root.poolfs
