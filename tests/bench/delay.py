# SPDX-License-Identifier: MIT
"""
A distance: passes TCP connections on to a port of this machine, every byte later by a number of
milliseconds in each direction, so that the round trip grows by twice as much.

usage: delay.py PORT MILLISECONDS    (prints the port to connect to, and runs until its input ends)
"""
import collections
import contextlib
import selectors
import socket
import sys
import threading
import time

# Bytes on the way in one direction; as much as a fast line of 100 ms holds.
ON_THE_WAY = 64 << 20


class Direction:
    """From one socket to another, in two threads: one reads and stamps, one sends when it is time."""

    def __init__(self, source, sink, seconds):
        self.source, self.sink, self.seconds = source, sink, seconds
        self.queue, self.size, self.changed = collections.deque(), 0, threading.Condition()
        for work in (self.take, self.give):
            threading.Thread(target=work, daemon=True).start()

    def take(self):
        data = b"-"
        while data:
            try:
                data = self.source.recv(262144)
            except OSError:
                data = b""
            with self.changed:
                self.changed.wait_for(lambda: self.size < ON_THE_WAY)
                self.queue.append((time.monotonic() + self.seconds, data))
                self.size += len(data)
                self.changed.notify_all()

    def give(self):
        with contextlib.suppress(OSError):
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.queue)
                    due, data = self.queue.popleft()
                    self.size -= len(data)
                    self.changed.notify_all()
                if not data:
                    break
                time.sleep(max(0, due - time.monotonic()))
                self.sink.sendall(data)
            self.sink.shutdown(socket.SHUT_WR)


def main():
    port, seconds = int(sys.argv[1]), float(sys.argv[2]) / 1000
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while not any(key.fileobj is sys.stdin for key, _ in selector.select()):
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Direction(near, far, seconds)
        Direction(far, near, seconds)


if __name__ == "__main__":
    main()
