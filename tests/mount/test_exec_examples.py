# SPDX-License-Identifier: MIT
"""The examples of machines that scripts make, as they are in docs/examples."""
import os
import re
import shutil
import unittest

import harness
from harness import read, text, value, wait_for, write

EXAMPLES = harness.TOP / "docs/examples"


def pool_of(example, **keys):
    """The configuration in a script's first comment, with the script as it is here."""
    comment = re.findall(r"^#\t(.*)$", (EXAMPLES / example).read_text(), re.M)
    lines = [re.sub(r"/usr/share/doc/poolfs/examples", str(EXAMPLES), line) for line in comment]
    lines = [line for line in lines if line.split(" = ")[0] not in keys]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in keys.items())]) + "\n"


class Chroot(harness.MountTest):
    """exec-chroot.sh"""

    @classmethod
    def configure(cls):
        if not shutil.which("busybox"):
            raise unittest.SkipTest("no busybox: install it")
        return pool_of("exec-chroot.sh")

    def test_it(self):
        instance = self.new("box")
        root = value(instance, "root")
        self.assertEqual(self.run_in(instance, "pwd; echo x >file; ls /; echo \"it's $HOME\"; exit 3"),
                         (b"/root\nbin\ndev\nroot\ntmp\nit's /root\n", 3))
        self.assertEqual(text(f"{root}/root/file"), "x\n")
        self.assertEqual(text(instance / "files/file"), "x\n")
        data = os.urandom(200000)
        (instance / "files/a 'name'").write_bytes(data)
        with open(f"{root}/root/a 'name'", "rb") as file:
            self.assertEqual(file.read(), data)
        self.assertEqual(value(instance, "files_by"), "shell, push and pull")
        (instance / "files/copy").write_bytes((instance / "files/a 'name'").read_bytes())
        with open(f"{root}/root/copy", "rb") as file:
            self.assertEqual(file.read(), data)
        os.unlink(instance / "files/copy")
        self.assertEqual(sorted(os.listdir(instance / "files")), ["a 'name'", "file"])
        self.run_in(instance, "touch /tmp/rubbish")
        self.assertEqual(text(instance / "ctl"), "stop\nclean [ARGUMENT...]\n")
        write(instance / "ctl", "clean")
        wait_for(lambda: value(instance, "verb") == "clean done", "end of the verb")
        self.assertEqual(os.listdir(f"{root}/tmp"), [])
        instance.rmdir()
        wait_for(lambda: not os.path.exists(root), "end of the directory")


class Qemu(harness.MountTest):
    """exec-qemu.sh"""

    @classmethod
    def configure(cls):
        harness.need_guest()
        return pool_of("exec-qemu.sh", **{"env.GUEST": harness.GUEST, "ssh_key": f"{harness.GUEST}/id_ed25519"})

    def test_it(self):
        if not shutil.which(f"qemu-system-{os.uname().machine}"):
            self.skipTest("no QEMU for this host's kind of processor")
        instance = self.new("vm")
        self.assertEqual(self.run_in(instance, "hostname; exit 5"), (b"poolfs\n", 5))
        (instance / "files/file").write_text("hello\n")
        self.assertEqual(self.run_in(instance, "cat file"), (b"hello\n", 0))
        self.assertIn(b"Linux version", read(instance / "console"))
        write(instance / "console", "\necho on the con''sole\n")
        wait_for(lambda: b"on the console" in read(instance / "console"), "an answer on the console")
        pid = int(value(instance, "pid"))
        for verb, letter in (("pause", "T"), ("resume", "RS")):
            write(instance / "ctl", verb)
            wait_for(lambda: text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] in letter, verb)
        write(instance / "cmd", "poweroff -f")
        wait_for(lambda: text(instance / "state") == "stopped\n", "end of the machine")
        self.assertFalse(harness.alive(pid))

    def test_destroy_ends_it(self):
        instance = self.new("vm", "b", ready=False)
        pid = int(wait_for(lambda: value(instance, "pid"), "its process"))
        instance.rmdir()
        wait_for(lambda: not harness.alive(pid), "its end")


if __name__ == "__main__":
    harness.main()
