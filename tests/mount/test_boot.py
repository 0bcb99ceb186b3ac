# SPDX-License-Identifier: MIT
"""Virtual machines: boots that fail, disks, the network, and a machine that stands still."""
import contextlib
import errno
import hashlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import harness
from harness import read, text, wait_for, write

# From an event on the host to what the files show of it; a busy machine gets some more.
SOON = 2


class Failures(harness.GuestTest):
    """Machines that do not come up."""

    @classmethod
    def configure(cls):
        harness.need_guest()
        cls.garbage = tempfile.NamedTemporaryFile(prefix="poolfs-test.")
        cls.addClassCleanup(cls.garbage.close)
        cls.garbage.write(bytes(range(256)) * 256)
        cls.garbage.flush()
        return (harness.qemu_pool("linux", memory="128M") +
                harness.qemu_pool("noinit", memory="128M",
                                  append="console=ttyS0 panic=-1 rdinit=/nonexistent") +
                harness.qemu_pool("garbage", kernel=cls.garbage.name) +
                harness.qemu_pool("hasty", memory="128M", boot_timeout="1s") +
                harness.qemu_pool("device", arguments="-device no-such-device"))

    def fail_to_boot(self, pool):
        """Makes an instance whose boot fails; returns its directory."""
        instance = self.new(pool, ready=False)
        with self.assertRaises(OSError) as raised:
            read(instance / "ready")
        self.assertEqual(raised.exception.errno, errno.EIO)
        self.assertEqual(text(instance / "state"), "failed\n")
        self.assertEqual(text(self.mount.path / pool / "pool.status").splitlines()[-4:],
                         ["boots 0", "boot_failures 1", "boot_failures_in_a_row 1",
                          "last_failure a: " + text(instance / "error").splitlines()[0]])
        self.assertIn(f"{pool}/ (boots that failed in a row: 1; the last: a: ",
                      text(self.mount.path / "status"))
        with self.assertRaises(OSError) as raised:
            write(instance / "cmd", "true")
        self.assertEqual(raised.exception.errno, errno.EHOSTDOWN)
        return instance

    def test_panic(self):
        instance = self.fail_to_boot("noinit")
        error = text(instance / "error")
        self.assertIn("kernel panic: ", error.splitlines()[0])
        self.assertIn("The console's last lines:\n", error)
        self.assertIn("Kernel panic", error.split("last lines:")[1])

    def test_kernel_that_is_none(self):
        started = time.monotonic()
        instance = self.fail_to_boot("garbage")
        self.assertLess(time.monotonic() - started, 20)
        self.assertTrue(text(instance / "error").strip())

    def test_boot_timeout(self):
        started = time.monotonic()
        instance = self.fail_to_boot("hasty")
        self.assertIn("boot_timeout", text(instance / "error").splitlines()[0])
        self.assertLess(time.monotonic() - started, 1 + 2 * SOON)

    def test_what_the_emulator_printed(self):
        instance = self.fail_to_boot("device")
        for name in ("error", "log"):
            self.assertIn("no-such-device", text(instance / name))

    def test_emulator_killed_while_booting(self):
        instance = self.new("linux", ready=False)
        write(instance / "cmd", "true")
        wait_for(lambda: b"Linux version" in read(instance / "console"), "begin of the boot")
        result = {}

        def wait_until_ready():
            try:
                read(instance / "ready")
            except OSError as error:
                result["errno"] = error.errno
            result["time"] = time.monotonic()

        waiter = threading.Thread(target=wait_until_ready)
        waiter.start()
        killed = time.monotonic()
        os.kill(int(harness.value(instance, "pid")), signal.SIGKILL)
        waiter.join()
        self.assertEqual(result["errno"], errno.EIO)
        self.assertLess(result["time"] - killed, SOON)
        error = text(instance / "error")
        self.assertIn("signal 9", error.splitlines()[0])
        self.assertIn("The console's last lines:\n", error)
        self.assertEqual(text(instance / "last/exit"), "255\n")

    def test_kernel_that_is_missing(self):
        config = self.mount.base / "missing.ini"
        config.write_text(harness.qemu_pool(kernel="/nonexistent/kernel"))
        done = subprocess.run([harness.POOLFS, "--check", config], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent/kernel", done.stderr)


def listener(test):
    """A server on the host's loopback that greets whoever comes; returns (port, visitors)."""
    server = socket.create_server(("127.0.0.1", 0))
    visitors = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, address = server.accept()
                visitors.append(address)
                with contextlib.suppress(OSError):
                    client.sendall(b"hello from the host\n")
                client.close()

    threading.Thread(target=serve, daemon=True).start()
    test.addCleanup(server.close)
    return server.getsockname()[1], visitors


class Machines(harness.GuestTest):
    """Three machines that boot at the same time, each with something of its own."""

    @classmethod
    def configure(cls):
        harness.need_guest()
        cls.images = tempfile.TemporaryDirectory(prefix="poolfs-test.")
        cls.addClassCleanup(cls.images.cleanup)
        cls.base = os.path.join(cls.images.name, "base.raw")
        cls.qcow2 = os.path.join(cls.images.name, "base.qcow2")
        with open(cls.base, "wb") as file:
            file.write(b"what the image holds\n" + os.urandom(1 << 20))
        harness.sh(f"qemu-img convert -f raw -O qcow2 {cls.base} {cls.qcow2}")
        cls.hashes = cls.hash_images()
        return (harness.qemu_pool("raw", memory="128M", disk=cls.base, disk_format="raw",
                                  network="user") +
                harness.qemu_pool("qcow2", memory="128M", disk=cls.qcow2, console_limit="64K") +
                harness.qemu_pool("frozen", memory="128M", ssh_keepalive="2s"))

    @classmethod
    def hash_images(cls):
        return [hashlib.sha256(read(path)).hexdigest() for path in (cls.base, cls.qcow2)]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            for pool in ("raw", "qcow2", "frozen"):
                (cls.mount.path / pool / "shared").mkdir()
        except BaseException:
            cls.tearDownClass()
            raise

    def machine(self, pool):
        return harness.booted(self.mount.path / pool / "shared")

    def try_disk(self, pool):
        instance = self.machine(pool)
        self.assertEqual(self.run_in(instance, "head -n 1 /dev/vda"), (b"what the image holds\n", 0))
        self.assertEqual(self.run_in(
            instance, "echo something else | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null &&"
                      "echo 3 >/proc/sys/vm/drop_caches && head -n 1 /dev/vda"),
            (b"something else\n", 0))
        self.assertEqual(self.hash_images(), self.hashes)

    def test_raw_disk(self):
        self.try_disk("raw")

    def test_qcow2_disk(self):
        self.try_disk("qcow2")

    def test_isolated_guest_does_not_reach_the_host(self):
        port, visitors = listener(self)
        for host in ("10.0.2.2", "127.0.0.1"):
            output, status = self.run_in(self.machine("qcow2"),
                                         f"timeout 3 nc -w 2 {host} {port} </dev/null")
            self.assertNotEqual(status, 0)
            self.assertEqual(visitors, [])

    def test_guest_with_network_reaches_the_host(self):
        port, visitors = listener(self)
        output, status = self.run_in(self.machine("raw"), f"nc -w 10 10.0.2.2 {port} </dev/null")
        self.assertIn(b"hello from the host\n", output)
        self.assertEqual(len(visitors), 1)

    def test_console_that_is_too_long(self):
        instance = self.machine("qcow2")
        marker = "after the flood"
        script = f"yes {'x' * 70} | head -n 3000 >/dev/console; echo {marker} >/dev/console"
        self.assertEqual(self.run_in(instance, script)[1], 0)
        wait_for(lambda: marker.encode() in read(instance / "console"), "end of the flood")
        shown = read(instance / "console")
        record = re.match(rb"\[poolfs: (\d+) bytes dropped\]\n", shown)
        self.assertTrue(record, shown[:80])
        self.assertLess(len(shown), 65536 + 4096)
        self.assertEqual(harness.value(instance, "console_bytes_dropped"), record.group(1).decode())
        # A size is that of the stream: what was dropped counts, the record does not.
        self.assertEqual((instance / "console").stat().st_size,
                         len(shown) - record.end() + int(record.group(1)))

    def test_machine_that_stands_still(self):
        instance = self.machine("frozen")
        write(instance / "cmd", "sleep 1000")
        run = instance / os.readlink(instance / "last")
        wait_for(lambda: text(run / "state") == "running\n", "running command")
        pid = int(harness.value(instance, "pid"))
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with self.assertRaises(OSError) as raised:
                os.listdir(instance / "files")
            self.assertLess(time.monotonic() - began, 15)
            self.assertIn(raised.exception.errno, (errno.EHOSTDOWN, errno.EIO, errno.ETIMEDOUT))
            wait_for(lambda: text(instance / "state") == "lost\n", "state lost", 15)
            self.assertTrue(text(instance / "error").strip())
            self.assertEqual((text(run / "exit"), text(run / "state")), ("255\n", "lost\n"))
            began = time.monotonic()
            with self.assertRaises(OSError) as raised:
                os.listdir(instance / "files")
            self.assertEqual(raised.exception.errno, errno.EHOSTDOWN)
            self.assertLess(time.monotonic() - began, SOON)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: text(instance / "state") == "ready\n", "state ready")
        self.assertEqual(self.run_in(instance, "echo again"), (b"again\n", 0))
        self.assertEqual(text(instance / "error"), "")


if __name__ == "__main__":
    harness.main()
