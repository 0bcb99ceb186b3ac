#!/bin/sh
# SPDX-License-Identifier: MIT
# Starts a Dropbear server for tests; server.sh tells the verbs. It knows no CONFIG-LINEs. It reads the
# login's home, so it gets a mount namespace with another one, which needs root. With SSHD_SFTP=none it finds
# no program for SFTP.
set -eu
. "${0%/*}/server.sh"

if [ "$1" = stop ]; then
	server_stop "$directory/host_key"
	exit 0
fi

PATH=$PATH:/usr/sbin:/sbin
command -v dropbear >/dev/null && command -v dropbearkey >/dev/null || { echo "no Dropbear" >&2; exit 77; }
[ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null || { echo "Dropbear needs root here" >&2; exit 77; }
[ -e /usr/lib/sftp-server ] || { echo "no sftp-server where Dropbear looks for it" >&2; exit 77; }
login=$directory/login
mkdir -p "$login"
mkdir -p -m 700 "$login/.ssh"
[ -f "$directory/host_key" ] || dropbearkey -t ed25519 -f "$directory/host_key" >"$directory/host_key.out" 2>&1
make_id
cp "$directory/id.pub" "$login/.ssh/authorized_keys"
chmod 600 "$login/.ssh/authorized_keys"

# Mounts of others must not live on in there after their end.
launch() {
	exec unshare -m --propagation private sh -c '
		awk "\$3 ~ /^fuse/ { print \$2 }" /proc/self/mounts | xargs -r umount -l
		mount --bind "$1/login" ~ &&
		{ [ "${SSHD_SFTP:-}" != none ] || mount --bind /dev/null /usr/lib/sftp-server; } &&
		exec dropbear -F -E -s -m -W 1000000 -r "$1/host_key" -p 127.0.0.1:"$2"' sh \
		"$directory" "$port"
}

listens() {
	grep -q 'Not backgrounding' "$directory/log"
}

failed() {
	grep -q 'Failed listening' "$directory/log"
}

public_key() {
	grep '^ssh-' "$directory/host_key.out" | cut -d' ' -f1,2
}

server_start
