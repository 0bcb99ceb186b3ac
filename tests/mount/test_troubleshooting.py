# SPDX-License-Identifier: MIT
"""docs/TROUBLESHOOTING.md, step by step: each command that it shows gives what it shows."""
import os
import re
import subprocess
import tempfile

import harness
from harness import sh

PAGE = harness.TOP / "docs/TROUBLESHOOTING.md"


def sections():
    """(title, [(command, lines that are shown)]) of each section that shows a command."""
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.M)[1:]:
        steps = []
        for line in part.splitlines()[1:]:
            if line.startswith("    $ "):
                steps.append((line[6:], []))
            elif line.startswith("    ") and steps:
                steps[-1][1].append(line[4:])
        if steps:
            yield part.splitlines()[0], steps


def pattern(lines):
    """A regular expression for what is shown: `...` is anything, also of several lines."""
    wanted = "\n".join(lines) + "\n" if lines else ""
    return ".*".join(re.escape(piece) for piece in wanted.split("..."))


class Page(harness.GuestTest):
    """One mount with all the troubles of the page; the sections build on each other."""

    @classmethod
    def configure(cls):
        harness.need_guest()
        pool = lambda name, **keys: harness.qemu_pool(name, memory="128M", **keys)
        directory = tempfile.TemporaryDirectory(prefix="poolfs-test.")
        cls.addClassCleanup(directory.cleanup)
        sh(f"ssh-keygen -q -t ed25519 -N '' -f {directory.name}/other")
        # Where there is nothing to boot from, the kernel says that it has no root.
        rootless = pool("rootless").replace(f"initrd = {harness.GUEST}/initrd.img\n", "")
        return (pool("linux") + rootless + pool("full", count=1) + pool("hasty", boot_timeout=1) +
                pool("device", arguments="-device no-such-device") +
                pool("stranger", ssh_key=f"{directory.name}/other"))

    def test_every_step(self):
        top = self.mount.path
        (self.mount.base / "bad.ini").write_text("[pool a]\ntype = qemu\nkernel = /dev/null\nmemroy = 1\n")
        os.symlink(harness.POOLFS, self.mount.base / "poolfs")
        environment = dict(os.environ, PATH=f"{self.mount.base}:{os.environ['PATH']}", LC_ALL="C")
        count = 0
        for title, steps in sections():
            # One shell for a section, so that $? is that of the step before.
            marked = "".join(f"{command}\nstatus=$?; printf '\\n=end=\\n'; (exit $status)\n"
                             for command, _ in steps)
            done = subprocess.run(["sh", "-c", f"exec 2>&1\n{marked}".replace("bad.ini", "../bad.ini")],
                                  cwd=top, env=environment, stdout=subprocess.PIPE, text=True,
                                  errors="replace", timeout=150)
            parts = done.stdout.split("\n=end=\n")
            for (command, lines), shown in zip(steps, parts):
                with self.subTest(section=title, command=command):
                    self.assertRegex(shown + "\n" if shown and not shown.endswith("\n") else shown,
                                     re.compile(rf"\A{pattern(lines)}\Z", re.S))
                count += 1
        self.assertGreater(count, 30)


if __name__ == "__main__":
    harness.main()
