# SPDX-License-Identifier: MIT
"""poll(2), select(2), epoll(7) and asyncio: readable exactly when a read would not wait."""
import asyncio
import contextlib
import os
import select
import threading

import harness
import runs
from harness import PATIENCE, text, wait_for, write

FILES = ("output", "stdout", "stderr", "transcript", "exit")


class Watched:
    """An open file, and what each way of asking says of it."""

    def __init__(self, test, path):
        self.test = test
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        test.addCleanup(os.close, self.fd)
        self.epoll = select.epoll()
        test.addCleanup(self.epoll.close)
        self.epoll.register(self.fd, select.EPOLLIN)

    def says(self, timeout=0):
        """Whether there is something to read, by poll, select and epoll."""
        polled = select.poll()
        polled.register(self.fd, select.POLLIN)
        answers = {bool(polled.poll(timeout * 1000)),
                   bool(select.select([self.fd], [], [], timeout)[0]), bool(self.epoll.poll(timeout))}
        self.test.assertEqual(len(answers), 1, f"{self.path.name}: they do not agree")
        return answers.pop()

    def read(self):
        """What a read gives; None when it would have waited."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.fd, 1 << 16)
        return None

    def check(self):
        """What they say is what a read finds; what it gave."""
        said, got = self.says(), self.read()
        self.test.assertEqual(said, got is not None, self.path.name)
        return got

    def drain(self):
        """Reads what there is."""
        got = []
        while piece := self.check():
            got.append(piece)
        return b"".join(got)


class Polls(runs.HostRuns):
    """One instance and runs whose every step is ours."""

    def test_readable_when_a_read_does_not_wait(self):
        run = self.named()
        files = {name: Watched(self, run / name) for name in FILES}
        for file in files.values():
            self.assertIsNone(file.check(), file.path.name)
        write(run / "cmd", "while read -r x; do eval \"$x\"; done; exit 4")
        self.running(run)
        for file in files.values():
            self.assertIsNone(file.check(), file.path.name)
        stdin = open(run / "stdin", "wb", buffering=0)
        self.addCleanup(stdin.close)
        for line, names in (("echo a", ("output", "stdout", "transcript")),
                            ("echo b >&2", ("output", "stderr", "transcript")),
                            ("echo c", ("output", "stdout", "transcript"))):
            stdin.write(line.encode() + b"\n")
            for name in names:
                self.assertTrue(files[name].says(PATIENCE), (line, name))
            for name, file in files.items():
                self.assertEqual(bool(file.drain()), name in names, (line, name))
                self.assertIsNone(file.check())
        stdin.close()
        for name, file in files.items():
            self.assertTrue(file.says(PATIENCE))
            self.assertEqual(file.check(), b"4\n" if name == "exit" else b"")
            self.assertEqual(file.check(), b"") # at the end no read waits

    def test_waiting_polls_are_woken(self):
        for name, command in (("output", "read x; echo a; read x"), ("exit", "read x"),
                              ("stdout", "read x; exit 3")):
            with self.subTest(name):
                run = self.start(command)
                file = Watched(self, run / name)
                woken = []
                threads = [threading.Thread(target=lambda: woken.append(select.select(
                    [file.fd], [], [], PATIENCE)[0])) for _ in range(5)]
                threads.append(threading.Thread(target=lambda: woken.append(file.epoll.poll(PATIENCE))))
                for thread in threads:
                    thread.start()
                self.assertFalse(file.says(0.1))
                with open(run / "stdin", "wb", buffering=0) as stdin:
                    stdin.write(b"go\n")
                    for thread in threads:
                        thread.join(PATIENCE)
                self.assertEqual([bool(one) for one in woken], [True] * len(threads))

    def test_edges(self):
        """epoll with edges: one for each time that something comes."""
        run = self.start("while read -r x; do echo $x; done")
        fd = os.open(run / "output", os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        epoll = select.epoll()
        self.addCleanup(epoll.close)
        epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        with open(run / "stdin", "wb", buffering=0) as stdin:
            for word in (b"one\n", b"two\n", b"three\n"):
                self.assertEqual(epoll.poll(0), [])
                stdin.write(word)
                self.assertEqual(epoll.poll(PATIENCE), [(fd, select.EPOLLIN)])
                self.assertEqual(os.read(fd, 100), word)
                self.assertRaises(BlockingIOError, os.read, fd, 100)
        self.assertEqual(epoll.poll(PATIENCE), [(fd, select.EPOLLIN)])
        self.assertEqual(os.read(fd, 100), b"")

    def test_edges_of_room(self):
        """The same for writers, each of which fills the input and waits until there is room."""
        data, taken = bytes(100000), 0
        run = self.start("sleep 0.5; wc -c")
        fds = [os.open(run / "stdin", os.O_WRONLY | os.O_NONBLOCK) for _ in range(2)]
        epolls = []
        for fd in fds:
            epoll = select.epoll()
            self.addCleanup(epoll.close)
            epoll.register(fd, select.EPOLLOUT | select.EPOLLET)
            self.assertEqual(epoll.poll(PATIENCE), [(fd, select.EPOLLOUT)])
            epolls.append(epoll)
        while taken < 30 << 20:
            for fd in fds:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        taken += os.write(fd, data)
            self.assertTrue(epolls[taken % 2].poll(PATIENCE))
        for fd in fds:
            os.close(fd)
        self.assertEqual(int(harness.read(run / "output")), taken)

    def changes(self, path, count):
        """Starts to watch a file's changes by POLLPRI; the words seen until there are enough."""
        seen = []
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        seen.append(os.pread(fd, 100, 0).decode().strip())
        polled = select.poll()
        polled.register(fd, select.POLLPRI)
        self.assertEqual(polled.poll(0), [])

        def watch():
            while len(seen) < count:
                if not polled.poll(PATIENCE * 1000):
                    return
                seen.append(os.pread(fd, 100, 0).decode().strip())
        thread = threading.Thread(target=watch)
        thread.start()
        return thread, seen

    def test_changes_of_a_run(self):
        run = self.named()
        thread, seen = self.changes(run / "state", 3)
        write(run / "cmd", "cat; exit 1")
        wait_for(lambda: len(seen) == 2, "change to running")
        exceptional = os.open(run / "state", os.O_RDONLY)
        self.addCleanup(os.close, exceptional)
        os.read(exceptional, 100)
        self.assertEqual(select.select([], [], [exceptional], 0)[2], [])
        write(run / "stdin", "x")
        self.assertEqual(select.select([], [], [exceptional], PATIENCE)[2], [exceptional])
        thread.join(PATIENCE)
        self.assertEqual(seen, ["queued", "running", "exited"])

    def test_changes_of_an_instance(self):
        instance = self.new("host", "b", ready=False)
        thread, seen = self.changes(instance / "state", 2)
        thread.join(PATIENCE)
        self.assertIn(seen, (["booting", "ready"],))

    def test_events(self):
        file = Watched(self, self.mount.path / "events.follow")
        file.drain()
        self.assertIsNone(file.check())
        instance = self.new("host", "c")
        self.assertTrue(file.says(PATIENCE))
        self.assertIn(b"host/c", file.drain())
        self.assertIsNone(file.check())
        self.assertEqual(text(instance / "state"), "ready\n")

    def test_asyncio(self):
        """One loop follows fifty runs."""
        count = 50
        begun = [self.start(f"read x; echo {n}; sleep 0.1; echo end") for n in range(count)]

        async def follow(run):
            loop = asyncio.get_running_loop()
            fd = os.open(run / "output", os.O_RDONLY | os.O_NONBLOCK)
            done, got = loop.create_future(), []

            def readable():
                piece = os.read(fd, 100) # never BlockingIOError, or readable was wrong
                got.append(piece)
                if not piece:
                    loop.remove_reader(fd)
                    done.set_result(b"".join(got))
            loop.add_reader(fd, readable)
            try:
                return await asyncio.wait_for(done, PATIENCE)
            finally:
                os.close(fd)

        async def all_of_them():
            tasks = [asyncio.create_task(follow(run)) for run in begun]
            await asyncio.sleep(0)
            for run in begun:
                write(run / "stdin", "go\n")
            return await asyncio.gather(*tasks)
        self.assertEqual(asyncio.run(all_of_them()), [f"{n}\nend\n".encode() for n in range(count)])


class OnGuest(runs.GuestRuns):
    """A virtual machine, which has a console."""

    def test_console(self):
        file = Watched(self, self.instance / "console.follow")
        fd = file.fd
        while select.select([fd], [], [], 0.5)[0]: # until the boot has said all
            os.read(fd, 1 << 16)
        write(self.instance / "cmd", "sleep 0.2; echo 'hello  console' >/dev/console")
        got = b""
        while b"hello  console" not in got:
            self.assertEqual(select.select([fd], [], [], PATIENCE)[0], [fd])
            got += os.read(fd, 1 << 16)


if __name__ == "__main__":
    harness.main()
