#!/bin/sh
# SPDX-License-Identifier: MIT
# Starts an OpenSSH server for tests, on 127.0.0.1 and a port of its own, as any user.
#
#   sshd.sh start DIRECTORY [CONFIG-LINE...]
#   sshd.sh stop DIRECTORY
#
# start makes in DIRECTORY what is missing: host_key (Ed25519), id (a client's key, Ed25519),
# authorized_keys, sshd_config and known_hosts. A host_key or authorized_keys that is there is
# used. CONFIG-LINEs go first into the configuration ("MaxSessions 3"). It waits until the
# server listens and prints "PORT PID"; the same stand in DIRECTORY/port and DIRECTORY/pid.
# With SSHD_PORT set it listens there, or fails. SSHD_SFTP is the program for SFTP in place of the
# server's own, or "none". DIRECTORY/log is the server's log.
#
# Exit status 77: there is no OpenSSH server on this machine.
set -eu

directory=${2:?directory}
case $directory in /*) ;; *) directory=$PWD/$directory ;; esac

# Whether the process of the pid file is still the server that was started here.
ours() {
	[ -f "$directory/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$directory/pid")/cmdline" |
		grep -qF "$directory/sshd_config"
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

sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || { echo "no sshd here" >&2; exit 77; }
shift 2
mkdir -p "$directory"
[ -f "$directory/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C host -f "$directory/host_key"
[ -f "$directory/id" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$directory/id"
[ -f "$directory/authorized_keys" ] || cp "$directory/id.pub" "$directory/authorized_keys"
# The server refuses to start as root without its empty directory.
[ "$(id -u)" != 0 ] || mkdir -p -m 0755 /run/sshd

# Below the range that the kernel gives to clients.
random_port() {
	awk -v seed="$(od -An -N4 -tu4 /dev/urandom)" 'BEGIN { srand(seed % 2147483647); print 10240 + int(rand() * 22000) }'
}

write_config() {
	for line; do echo "$line"; done
	cat <<-END
	Port $port
	ListenAddress 127.0.0.1
	HostKey "$directory/host_key"
	AuthorizedKeysFile "$directory/authorized_keys"
	PidFile none
	StrictModes no
	UsePAM no
	UseDNS no
	# bash reads ~/.bashrc for a command by SSH, unless it is not the first shell.
	SetEnv SHLVL=2
	PasswordAuthentication no
	PermitRootLogin prohibit-password
	AcceptEnv LC_*
	END
	[ "${SSHD_SFTP:-}" = none ] || echo "Subsystem sftp ${SSHD_SFTP:-internal-sftp}"
}

listens() {
	grep -q "Server listening on 127.0.0.1 port $port" "$directory/log"
}

for try in 1 2 3 4 5 6 7 8; do
	port=${SSHD_PORT:-$(random_port)}
	write_config "$@" >"$directory/sshd_config"
	: >"$directory/log"
	"$sshd" -D -f "$directory/sshd_config" -E "$directory/log" </dev/null >/dev/null 2>&1 &
	pid=$!
	while ! listens && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
	if listens && kill -0 "$pid" 2>/dev/null; then
		echo "$port" >"$directory/port"
		echo "$pid" >"$directory/pid"
		echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$directory/host_key.pub")" >"$directory/known_hosts"
		echo "$port $pid"
		exit 0
	fi
	[ -z "${SSHD_PORT:-}" ] || break
done
cat "$directory/log" >&2
exit 1
