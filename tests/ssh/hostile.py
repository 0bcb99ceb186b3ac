#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An SFTP server that misbehaves in the way its argument names; started by sshd as its subsystem."""
import os
import struct
import sys

MODE = sys.argv[1]
INIT, VERSION, OPEN, CLOSE, READ, LSTAT, OPENDIR, READDIR, REALPATH = 1, 2, 3, 4, 5, 7, 11, 12, 16
READLINK = 19
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105


def string(data):
    return struct.pack(">I", len(data)) + data


def send(kind, body):
    os.write(1, struct.pack(">IB", len(body) + 1, kind) + body)


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


def attrs(mode=0o100644, size=5):
    return struct.pack(">IQI", 5, size, mode)


def entry(name):
    return string(name) + string(b"long") + attrs()


def status(number, code):
    send(STATUS, number + struct.pack(">I", code) + string(b"") + string(b""))


def open_file(number):
    if MODE == "status-for-open":
        status(number, 0)
    elif MODE == "long-handle":
        send(HANDLE, number + string(b"h" * 257))
    elif MODE == "empty-handle":
        send(HANDLE, number + string(b""))
    else:
        send(HANDLE, number + string(b"h" * 256))


def look(number):
    if MODE == "silent":
        return
    if MODE == "wrong-id":
        send(ATTRS, b"\xff\xff\xff\xff" + attrs())
    elif MODE == "wrong-type":
        send(DATA, number + string(b"x"))
    elif MODE == "twice":
        send(ATTRS, number + attrs())
        send(ATTRS, number + attrs())
    elif MODE == "huge-packet":
        os.write(1, struct.pack(">I", 0xfffffff0) + b"x" * 100)
    elif MODE == "empty-packet":
        os.write(1, b"\0\0\0\0")
    elif MODE == "cut":
        os.write(1, struct.pack(">I", 5000) + b"x" * 100)
        sys.exit(0)
    elif MODE == "short-attrs":
        send(ATTRS, number + b"\0\0")
    elif MODE == "huge-size":
        send(ATTRS, number + attrs(0o104755, 2**64 - 1))
    else:
        send(ATTRS, number + attrs())


listed = False


def list_names(number):
    global listed
    if MODE == "endless":
        names = [b"same"] * 4000
    elif listed:
        return status(number, 1)
    else:
        names = [b"", b".", b"..", b"a/b", b"a\0b", b"x" * 256, b"good", b"\xff\x01"]
    listed = True
    count = 0xffffffff if MODE == "many-names" else len(names)
    send(NAME, number + struct.pack(">I", count) + b"".join(entry(name) for name in names))


def answer(kind, number, body):
    if kind == REALPATH:
        root = b"relative" if MODE == "bad-root" else b"/root"
        send(NAME, number + struct.pack(">I", 1) + string(root) + string(b"") + struct.pack(">I", 0))
    elif kind == OPEN:
        open_file(number)
    elif kind == LSTAT:
        look(number)
    elif kind == OPENDIR:
        send(HANDLE, number + string(b"d"))
    elif kind == READDIR:
        list_names(number)
    elif kind == READLINK:
        send(NAME, number + struct.pack(">I", 1) + string(b"../../etc/passwd") + string(b"") + attrs())
    elif kind == READ:
        length, = struct.unpack(">I", body[-4:])
        if MODE == "long-data":
            send(DATA, number + string(b"x" * (length + 1)))
        else:
            send(DATA, number + string(b"x"))
    else:
        status(number, 0)


kind, version, _ = receive()
send(VERSION, struct.pack(">I", 2 if MODE == "version" else 3))
while True:
    answer(*receive())
