#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
An SSH server that misbehaves with forwards; for one connection. It prints its port, and after each line
that it reads what became of what the line told it to do:

  unasked   opens channels for ports that nobody asked for
  flood N   opens N channels for the port that was asked for, and keeps them
  echo      opens one such, sends and gets back "hello"

Usage: hostile_forward.py HOST_KEY. Exit status 77: there is no paramiko.
"""
import logging
import socket
import sys
import threading

try:
    import paramiko
except ImportError:
    sys.exit(77)

logging.getLogger("paramiko").setLevel(logging.CRITICAL)
asked = []
there = threading.Event()


class Server(paramiko.ServerInterface):
    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, number):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        return False

    def check_port_forward_request(self, address, port):
        asked.append((address, port or 4321))
        there.set()
        return port or 4321

    def cancel_port_forward_request(self, address, port):
        pass


def open_to(address):
    """A channel to an address, or the reason why there is none; None: it was closed at once."""
    try:
        return transport.open_forwarded_tcpip_channel(("127.0.0.1", 1), address)
    except paramiko.ChannelException as error:
        return error.code
    except paramiko.SSHException:
        return None


def unasked():
    wrong = [("127.0.0.1", 22), ("127.0.0.1", asked[0][1] + 1), ("0.0.0.0", asked[0][1]), ("", asked[0][1]),
             ("x" * 30000, asked[0][1]), ("127.0.0.1", 0), ("127.0.0.1", 0xffffffff)]
    return [open_to(address) for address in wrong]


def flood(count):
    kept.extend(open_to(asked[0]) for _ in range(count))
    return sum(isinstance(channel, paramiko.Channel) and not channel.closed for channel in kept)


def echo():
    channel = open_to(asked[0])
    channel.settimeout(30)
    channel.sendall(b"hello")
    channel.shutdown_write()
    got = b""
    while piece := channel.recv(100):
        got += piece
    return got.decode()


kept = []
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
transport = paramiko.Transport(listener.accept()[0])
transport.add_server_key(paramiko.ECDSAKey.from_private_key_file(sys.argv[1]))
transport.start_server(server=Server())
for line in sys.stdin:
    verb, *numbers = line.split()
    there.wait(60)
    print({"unasked": unasked, "flood": flood, "echo": echo}[verb](*map(int, numbers)), flush=True)
transport.close()
