# SPDX-License-Identifier: MIT
# What sshd.sh and dropbear.sh share; they source it. Both know these verbs:
#
#   start DIRECTORY [CONFIG-LINE...]
#   stop DIRECTORY
#
# start makes in DIRECTORY what is missing: host_key (Ed25519) and id (a client's key, Ed25519);
# further known_hosts, and what the server itself needs. It waits until the server listens on
# 127.0.0.1 and a port of its own and prints "PORT PID"; the same stand in DIRECTORY/port and
# DIRECTORY/pid. With SSHD_PORT set it listens there, or fails. DIRECTORY/log is the server's log.
#
# Exit status 77: this machine cannot do that.

directory=${2:?directory}
case $directory in /*) ;; *) directory=$PWD/$directory ;; esac

# Whether the process of the pid file is still the server that was started here: $1 stands in its
# command line.
ours() {
	[ -f "$directory/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$directory/pid")/cmdline" |
		grep -qF "$1"
}

# The verb stop, for a server with $1 in its command line.
server_stop() {
	if ours "$1"; then
		pid=$(cat "$directory/pid")
		kill "$pid" 2>/dev/null || true
		while ours "$1" && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
	fi
	rm -f "$directory/pid" "$directory/port"
}

# The client's key.
make_id() {
	[ -f "$directory/id" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$directory/id"
}

# Below the range that the kernel gives to clients.
random_port() {
	awk -v seed="$(od -An -N4 -tu4 /dev/urandom)" 'BEGIN { srand(seed % 2147483647); print 10240 + int(rand() * 22000) }'
}

# Starts the server by the function `launch` (becomes it, on $port) and waits until `listens` says so or
# `failed` does. `public_key` prints the type and the key of the host.
server_start() {
	for try in 1 2 3 4 5 6 7 8; do
		port=${SSHD_PORT:-$(random_port)}
		: >"$directory/log"
		launch "$@" </dev/null >>"$directory/log" 2>&1 &
		pid=$!
		while ! listens && ! failed && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
		if ! failed && kill -0 "$pid" 2>/dev/null; then
			echo "$port" >"$directory/port"
			echo "$pid" >"$directory/pid"
			echo "[127.0.0.1]:$port $(public_key)" >"$directory/known_hosts"
			echo "$port $pid"
			exit 0
		fi
		kill "$pid" 2>/dev/null || true
		[ -z "${SSHD_PORT:-}" ] || break
	done
	cat "$directory/log" >&2
	exit 1
}
