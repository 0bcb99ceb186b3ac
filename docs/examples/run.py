#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Runs a command in one or several instances, with nothing but files.

    python3 run.py 'make check' /tmp/vm/linux/a               one instance, its output as it comes
    python3 run.py 'make check' /tmp/vm/linux/a /tmp/vm/linux/b    several at once, by asyncio
"""
import asyncio
import contextlib
import os
import pathlib
import sys
import uuid


@contextlib.contextmanager
def new_run(instance, command, data=b""):
    """A run of a command, as its directory. It is stopped and forgotten at the end of the block."""
    run = pathlib.Path(instance, "runs", f"py-{uuid.uuid4().hex}")
    run.mkdir()
    try:
        (run / "cmd").write_text(command)  # starts it
        (run / "stdin").write_bytes(data)  # the end of its input comes with the close
        yield run
    finally:
        run.rmdir()


def run_in(instance, command):
    """Runs to the end, with the output on ours; returns the exit status."""
    with new_run(instance, command) as run:
        with open(run / "output", "rb", buffering=0) as output:
            while piece := output.read(65536):  # waits for more, until the command has ended
                os.write(sys.stdout.fileno(), piece)
        return int((run / "exit").read_text())


async def read_all(path):
    """Reads a file of a run to its end, while other tasks go on."""
    loop = asyncio.get_running_loop()
    # With O_NONBLOCK no read waits; the loop tells when there is something to read.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pieces = []
    try:
        while True:
            readable = loop.create_future()
            loop.add_reader(fd, lambda: readable.done() or readable.set_result(None))
            try:
                await readable
            finally:
                loop.remove_reader(fd)
            with contextlib.suppress(BlockingIOError):
                piece = os.read(fd, 65536)
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)
    finally:
        os.close(fd)


async def run_async(instance, command):
    """Runs to the end: (output, exit status). Cancelling the task stops the command."""
    with new_run(instance, command) as run:
        output = await read_all(run / "output")
        return output, int(await read_all(run / "exit"))


async def run_everywhere(instances, command):
    """Runs in all instances at once; returns the highest exit status."""
    results = await asyncio.gather(*(run_async(each, command) for each in instances))
    for instance, (output, status) in zip(instances, results):
        print(f"== {instance}: {status}", flush=True)
        os.write(sys.stdout.fileno(), output)
    return max(status for _, status in results)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    command, instances = sys.argv[1], sys.argv[2:]
    if len(instances) == 1:
        sys.exit(run_in(instances[0], command))
    sys.exit(asyncio.run(run_everywhere(instances, command)))


if __name__ == "__main__":
    main()
