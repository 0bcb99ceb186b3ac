# SPDX-License-Identifier: MIT
"""The tree and its control files, as tools that know nothing of poolfs see them."""
import os

import harness
from harness import read, sh, text


class Tree(harness.SshTest):
    """The files of the mount, a pool and an instance."""

    def test_sizes_are_true(self):
        instance = self.new("host")
        for directory in (self.mount.path, self.mount.path / "host", instance):
            for entry in os.scandir(directory):
                if entry.is_file(follow_symlinks=False) and entry.name not in ("status", "events"):
                    self.assertEqual(entry.stat().st_size, len(read(entry.path)), entry.path)

    def test_version_and_readme(self):
        self.assertRegex(text(self.mount.path / "version"), r"^poolfs \d+\.\d+\.\d+\n$")
        self.assertIn("mkdir", text(self.mount.path / "README"))


if __name__ == "__main__":
    harness.main()
