#!/bin/sh
# SPDX-License-Identifier: MIT
# Starts a Dropbear server for tests, as tests/lib/sshd.sh does an OpenSSH server: the same verbs,
# files and output; configuration lines are not known. It reads the login's home, so it gets a mount
# namespace with another one, which needs root.
#
#   dropbear.sh start DIRECTORY
#   dropbear.sh stop DIRECTORY
#
# Exit status 77: this machine cannot do that.
set -eu

directory=${2:?directory}

# Whether the process of the pid file is still the server that was started here.
ours() {
	[ -f "$directory/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$directory/pid")/cmdline" |
		grep -qF "$directory/host_key"
}

if [ "$1" = stop ]; then
	if ours; then
		pid=$(cat "$directory/pid")
		kill "$pid" 2>/dev/null || true
		while ours && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
	fi
	rm -f "$directory/pid" "$directory/port"
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
[ -f "$directory/id" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$directory/id"
cp "$directory/id.pub" "$login/.ssh/authorized_keys"
chmod 600 "$login/.ssh/authorized_keys"

# Below the range that the kernel gives to clients.
random_port() {
	awk -v seed="$(od -An -N4 -tu4 /dev/urandom)" 'BEGIN { srand(seed); print 10240 + int(rand() * 22000) }'
}

for try in 1 2 3 4 5 6 7 8; do
	port=${SSHD_PORT:-$(random_port)}
	: >"$directory/log"
	# Mounts of others must not live on in there after their end.
	unshare -m --propagation private sh -c '
		awk "\$3 ~ /^fuse/ { print \$2 }" /proc/self/mounts | xargs -r umount -l
		mount --bind "$1/login" ~ &&
		exec dropbear -F -E -s -m -W 1000000 -r "$1/host_key" -p 127.0.0.1:"$2"' sh \
		"$directory" "$port" </dev/null >"$directory/log" 2>&1 &
	pid=$!
	while ! grep -q 'Not backgrounding\|Failed listening' "$directory/log" &&
		kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
	if kill -0 "$pid" 2>/dev/null && ! grep -q 'Failed listening' "$directory/log"; then
		echo "$port" >"$directory/port"
		echo "$pid" >"$directory/pid"
		echo "[127.0.0.1]:$port $(grep '^ssh-' "$directory/host_key.out" | cut -d' ' -f1,2)" \
			>"$directory/known_hosts"
		echo "$port $pid"
		exit 0
	fi
	kill "$pid" 2>/dev/null || true
	[ -z "${SSHD_PORT:-}" ] || break
done
cat "$directory/log" >&2
exit 1
