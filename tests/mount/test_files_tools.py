# SPDX-License-Identifier: MIT
"""files/: the tools that people use on files, both ways."""
import filecmp
import hashlib
import os
import random
import shutil
import tempfile

import guestfiles
import harness
from harness import read, sh, text, write


def make_tree(top):
    """A tree such as sources are: some depth, links, modes, old times, empty and larger files."""
    content = random.Random(3)
    for directory in ("src/lib", "src/empty", "doc"):
        os.makedirs(top / directory)
    for i in range(40):
        path = top / ("src", "src/lib", "doc")[i % 3] / f"file {i}.c"
        path.write_bytes(content.randbytes(content.choice((0, 1, 200, 5000, 140000))))
        os.chmod(path, (0o644, 0o600, 0o755)[i % 3])
        os.utime(path, (1000000000 + i, 1100000000 + i))
    write(top / "src/text", "int main(void)\n{\n\treturn 0;\n}\n")
    for target, name in (("text", "src/link"), ("../doc", "src/up"), ("./lib/", "src/odd"),
                         ("not there", "dangling")):
        os.symlink(target, top / name)
    os.utime(top / "doc", (1000000000, 1000000000))


def listing(top):
    """All that a tree is: for each path its type and mode, time, and content or target."""
    found = {}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            link = os.path.islink(path)
            what = os.readlink(path) if link else read(path) if os.path.isfile(path) else ""
            found[os.path.relpath(path, top)] = (
                status.st_mode, 0 if link else int(status.st_mtime), what)
    return found


class Tools(guestfiles.FilesTest):
    """Whole trees, with tools that know nothing of poolfs."""

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="poolfs-tools.")
        self.addCleanup(directory.cleanup)
        self.local = type(self.here)(directory.name)

    def need(self, tool):
        if not shutil.which(tool):
            self.skipTest(f"no {tool}")

    def tree(self):
        tree = self.local / "tree"
        make_tree(tree)
        return tree

    def test_cp(self):
        tree = self.tree()
        sh(f"cp -r '{tree}' '{self.here}/r'; cp -a '{tree}' '{self.here}/a'; "
           f"cp -a '{self.here}/a' '{self.here}/again'; cp -a '{self.here}/again' '{self.local}/back'")
        for copy in (self.there / "a", self.there / "again", self.here / "a", self.local / "back"):
            self.assertEqual(listing(copy), listing(tree), copy)
        sh(f"diff -r --no-dereference '{tree}' '{self.here}/r'")

    def test_mv(self):
        tree = self.tree()
        before = listing(tree)
        sh(f"mv '{tree}' '{self.here}/in'; cd '{self.here}'; mv in moved; mkdir d; mv moved d/; "
           "echo one >one; echo two >two; mv one two; "
           "echo three >three; mv -n three two; echo four >four; mv four d/")
        self.assertEqual(listing(self.there / "d/moved"), before)
        self.assertEqual(read(self.there / "two"), b"one\n")
        self.assertEqual(sorted(os.listdir(self.there)), ["d", "three", "two"])
        sh(f"mv '{self.here}/d/moved' '{tree}'; mv '{self.here}/d/four' '{self.local}'")
        self.assertEqual(listing(tree), before)
        self.assertEqual(os.listdir(self.there / "d"), [])

    def test_rsync(self):
        self.need("rsync")
        tree = self.tree()
        one = f"rsync -ai '{tree}/' '{self.here}/'"
        self.assertIn("file 7.c", sh(one))
        self.assertEqual(listing(self.there), listing(tree))
        self.assertEqual(sh(one), "")
        write(tree / "src/text", "changed")
        self.assertEqual([line.split()[1] for line in sh(one).splitlines()], ["src/text"])
        back = f"rsync -aci --delete '{self.here}/' '{self.local}/back/'"
        sh(back)
        self.assertEqual(listing(self.local / "back"), listing(tree))
        self.run_in(self.instance, f"rm '{self.there.name}/src/file 3.c'")
        self.assertIn("deleting", sh(back))

    def test_tar(self):
        tree = self.tree()
        os.link(tree / "src/text", tree / "src/twin")
        before = listing(tree)
        sh(f"tar -C '{tree}' -cf '{self.local}/x.tar' .; "
           f"tar -C '{self.here}' -xpf '{self.local}/x.tar'; "
           f"tar -C '{self.here}' -cf '{self.local}/y.tar' .; mkdir '{self.local}/back'; "
           f"tar -C '{self.local}/back' -xpf '{self.local}/y.tar'")
        self.assertEqual(os.stat(self.there / "src/twin").st_nlink, 2)
        for copy in (self.there, self.here, self.local / "back"):
            self.assertEqual(listing(copy), before)

    def test_git(self):
        self.need("git")
        tree = self.tree()
        git = ("export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 "
               "GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'; "
               "git() { command git -c user.name=n -c user.email=e@example.org -c gc.auto=0 \"$@\"; }; "
               "set -e; ")
        sh(f"cp -a '{tree}' '{self.here}/repo'")
        sh(git + "git init -q; git add -A; git commit -qm one; git fsck --strict",
           cwd=self.here / "repo")
        self.assertEqual(sh(git + "git status --porcelain", cwd=self.here / "repo"), "")
        sh(git + "echo more >>src/text", cwd=self.here / "repo")
        self.assertEqual(sh(git + "git status --porcelain", cwd=self.here / "repo"), " M src/text\n")
        sh(git + "git commit -qam two; git checkout -q -b other HEAD~; git merge -q -m m master || "
           "git merge -q -m m main", cwd=self.here / "repo")
        sh(git + f"git clone -q repo clone; git clone -q clone '{self.local}/clone'", cwd=self.here)
        self.assertEqual(sh(git + "git status --porcelain", cwd=self.here / "clone"), "")
        self.assertEqual(text(self.local / "clone/src/text"), text(self.there / "repo/src/text"))

    def test_editing(self):
        write(self.here / "x", "one\ntwo\n")
        sh("sed -i s/one/1/ x; sed -i.orig s/two/2/ x; printf '3\\n' >>x; install -m 751 x y; "
           "install -d -m 711 d; install -t d x; ln -s x l; ln -sf y l; touch new; "
           "truncate -s 3 x.orig; split -b 2 y part.; cat part.* >joined; "
           "dd if=y of=z bs=1 seek=4 conv=notrunc status=none",
           cwd=self.here)
        self.assertEqual(self.both("x"), b"1\n2\n3\n")
        self.assertEqual(self.both("d/x"), b"1\n2\n3\n")
        self.assertEqual(self.both("joined"), b"1\n2\n3\n")
        self.assertEqual(self.both("z"), b"\0\0\0\0" + b"1\n2\n3\n")
        self.assertEqual(self.both("x.orig"), b"1\nt")
        self.assertEqual(os.readlink(self.there / "l"), "y")
        self.assertEqual(os.stat(self.there / "y").st_mode & 0o7777, 0o751)
        self.assertEqual(os.stat(self.there / "d").st_mode & 0o7777, 0o711)

    def test_python(self):
        tree = self.tree()
        shutil.copytree(tree, self.here / "in", symlinks=True)
        shutil.copytree(self.here / "in", self.local / "out", symlinks=True)
        for copy in (self.here / "in", self.local / "out"):
            names = [name for name in os.listdir(tree / "src") if os.path.isfile(tree / "src" / name)]
            self.assertEqual(sorted(filecmp.cmpfiles(tree / "src", copy / "src", names, False)[0]),
                             sorted(names))
            self.assertEqual(listing(copy), listing(tree))
        shutil.move(self.here / "in/src/text", self.here / "moved")
        shutil.rmtree(self.here / "in")
        self.assertEqual(os.listdir(self.there), ["moved"])

    def test_find_and_grep(self):
        shutil.copytree(self.tree(), self.there / "tree", symlinks=True)
        for command in ("find . -type f -size +0 | sort", "find . -type l | sort",
                        "grep -rl main . | sort", "find . -name '*7.c' -newermt 2001-01-01 | sort",
                        "ls -lR --time-style=+%s | sed 1d | cut -d' ' -f1",
                        "md5sum src/* 2>/dev/null || true", "find . -perm 600 | sort"):
            outputs = [sh(command, cwd=side / "tree") for side in (self.here, self.there)]
            self.assertTrue(outputs[0], command)
            self.assertEqual(*outputs, command)
        sh("find . -name '*.c' -delete; rm -rf tree", cwd=self.here)
        self.assertEqual(os.listdir(self.there), [])

    def test_large_file(self):
        local, size = self.local / "large", 100 << 20
        with open(local, "wb") as file:
            block = random.Random(4).randbytes(1 << 20)
            for i in range(size >> 20):
                file.write(i.to_bytes(4, "little") + block[4:])
        sh(f"cp '{local}' '{self.here}/in'; cp '{self.here}/in' '{self.local}/out'")
        digests = set()
        for path in (local, self.there / "in", self.local / "out"):
            with open(path, "rb") as file:
                digests.add(hashlib.file_digest(file, "blake2b").digest())
        self.assertEqual(len(digests), 1)

    def test_programs_run(self):
        write(self.here / "script", "#!/bin/sh\necho it runs\n")
        os.chmod(self.here / "script", 0o755)
        self.assertEqual(sh("./script", cwd=self.here), "it runs\n")

    def test_sqlite(self):
        import sqlite3
        database = sqlite3.connect(self.here / "db")
        with database:
            database.execute("create table t (n integer)")
            database.executemany("insert into t values (?)", [(i,) for i in range(1000)])
        self.assertEqual(database.execute("select sum(n) from t").fetchone(), (499500,))
        database.close()
        database = sqlite3.connect(self.there / "db")
        self.assertEqual(database.execute("select sum(n) from t").fetchone(), (499500,))
        database.close()


if __name__ == "__main__":
    harness.main()
