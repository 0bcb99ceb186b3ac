# SPDX-License-Identifier: MIT
"""files/: random operations on it and on a local directory must give the same results."""
import os
import random
import stat
import tempfile

import guestfiles
import harness

NAMES = ("a", "b", "c", "d/a", "d/b", "d/e/a", "d/e", "d", "f/x", "f")
MODES = (0o644, 0o600, 0o755, 0o700)


def outcome(call, *arguments):
    """What a call gave, or its errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return os.strerror(error.errno)


def attributes(path):
    status = os.lstat(path)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return status.st_mode, size


def put(path, flags, data, offset):
    fd = os.open(path, flags | os.O_NOFOLLOW, 0o644)
    try:
        return os.pwrite(fd, data, offset), os.fstat(fd).st_size
    finally:
        os.close(fd)


def get(path, size, offset):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def names(path):
    return sorted(os.listdir(path))


def chmod(path, mode):
    # chmod(2) follows links: where these point differs.
    return None if os.path.islink(path) else os.chmod(path, mode)


class Operations:
    """The same operations on two directories, one of them a guest's."""

    def choose(self, random):
        """One operation: the function, the paths' names, other arguments."""
        one, other = random.choice(NAMES), random.choice(NAMES)
        data = random.randbytes(random.choice((1, 10, 5000)))
        offset = random.choice((0, 3, 4096, 9000))
        return random.choice((
            (put, (one,), (os.O_WRONLY | os.O_CREAT, data, offset)),
            (put, (one,), (os.O_RDWR | os.O_CREAT | os.O_EXCL, data, 0)),
            (put, (one,), (os.O_RDWR, data, offset)),
            (put, (one,), (os.O_WRONLY | os.O_APPEND | os.O_CREAT, data, 0)),
            (put, (one,), (os.O_WRONLY | os.O_TRUNC, data, 0)),
            (get, (one,), (10000, offset)),
            (os.truncate, (one,), (offset,)) if not self.is_link(one) else (attributes, (one,), ()),
            (os.rename, (one, other), ()),
            (os.replace, (one, other), ()),
            (lambda a, b: os.link(a, b, follow_symlinks=False), (one, other), ()),
            (os.unlink, (one,), ()),
            (os.mkdir, (one,), (random.choice(MODES),)),
            (os.mkdir, (one,), (random.choice(MODES),)),
            (os.rmdir, (one,), ()),
            (lambda path: os.symlink("a", path), (one,), ()),
            (chmod, (one,), (random.choice(MODES),)),
            (attributes, (one,), ()),
            (names, (one,), ()),
        ))

    def is_link(self, name):
        return os.path.islink(os.path.join(self.model, name))

    def tree(self, top):
        """Everything below top."""
        found = {}
        for directory, directories, files in os.walk(top):
            for name in directories + files:
                path = os.path.join(directory, name)
                what = os.readlink(path) if os.path.islink(path) else None
                if os.path.isfile(path) and what is None:
                    with open(path, "rb") as file:
                        what = file.read()
                found[os.path.relpath(path, top)] = (attributes(path), what)
        return found

    def test_random_operations(self):
        source, count = random.Random(5), 3000
        with tempfile.TemporaryDirectory(prefix="poolfs-model.") as self.model:
            for step in range(count):
                call, paths, more = self.choose(source)
                expected, got = (outcome(call, *(os.path.join(top, path) for path in paths), *more)
                                 for top in (self.model, self.here))
                self.assertEqual(got, expected, f"step {step}: {call} {paths} {more!r:.100}")
                if step % 50 == 0:
                    self.assertEqual(self.tree(self.here), self.tree(self.model), f"step {step}")
            self.assertEqual(self.tree(self.here), self.tree(self.model))
            self.assertEqual(self.tree(self.there), self.tree(self.model))


class Model(Operations, guestfiles.FilesTest):
    """With what is believed for a while."""


class ModelWithoutCache(Operations, guestfiles.FilesTest):
    """With nothing that is believed."""

    keys = {"cache": 0}


if __name__ == "__main__":
    harness.main()
