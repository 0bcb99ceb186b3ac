# SPDX-License-Identifier: MIT
"""
samples.py KIND [user]: runs the suite against a kind of machine of this tree, with a configuration for
it and one for each step that can be made to fail; as an ordinary user, if root is to. A kind is a
function here and a word in meson.build.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mount"))

import conformance  # noqa: E402
import containers  # noqa: E402
import harness  # noqa: E402
import lab  # noqa: E402
import targets  # noqa: E402

POOL = "lab"


def faulty(base):
    """A poolfs by the name of its configuration: with `never-ready` it finds a tar that unpacks for ever, and
    with `destroy` it has a poolfs-container that ends by nothing but KILL."""
    place = base / "faulty"
    (place / "config").mkdir(parents=True)
    for program in ("poolfs", "poolfs-shim"):
        shutil.copy(harness.POOLFS.parent / program, place)
    shutil.copy(HERE.parents[1] / "config/crash.patterns", place / "config")
    scripts = {"tar": "exec sleep 1000\n",
               "poolfs-container": f"exec 3<&0 </dev/null\n{harness.POOLFS}-container \"$@\" <&3 3<&- &\n"
                                   "trap '' TERM\nexec sleep 1000 3<&-\n",
               "choose": f"poolfs={harness.POOLFS}\ncase $* in\n*/never-ready.ini*) PATH={place}:$PATH;;\n"
                         f"*/destroy.ini*) poolfs={place}/poolfs;;\nesac\nexec $poolfs \"$@\"\n"}
    for name, script in scripts.items():
        (place / name).write_text("#!/bin/sh\n" + script)
        (place / name).chmod(0o755)
    return place / "choose"


def container(base):
    """Containers of this host."""
    containers.need_containers()
    (base / "archive").write_text("")
    return {"": containers.container_pool(POOL, count=5),
            "create": containers.container_pool(POOL, shell="/bin/no-such-shell"),
            "never-ready": containers.container_pool(POOL, root=base / "archive", boot_timeout=2),
            "ends": containers.container_pool(POOL, init="/bin/sh -c 'kill -TERM 1'"),
            "destroy": containers.container_pool(POOL)
            }, ["--console", "echo $((6*7))-=42-", "--poolfs", str(faulty(base))]


def login(_base):
    """Containers whose login is not root, which only root can give."""
    containers.need_containers()
    if os.getuid() != 0:
        raise unittest.SkipTest("only root has other users to give")
    return {"": containers.container_pool(POOL, count=3, user="nobody"),
            "create": containers.container_pool(POOL, user="no-such-user")}, []


def sshd(directory):
    """A server in a directory. Of an instance whose shim is killed, the directory in the machine is left:
    it lies beside the server."""
    return harness.Sshd(directory, "MaxSessions 100", f"SetEnv TMPDIR={directory.parent}")


def ssh(base):
    """One SSH server that all instances share."""
    server = sshd(base / "sshd")
    return {"": harness.ssh_pool(server, POOL, console="exec:sh -i 2>&1"),
            "create": harness.ssh_pool(server, POOL, startup="exit 3"),
            "never-ready": harness.ssh_pool(server, POOL, startup="sleep 1000", boot_timeout=3),
            "destroy": harness.ssh_pool(server, POOL, reset="sleep 1000", reset_timeout=1)
            }, ["--console", "echo $((6*7))-=42-"]


def shellfiles(base):
    """The same without SFTP: files/ is carried by commands."""
    pools, more = ssh(base)
    return {"": pools[""] + "files_by = shell\n"}, more


def lent(base):
    """Two machines that are lent."""
    servers = [sshd(base / "one")]
    servers.append(twin(base / "two", servers[0]))
    known = base / "known_hosts"
    known.write_text("".join((server.directory / "known_hosts").read_text() for server in servers))
    words = " ".join(f"127.0.0.1:{server.port}" for server in servers)
    return {"": targets.pool(POOL, known, servers[0], targets=words, reset="true"),
            "create": targets.pool(POOL, known, servers[0], targets=words, startup="exit 3"),
            "destroy": targets.pool(POOL, known, servers[0], targets=words, reset="sleep 1000",
                                    reset_timeout=1)}, []


def twin(directory, server):
    """Another server, which knows the same client."""
    directory.mkdir()
    for name in ("id", "id.pub"):
        (directory / name).write_bytes((server.directory / name).read_bytes())
        (directory / name).chmod(0o600)
    return sshd(directory)


def pool_of(kind, **keys):
    """A pool's section."""
    return f"[pool {POOL}]\ntype = {kind}\n" + "".join(f"{key} = {what}\n" for key, what in keys.items())


def chroot(_base):
    """The example of programs that make a machine, reached by `run`."""
    if not shutil.which("busybox"):
        raise unittest.SkipTest("no busybox")
    script = HERE.parents[1] / "docs/examples/exec-chroot.sh"
    keys = {"create": script, "run": script, "destroy": script, "ctl.clean": script, "files": "/root",
            "console": "cat"}
    return {"": pool_of("exec", **keys),
            "create": pool_of("exec", **{**keys, "create": "false"}),
            "never-ready": pool_of("exec", **{**keys, "run": "false", "boot_timeout": 2}),
            "ends": pool_of("exec", **{**keys, "wait": "true"}),
            "destroy": pool_of("exec", **{**keys, "destroy": "sleep 1000", "destroy_timeout": 1})
            }, ["--console", "typed=typed\r?\n?typed"]


def address(base):
    """Programs that make an SSH server, and tell its address."""
    server = harness.Sshd(base / "client")
    (base / "home").mkdir()
    start = (f"cp {server.directory}/id {server.directory}/id.pub . && "
             f"sh {harness.Sshd.script} start . 'MaxSessions 100'")
    keys = {"create": f'sh -c "{start}"', "address": f'sh -c "echo {targets.USER}@127.0.0.1:$(cat port)"',
            "ssh_key": server.directory / "id", "files": base / "home", "count": 1}
    return {"": pool_of("exec", **keys),
            "create": pool_of("exec", **{**keys, "create": "false"}),
            "never-ready": pool_of("exec", **{**keys, "address": "false", "boot_timeout": 2}),
            "ends": pool_of("exec", **{**keys, "wait": "true"})}, []


def qemu(_base):
    """Virtual machines of the small guest image."""
    harness.need_guest()
    keys = {"memory": "128M", "count": 3}
    return {"": harness.qemu_pool(POOL, **keys),
            "create": harness.qemu_pool(POOL, arguments="-device no-such-device", **keys),
            "never-ready": harness.qemu_pool(POOL, boot_timeout=2, append="console=ttyS0 rdinit=/bin/cat",
                                             **keys),
            "ends": harness.qemu_pool(POOL, append="console=ttyS0 panic=-1 rdinit=/nonexistent", **keys)
            }, []


def programs(base, **more):
    """Machines of scripts: directories of this host. more: further scripts."""
    def pool(create="mkdir home", run="exec sh -c \"$1\"", wait="exec sleep 1000000", destroy="rm -r home", **keys):
        lines = [f"[pool {POOL}]", "type = exec", "files = ~/home", "ctl.rest = true", "console = sh -i"]
        for key, script in {"create": create, "run": run, "wait": wait, "destroy": destroy, **more}.items():
            path = base / f"{key}.{len(list(base.iterdir()))}"
            path.write_text(f"#!/bin/sh\ncd \"$POOLFS_DIRECTORY\"\n{script}\n")
            path.chmod(0o755)
            lines.append(f"{key} = {path}")
        return "\n".join([*lines, *(f"{key} = {value}" for key, value in keys.items())]) + "\n"
    return {"": pool(count=5),
            "create": pool(create="echo no room >&2; exit 3"),
            "never-ready": pool(run="exit 1", boot_timeout=3),
            "ends": pool(wait="exit 0"),
            "destroy": pool(destroy="trap '' TERM; sleep 1000", destroy_timeout=1)
            }, ["--console", "echo $((6*7))-=42-"]


def carried(base):
    """The same, whose contents are carried by programs, however small they are."""
    pools, words = programs(base, push="cat >\"$1\"", pull="cat \"$1\"")
    return {"": pools[""] + "carry_from = 0\n"}, words


def module_pool(base, **keys):
    """A pool of the example module, built against the header of this source."""
    module = base / "null.so"
    if not module.exists():
        if not shutil.which("cc"):
            raise unittest.SkipTest("no C compiler")
        top = HERE.parents[1]
        (base / "include").mkdir()
        (base / "include/poolfs").symlink_to(top / "backends")
        subprocess.run(["cc", "-shared", "-fPIC", f"-I{base}/include", "-o", module,
                        top / "docs/examples/module/null.c"], check=True)
    return f"modules = {module}\n" + pool_of("null", **keys)


def module(base):
    """Machines of a module, without commands and files."""
    return {"": module_pool(base, count=5),
            "create": module_pool(base, fail="start"),
            "never-ready": module_pool(base, delay="1h", boot_timeout=2),
            "ends": module_pool(base, fail="end"),
            "destroy": module_pool(base, fail="stop")
            }, ["--console", "typed=typed"]


def module_ssh(base):
    """The same, with commands and files by SSH."""
    server = sshd(base / "sshd")
    keys = {"address": f"127.0.0.1:{server.port}", "ssh_user": targets.USER, "ssh_key": server.directory / "id"}
    (base / "home").mkdir()
    return {"": module_pool(base, files=base / "home", count=1, **keys),
            "never-ready": module_pool(base, **{**keys, "address": "127.0.0.1:1", "boot_timeout": 2}),
            "ends": module_pool(base, fail="end", **keys)}, []


def run(kind, base):
    """Writes the configurations and runs the suite."""
    pools, more = kind(base)
    words = []
    for step, lines in pools.items():
        path = base / f"{step or 'good'}.ini"
        path.write_text(f"[poolfs]\nworkdir = {base}/work\n{lines}")
        words += ["--break", f"{step}={path}"] if step else [str(path), POOL]
    try:
        # Forked: an ordinary user may not be able to start the interpreter again.
        child = os.fork()
        if child == 0:
            lab.leave(conformance.main, ["--poolfs", str(harness.POOLFS), *words, *more])
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for server in list(harness.STARTED):
            server.stop()


def main():
    """Runs it in a directory that goes in the end."""
    kind, *user = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="poolfs-samples.") as directory:
        base = pathlib.Path(directory)
        os.chmod(base, 0o755)
        try:
            if not user:
                return run(globals()[kind], base)
            become, environment = containers.as_user(base)
            return subprocess.call([*become, sys.executable, "-B", __file__, kind], env=environment)
        except unittest.SkipTest as reason:
            print("skipped:", reason)
            return 77


if __name__ == "__main__":
    sys.exit(main())
