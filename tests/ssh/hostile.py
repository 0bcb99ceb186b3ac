#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
An SFTP server that misbehaves in one way; sshd starts it as its subsystem. The way is named by the
argument, or else by the last part of the directory that the client wants to see (REALPATH): then it
behaves well from when there is a file "heal" in that directory, which is otherwise not looked at.
"""
import os
import random
import select
import struct
import sys

CHANCE = random.Random(1)
NAMED = len(sys.argv) > 1
MODE = sys.argv[1] if NAMED else "good"
ROOT = "/root"
INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT = 1, 2, 3, 4, 5, 6, 7, 8
OPENDIR, READDIR, REALPATH, READLINK = 11, 12, 16, 19
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
OK, EOF, NO_SUCH_FILE, FAILURE = 0, 1, 2, 4

CONTENT = b"hello"
FILE, DIRECTORY, LINK = 0o100644, 0o40755, 0o120777
# What the directory holds, whatever the mode adds to it.
FILES = {b"x": FILE, b"d": DIRECTORY, b"l": LINK}
# What each mode adds.
MORE = {
    "types": {b"fifo": 0o10644, b"socket": 0o140644, b"character": 0o20644, b"block": 0o60644,
              b"nothing": 0},
    "setuid": {b"setuid": 0o106755, b"setgid": 0o42755},
}
# Names as no directory has them.
BAD_NAMES = [b"", b".", b"..", b"a/b", b"a\0b", b"x" * 256, b"good", b"\xff\x01"]
MORE_BAD_NAMES = [b"/", b"../x", b"\0", b"good", b"x/", b"\xff\x01"]


def string(data):
    return struct.pack(">I", len(data)) + data


def write_all(data):
    while data:
        data = data[os.write(1, data):]


def send(kind, body):
    write_all(struct.pack(">IB", len(body) + 1, kind) + body)


def receive():
    def exactly(size):
        data = b""
        while len(data) < size:
            piece = os.read(0, size - len(data))
            if not piece:
                sys.exit(0)
            data += piece
        return data

    size, = struct.unpack(">I", exactly(4))
    packet = exactly(size)
    return packet[0], packet[1:5], packet[5:]


def field(body):
    """The first string."""
    size, = struct.unpack(">I", body[:4])
    return body[4:4 + size]


def attrs(mode=FILE, size=len(CONTENT), when=1000000000):
    return struct.pack(">IQIII", 13, size, mode, when, when)


def entry(name, mode=FILE):
    return string(name) + string(b"long") + attrs(mode)


def status(number, code):
    send(STATUS, number + struct.pack(">I", code) + string(b"") + string(b""))


# Each breaks the protocol in its own way, in place of the answer to a request.
BREAKS = {
    "wrong-id": lambda number: send(ATTRS, b"\xff\xff\xff\xff" + attrs()),
    "wrong-type": lambda number: send(DATA, number + string(b"x")),
    "twice": lambda number: [send(ATTRS, number + attrs()) for _ in range(2)],
    "huge-packet": lambda number: write_all(struct.pack(">I", 0xfffffff0) + b"x" * 100),
    "large-packet": lambda number: write_all(struct.pack(">I", 1 << 20) + b"x" * (1 << 20)),
    "empty-packet": lambda number: write_all(b"\0\0\0\0"),
    "cut": lambda number: [write_all(struct.pack(">I", 5000) + b"x" * 100), sys.exit(0)],
    "short-attrs": lambda number: send(ATTRS, number + b"\0\0"),
    "garbage": lambda number: write_all(random.Random(1).randbytes(100000)),
    "text": lambda number: write_all(b"Welcome to this machine!\n" * 1000),
}

# The request that is never answered.
SILENT = {"silent": LSTAT, "silent-start": REALPATH, "silent-stat": LSTAT, "silent-open": OPEN,
          "silent-read": READ, "silent-write": WRITE, "silent-close": CLOSE,
          "silent-opendir": OPENDIR, "silent-readdir": READDIR}


def open_file(number):
    if MODE == "status-for-open":
        status(number, OK)
    elif MODE == "long-handle":
        send(HANDLE, number + string(b"h" * 257))
    elif MODE == "empty-handle":
        send(HANDLE, number + string(b""))
    else:
        send(HANDLE, number + string(b"h" * 256))


def look(number, path):
    """LSTAT of what is there."""
    name = path[len(ROOT) + 1:]
    if not NAMED and not name:
        return send(ATTRS, number + attrs(DIRECTORY))
    if MODE in BREAKS:
        return BREAKS[MODE](number)
    mode = FILE if NAMED else {**FILES, **MORE.get(MODE, {})}.get(name)
    if mode is None:
        return status(number, NO_SUCH_FILE)
    if MODE == "huge-size":
        send(ATTRS, number + attrs(0o104755, 2**64 - 1))
    elif MODE == "times":
        send(ATTRS, number + attrs(mode, when=2**32 - 1))
    elif MODE == "changing-type":
        send(ATTRS, number + attrs(CHANCE.choice((FILE, FILE, FILE, DIRECTORY, LINK, 0o10644))))
    elif MODE == "link-in-place":
        send(ATTRS, number + attrs(CHANCE.choice((FILE, LINK))))
    else:
        send(ATTRS, number + attrs(mode))


listed = 0


def list_names(number):
    """The next page, for any directory."""
    global listed
    listed += 1
    entries = []
    if MODE == "endless":
        entries = [entry(b"same")] * 4000
    elif MODE == "endless-names":
        entries = [entry(b"%d-%d" % (listed, i)) for i in range(3000)]
    elif listed % 2 == 0:
        return status(number, EOF)
    elif NAMED or MODE == "names":
        more = MORE_BAD_NAMES if MODE == "names" else []
        entries = [entry(name) for name in BAD_NAMES + more]
    else:
        entries = [entry(name, mode) for name, mode in {**FILES, **MORE.get(MODE, {})}.items()]
    count = 0xffffffff if MODE == "many-names" else len(entries)
    send(NAME, number + struct.pack(">I", count) + b"".join(entries))


# Handles as OpenSSH's server names them, and what is left to list of each.
numbered = {}
free = []
given = 0


def open_numbered(number, body):
    """A directory that holds its own name. After the first ten, no more as OpenSSH's server does it:
    the handle is never an old one, or what comes next is done before."""
    global given
    given += 1
    if MODE == "swapped" and given > 10 and select.select([0], [], [], 0.05)[0]:
        answer(*receive())
    again = free and (MODE == "swapped" or given <= 10)
    handle = free.pop() if again else given
    numbered[handle] = [os.path.basename(field(body))]
    send(HANDLE, number + string(struct.pack(">I", handle)))


def list_numbered(number, body):
    left = numbered.get(struct.unpack(">I", field(body))[0])
    if left:
        send(NAME, number + struct.pack(">I", 1) + entry(left.pop()))
    else:
        status(number, FAILURE if left is None else EOF)


def close_numbered(number, body):
    handle, = struct.unpack(">I", field(body))
    del numbered[handle]
    free.append(handle)
    status(number, OK)


NUMBERED = {OPENDIR: open_numbered, READDIR: list_numbered, CLOSE: close_numbered}

targets = 0


def read_link(number):
    global targets
    targets += 1
    outside = b"../../etc/passwd" if NAMED else os.fsencode(os.path.dirname(ROOT)) + b"/secret"
    target = {"links": outside, "links-up": b"../" * 20 + outside[1:],
              "links-swapped": (b"x", outside)[targets % 2]}.get(MODE, outside if NAMED else b"x")
    send(NAME, number + struct.pack(">I", 1) + string(target) + string(b"") + attrs())


def read(number, body):
    offset, length = struct.unpack(">QI", body[-12:])
    if NAMED and MODE != "long-data":
        return send(DATA, number + string(b"x"))
    if MODE == "long-data":
        return send(DATA, number + string(b"x" * (length + 1)))
    data = CONTENT[offset:offset + (1 if MODE == "short-data" else length)]
    return send(DATA, number + string(data)) if data else status(number, EOF)


def real_path(number, body):
    global MODE, ROOT
    path = field(body)
    if not NAMED:
        if path.startswith(b"/"):
            ROOT = os.fsdecode(path)
            MODE = "good" if os.path.exists(f"{ROOT}/heal") else os.path.basename(ROOT)
        path = os.fsencode(ROOT)
    else:
        path = b"relative" if MODE == "bad-root" else b"/root"
    if SILENT.get(MODE) != REALPATH:
        send(NAME, number + struct.pack(">I", 1) + string(path) + string(b"") + struct.pack(">I", 0))


def answer(kind, number, body):
    global MODE
    if not NAMED and os.path.exists(f"{ROOT}/heal"):
        MODE = "good"
    if kind == REALPATH:
        real_path(number, body)
    elif SILENT.get(MODE) == kind:
        pass
    elif MODE in ("new-handles", "swapped") and kind in NUMBERED:
        NUMBERED[kind](number, body)
    elif kind == OPEN:
        open_file(number)
    elif kind == LSTAT:
        look(number, field(body))
    elif kind == FSTAT:
        send(ATTRS, number + attrs())
    elif kind == OPENDIR:
        send(HANDLE, number + string(b"d"))
    elif kind == READDIR:
        list_names(number)
    elif kind == READLINK:
        read_link(number)
    elif kind == READ:
        read(number, body)
    else:
        status(number, OK)


kind, version, _ = receive()
send(VERSION, struct.pack(">I", 2 if MODE == "version" else 3))
while True:
    answer(*receive())
