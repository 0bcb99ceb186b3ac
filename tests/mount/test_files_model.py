# SPDX-License-Identifier: MIT
"""
files/: random operations on it and on a local directory must give the same results, and leave the
same trees. POOLFS_TEST_MODEL=COUNT[,SEED] makes it COUNT operations, from another beginning.
"""
import errno
import mmap
import os
import random
import shutil
import stat
import tempfile

import guestfiles
import harness
from harness import read

NAMES = ("a", "b", "c", "d/a", "d/b", "d/e/a", "d/e", "d", "f/x", "f", "n" * 255, "d/\xff\n")
MODES = (0o644, 0o600, 0o755, 0o700)
SLOTS = range(6)
# After so many operations everything is compared; after so many the guest changes something.
COMPARE, GUEST = 100, 250


def outcome(call, *arguments, **more):
    """What a call gave, or its errno."""
    try:
        return call(*arguments, **more)
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


def touch(path, when):
    os.utime(path, (when, when + 1), follow_symlinks=False)
    return int(os.lstat(path).st_atime), int(os.lstat(path).st_mtime)


def truncate(path, size):
    return None if os.path.islink(path) else os.truncate(path, size)


def link(one, other):
    os.link(one, other, follow_symlinks=False)


def copy(one, other):
    with open(one, "rb", opener=no_links) as source, open(other, "wb", opener=no_links) as target:
        return os.copy_file_range(source.fileno(), target.fileno(), 3000)


def no_links(path, flags):
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


class Side:
    """One of the two directories, with what is open in it."""

    def __init__(self, top):
        self.top = top
        self.fds = {}

    def path(self, name):
        return os.path.join(os.fsencode(self.top), os.fsencode(name))

    def open(self, slot, name, flags):
        self.close(slot)
        self.fds[slot] = os.open(self.path(name), flags | os.O_NOFOLLOW, 0o644)
        return self.stat(slot)

    def close(self, slot):
        if slot in self.fds:
            os.close(self.fds.pop(slot))

    def close_all(self):
        for slot in SLOTS:
            self.close(slot)

    def fd(self, slot):
        if slot not in self.fds:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self.fds[slot]

    def read(self, slot, size, offset):
        return os.pread(self.fd(slot), size, offset)

    def write(self, slot, data, offset):
        return os.pwrite(self.fd(slot), data, offset), os.fstat(self.fd(slot)).st_size

    def append(self, slot, data):
        os.lseek(self.fd(slot), 0, os.SEEK_END)
        return os.write(self.fd(slot), data), os.fstat(self.fd(slot)).st_size

    def truncate(self, slot, size):
        os.ftruncate(self.fd(slot), size)
        return os.fstat(self.fd(slot)).st_size

    def stat(self, slot):
        status = os.fstat(self.fd(slot))
        return status.st_mode, status.st_size if stat.S_ISREG(status.st_mode) else 0

    def sync(self, slot):
        os.fsync(self.fd(slot))

    def map(self, slot, data, offset):
        """Reads all through a mapping, and changes some bytes of it."""
        fd = self.fd(slot)
        status = os.fstat(fd)
        size = status.st_size
        # The size of a directory is the filesystem's own affair.
        if not size or not stat.S_ISREG(status.st_mode):
            return None
        try:
            with mmap.mmap(fd, size) as area:
                before = area[:]
                offset %= size
                area[offset:offset + len(data)] = data[:size - offset]
                area.flush()
                return before
        except PermissionError:
            return "not allowed"

    def same(self, one, other):
        """Whether two slots have one file open."""
        return os.path.sameopenfile(self.fd(one), self.fd(other))


class Operations:
    """The same operations on two directories, one of them a guest's."""

    # Of these a suite runs as many as there is time for.
    count = 2500
    believes = True

    def by_path(self, random):
        """An operation on one or two paths."""
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
            (truncate, (one,), (offset,)),
            (os.rename, (one, other), ()),
            (os.replace, (one, other), ()),
            (link, (one, other), ()),
            (os.unlink, (one,), ()),
            (os.mkdir, (one,), (random.choice(MODES),)),
            (os.mkdir, (one,), (random.choice(MODES),)),
            (os.rmdir, (one,), ()),
            (lambda path: os.symlink("a", path), (one,), ()),
            (chmod, (one,), (random.choice(MODES),)),
            (touch, (one,), (random.randrange(1 << 31),)),
            (copy, (one, other), ()),
            (attributes, (one,), ()),
            (names, (one,), ()),
        ))

    def by_slot(self, random):
        """An operation on an open file, or one that opens or closes."""
        slot, name = random.choice(SLOTS), random.choice(NAMES)
        data = random.randbytes(random.choice((1, 10, 5000, 40000)))
        offset = random.choice((0, 3, 4096, 9000, 70000))
        flags = random.choice((os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_CREAT,
                               os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND,
                               os.O_RDWR | os.O_CREAT | os.O_EXCL))
        return random.choice((
            (Side.open, (slot, name, flags)), (Side.open, (slot, name, flags)),
            (Side.close, (slot,)),
            (Side.read, (slot, 50000, offset)), (Side.read, (slot, 10, offset)),
            (Side.write, (slot, data, offset)), (Side.write, (slot, data, offset)),
            (Side.append, (slot, data)),
            (Side.truncate, (slot, offset)),
            (Side.stat, (slot,)), (Side.stat, (slot,)),
            (Side.sync, (slot,)),
            (Side.map, (slot, data, offset)),
            (Side.same, (slot, random.choice(SLOTS))),
        ))

    def step(self, random):
        """One operation on both sides."""
        if random.random() < 0.5:
            call, arguments = self.by_slot(random)
            expected, got = (outcome(call, side, *arguments) for side in (self.model, self.mine))
        else:
            call, paths, arguments = self.by_path(random)
            expected, got = (outcome(call, *(side.path(path) for path in paths), *arguments)
                             for side in (self.model, self.mine))
            arguments = paths + arguments
        if got != expected:
            self.fail(f"{call} {arguments!r:.200}: {got!r:.200}, not {expected!r:.200}")

    def guest(self, random):
        """Some changes by the guest, which are to be seen when its command has ended."""
        theirs = Side(self.there)
        for side in (self.model, self.mine):
            side.close_all()
        for _ in range(5):
            call, paths, arguments = self.by_path(random)
            # That another name leads to a file is only known where the name was made here.
            if call == link and self.believes:
                continue
            expected, got = (outcome(call, *(side.path(path) for path in paths), *arguments)
                             for side in (self.model, theirs))
            self.assertEqual(got, expected)
        self.assertEqual(self.run_in(self.instance, "true"), (b"", 0))

    def tree(self, top):
        """Everything below top."""
        found = {}
        for directory, directories, files in os.walk(os.fsencode(top)):
            for name in directories + files:
                path = os.path.join(directory, name)
                what = os.readlink(path) if os.path.islink(path) else None
                if os.path.isfile(path) and what is None:
                    what = read(path)
                found[os.path.relpath(path, os.fsencode(top))] = (attributes(path), what)
        return found

    def compare(self):
        self.assertEqual(self.tree(self.here), self.tree(self.model.top))
        for slot in SLOTS:
            self.assertEqual(*(outcome(side.stat, slot) for side in (self.mine, self.model)))

    def test_random_operations(self):
        count, _, seed = os.environ.get("POOLFS_TEST_MODEL", str(self.count)).partition(",")
        source = random.Random(int(seed or 5))
        local = tempfile.mkdtemp(prefix="poolfs-model.")
        self.addCleanup(shutil.rmtree, local)
        self.model, self.mine = Side(local), Side(self.here)
        self.addCleanup(self.model.close_all)
        self.addCleanup(self.mine.close_all)
        step = 0
        try:
            for step in range(1, int(count) + 1):
                self.step(source)
                if step % COMPARE == 0:
                    self.compare()
                if step % GUEST == 0:
                    self.guest(source)
                    self.compare()
        except AssertionError as error:
            raise AssertionError(f"step {step}, seed {seed or 5}: {error}") from None
        self.compare()
        self.assertEqual(self.tree(self.there), self.tree(local))


class Model(Operations, guestfiles.FilesTest):
    """With what is believed for a while."""


class ModelWithoutCache(Operations, guestfiles.FilesTest):
    """With nothing that is believed."""

    keys = {"cache": 0}
    believes = False


if __name__ == "__main__":
    harness.main()
