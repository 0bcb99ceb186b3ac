# SPDX-License-Identifier: MIT
"""
files/: programs that do much with files: source trees with tar, git and make, databases, editors,
fio's checks, many writers at once; on an SSH server, and in a virtual machine.
"""
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import tempfile

import guestfiles
import harness
from harness import TOP, read, sh, text, write

GIT = ("export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 "
       "GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'; "
       "git() { command git -c user.name=n -c user.email=e@example.org \"$@\"; }; set -e; ")

# Adds numbers to a database, as one of several.
ADDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60)
for i in range(20):
    with database:
        database.execute("insert into t values (?, ?)", (int(sys.argv[2]), i))
database.close()
"""

MAKEFILE = """
objects = main.o one.o two.o
program: $(objects)
\t$(CC) -o $@ $(objects)
$(objects): common.h
one.o: one.h
"""


class Programs:
    """What they do is checked from here; a subclass says where here is."""

    # Of these sources, and how many they are at least.
    parts = "meson.build README.md backends config docs fs tests"
    least = 200
    turns = 10

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="poolfs-programs.")
        self.addCleanup(directory.cleanup)
        self.local = pathlib.Path(directory.name)

    def need(self, *tools):
        for tool in tools:
            if not shutil.which(tool):
                self.skipTest(f"no {tool}")

    def sources(self):
        """A copy of these sources, without what is not theirs."""
        tree = self.local / "tree"
        tree.mkdir()
        sh(f"tar -C '{TOP}' -c {self.parts} --exclude=__pycache__ | tar -C '{tree}' -x")
        return tree

    @staticmethod
    def listing(top):
        return sh("find . -printf '%P %y %m %T@ %s %l\\n' | sed 's/\\.[0-9]* / /; s/^\\([^ ]* d [0-9]* [0-9]*\\) "
                  ".*/\\1/' | grep -v '^ d' | LC_ALL=C sort", cwd=top)

    def test_sources_with_tar(self):
        tree = self.sources()
        sh(f"tar -C '{tree}' -cf '{self.local}/a.tar' .; tar -C '{self.here}' -xpf '{self.local}/a.tar'; "
           f"tar -C '{self.here}' -cf '{self.local}/b.tar' .; mkdir '{self.local}/back'; "
           f"tar -C '{self.local}/back' -xpf '{self.local}/b.tar'")
        self.assertGreater(len(self.listing(tree).splitlines()), self.least)
        self.assertEqual(self.listing(self.here), self.listing(tree))
        self.assertEqual(self.listing(self.local / "back"), self.listing(tree))
        sh(f"diff -r '{tree}' '{self.local}/back'; rm -rf '{self.here}'/* '{self.here}'/.[a-z]*")
        self.assertEqual(os.listdir(self.here), [])

    def test_sources_with_cp_and_rsync(self):
        self.need("rsync")
        tree = self.sources()
        sh(f"cp -a '{tree}' '{self.here}/a'; rsync -a '{tree}/' '{self.here}/b/'")
        self.assertEqual(sh(f"rsync -ai '{tree}/' '{self.here}/b/'; rsync -ai '{self.here}/a/' '{tree}/'"), "")
        sh(f"cp -a '{self.here}/a' '{self.here}/c'; diff -r '{tree}' '{self.here}/b'; "
           f"diff -r '{tree}' '{self.here}/c'")
        self.assertEqual(self.listing(self.here / "c"), self.listing(tree))
        self.assertEqual(sh("grep -rl struct . | LC_ALL=C sort", cwd=self.here / "a"),
                         sh("grep -rl struct . | LC_ALL=C sort", cwd=tree))

    def test_git(self):
        self.need("git")
        origin = self.local / "origin"
        sh(GIT + f"mv '{self.sources()}' '{origin}'; cd '{origin}'; git init -q -b main; git add -A; "
           "git commit -qm one; for i in 1 2 3; do echo $i >>README.md; git commit -qam $i; done")
        out = sh(GIT + f"git clone -q '{origin}' clone; cd clone; git status --porcelain; "
                 "git log --oneline | wc -l", cwd=self.here)
        self.assertEqual(out.split(), ["4"])
        clone = self.here / "clone"
        self.assertEqual(sh(GIT + "echo x >>meson.build; rm README.md; echo new >new; git status --porcelain | sort",
                            cwd=clone), " D README.md\n M meson.build\n?? new\n")
        self.assertEqual(sh(GIT + "git add -A; git commit -qm work; git gc -q --prune=now; git fsck --strict; "
                            "git status --porcelain; git diff HEAD~ --stat | tail -n 1", cwd=clone).strip(),
                         "3 files changed, 2 insertions(+), " +
                         f"{len(text(origin / 'README.md').splitlines())} deletions(-)")
        sh(GIT + f"git checkout -q HEAD~2; git checkout -q main; git push -q origin HEAD:refs/heads/back", cwd=clone)
        sh(GIT + "git fsck --strict; git checkout -q back; test -e new", cwd=origin)
        sh(GIT + f"diff -r -x .git '{origin}' .", cwd=clone)

    def test_make(self):
        self.need("make", "gcc")
        write(self.here / "Makefile", MAKEFILE)
        write(self.here / "common.h", "int one(void), two(void);\n")
        write(self.here / "one.h", "#define ONE 1\n")
        write(self.here / "one.c", '#include "common.h"\n#include "one.h"\nint one(void) { return ONE; }\n')
        write(self.here / "two.c", '#include "common.h"\nint two(void) { return 2; }\n')
        write(self.here / "main.c", '#include <stdio.h>\n#include "common.h"\n'
              'int main(void) { printf("%d\\n", one() + two()); return 0; }\n')
        self.assertEqual(sh("make -s -j2; ./program", cwd=self.here), "3\n")
        self.assertIn("up to date", sh("make", cwd=self.here))
        # Times have whole seconds: what is newer must be so by one.
        sh("touch -d '-20 seconds' *.c *.h Makefile; touch -d '-10 seconds' *.o; touch -d '-5 seconds' program",
           cwd=self.here)
        self.assertIn("up to date", sh("make", cwd=self.here))
        write(self.here / "one.h", "#define ONE 40\n")
        self.assertEqual(sh("make -n | grep -c -e ' -c '", cwd=self.here), "1\n")
        self.assertEqual(sh("make -s 2>/dev/null; ./program", cwd=self.here), "42\n")
        self.assertEqual(sh("gcc -g -pipe -c main.c && ar rcs all.a *.o && nm all.a | grep -c ' T '",
                            cwd=self.here), "3\n")

    def test_sqlite(self):
        for mode in ("wal", "delete"):
            path = self.here / f"{mode}.db"
            database = sqlite3.connect(path)
            self.assertEqual(database.execute(f"pragma journal_mode={mode}").fetchone(), (mode,))
            with database:
                database.execute("create table t (writer integer, n integer)")
            adders = [subprocess.Popen(["python3", "-c", ADDER, path, str(i)]) for i in range(3)]
            for adder in adders:
                self.assertEqual(adder.wait(harness.PATIENCE), 0)
            self.assertEqual(database.execute("select writer, count(*), sum(n) from t group by writer").fetchall(),
                             [(i, 20, 190) for i in range(3)])
            self.assertEqual(database.execute("pragma integrity_check").fetchone(), ("ok",))
            database.execute("vacuum")
            database.close()
            database = sqlite3.connect(shutil.copy(path, self.local / mode))
            self.assertEqual(database.execute("select count(*) from t").fetchone(), (60,))
            database.close()

    def test_vim(self):
        self.need("vim")
        write(self.here / "x", "one\ntwo\n")
        for more in ("set backupcopy=yes", "set nowritebackup", "set backup"):
            sh(f"vim -u NONE -es -c '{more}' -c '%s/$/!/' -c wq x </dev/null", cwd=self.here, check=False)
        self.assertEqual(read(self.here / "x"), b"one!!!\ntwo!!!\n")
        # No backup or swap file is left.
        self.assertEqual(os.listdir(self.here), ["x"])

    def test_fio(self):
        self.need("fio")
        for name, more in (("sync", "--ioengine=psync --rw=randwrite --fsync=64"),
                           ("map", "--ioengine=mmap --rw=randwrite"),
                           ("append", "--ioengine=psync --rw=write --file_append=1")):
            sh(f"fio --name={name} --directory='{self.here}' --bs=4k-64k --size=4M --numjobs=2 --verify=crc32c "
               f"--do_verify=1 --verify_fatal=1 --fallocate=none --group_reporting {more}", cwd=self.local)

    def test_writers_at_once(self):
        """Some with a file of their own, some at places of one file, some that append to one."""
        blocks = [random.Random(i).randbytes(10000) for i in range(8)]
        write(self.here / "places", "")
        pids = []
        for i, block in enumerate(blocks):
            pid = os.fork()
            if not pid:
                try:
                    for turn in range(self.turns):
                        write(self.here / f"own{i}", block * turn)
                        with open(self.here / "places", "r+b", buffering=0) as file:
                            os.pwrite(file.fileno(), block, (turn * 8 + i) * 10000)
                        with open(self.here / "log", "ab", buffering=0) as file:
                            file.write(b"%d-%d\n" % (i, turn))
                    os._exit(0)
                finally:
                    os._exit(1)
            pids.append(pid)
        self.assertEqual([os.waitpid(pid, 0)[1] for pid in pids], [0] * 8)
        for i, block in enumerate(blocks):
            self.assertEqual(read(self.here / f"own{i}"), block * (self.turns - 1))
        self.assertTrue(read(self.here / "places") == b"".join(blocks) * self.turns)
        self.assertEqual(sorted(text(self.here / "log").split()),
                         sorted(f"{i}-{turn}" for i in range(8) for turn in range(self.turns)))


class OnServer(Programs, guestfiles.FilesTest):
    """OpenSSH's server."""


class InGuest(Programs, harness.GuestTest):
    """A virtual machine, with Dropbear's server. An emulated one would take minutes for a whole tree."""

    parts = "meson.build README.md config"
    least = 10
    turns = 3

    @classmethod
    def setUpClass(cls):
        os.umask(0o022)
        super().setUpClass()
        cls.instance = cls.make("linux")

    def setUp(self):
        super().setUp()
        self.here = self.instance / "files" / self._testMethodName
        self.here.mkdir()
        self.addCleanup(shutil.rmtree, self.here)


if __name__ == "__main__":
    harness.main()
