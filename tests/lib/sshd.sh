#!/bin/sh
# SPDX-License-Identifier: MIT
# Starts an OpenSSH server for tests, as any user; server.sh tells the verbs.
#
# authorized_keys and sshd_config are made, too; a host_key or authorized_keys that is there is used.
# CONFIG-LINEs go first into the configuration ("MaxSessions 3"). SSHD_SFTP is the program for
# SFTP in place of the server's own, or "none".
set -eu
. "${0%/*}/server.sh"

if [ "$1" = stop ]; then
	server_stop "$directory/sshd_config"
	exit 0
fi

sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || { echo "no sshd here" >&2; exit 77; }
shift 2
mkdir -p "$directory"
[ -f "$directory/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C host -f "$directory/host_key"
make_id
[ -f "$directory/authorized_keys" ] || cp "$directory/id.pub" "$directory/authorized_keys"
# The server refuses to start as root without its empty directory.
[ "$(id -u)" != 0 ] || mkdir -p -m 0755 /run/sshd

# Of several lines SetEnv, sshd takes the first. bash reads ~/.bashrc for a command by SSH, unless it is not
# the first shell.
write_config() {
	environment="SetEnv SHLVL=2"
	for line; do
		case $line in
		"SetEnv "*) environment="$environment ${line#SetEnv }" ;;
		*) echo "$line" ;;
		esac
	done
	cat <<-END
	Port $port
	ListenAddress 127.0.0.1
	HostKey "$directory/host_key"
	AuthorizedKeysFile "$directory/authorized_keys"
	PidFile none
	StrictModes no
	UsePAM no
	UseDNS no
	$environment
	PasswordAuthentication no
	PermitRootLogin prohibit-password
	AcceptEnv LC_*
	END
	[ "${SSHD_SFTP:-}" = none ] || echo "Subsystem sftp ${SSHD_SFTP:-internal-sftp}"
}

launch() {
	write_config "$@" >"$directory/sshd_config"
	exec "$sshd" -D -f "$directory/sshd_config" -E "$directory/log"
}

listens() {
	grep -q "Server listening on 127.0.0.1 port $port" "$directory/log"
}

# A server that cannot listen ends.
failed() {
	false
}

public_key() {
	cut -d' ' -f1,2 "$directory/host_key.pub"
}

server_start "$@"
