#!/bin/sh
# SPDX-License-Identifier: MIT
# A kind of machine for poolfs(8): a directory with BusyBox in it, entered by chroot(8). One script is
# all of the programs that poolfs-exec(5) describes; by POOLFS_PROGRAM it knows which.
#
#	[pool box]
#	type = exec
#	create = /usr/share/doc/poolfs/examples/exec-chroot.sh
#	run = /usr/share/doc/poolfs/examples/exec-chroot.sh
#	push = /usr/share/doc/poolfs/examples/exec-chroot.sh
#	pull = /usr/share/doc/poolfs/examples/exec-chroot.sh
#	destroy = /usr/share/doc/poolfs/examples/exec-chroot.sh
#	ctl.clean = /usr/share/doc/poolfs/examples/exec-chroot.sh
#	files = /root
#
# chroot hides files and nothing else: no machine for what is not trusted. Users other than root need
# unshare(1) and user namespaces.
set -eu
root=$POOLFS_DIRECTORY/root
unshare=
[ "$(id -u)" = 0 ] || unshare='unshare -r'

case $POOLFS_PROGRAM in
create)
	busybox=$(command -v busybox) || { echo "busybox is not installed" >&2; exit 1; }
	mkdir -p "$root/bin" "$root/dev" "$root/root" "$root/tmp"
	# A shell gives it to what runs in the background. Devices are for root to make.
	mknod -m 0666 "$root/dev/null" c 1 3 2>/dev/null || : >"$root/dev/null"
	cp "$busybox" "$root/bin/busybox"
	# With its libraries, where it has any.
	for library in $(ldd "$busybox" 2>/dev/null | grep -o '/[^ ]*'); do
		mkdir -p "$root${library%/*}" && cp "$library" "$root$library"
	done
	$unshare chroot "$root" /bin/busybox --install -s /bin
	echo "root $root"
	;;
run)
	# The command is one word: whatever is in it, no shell on the host looks at it.
	exec $unshare chroot "$root" /bin/env -i PATH=/bin HOME=/root TERM="${TERM-dumb}" /bin/sh -c "$1"
	;;
push)
	# The path is a word of its own, too, and begins with a slash.
	exec $unshare chroot "$root" /bin/sh -c '/bin/cat >"$1"' sh "$1"
	;;
pull)
	exec $unshare chroot "$root" /bin/cat "$1"
	;;
ctl.clean)
	rm -rf "$root/tmp" && mkdir "$root/tmp"
	;;
destroy)
	rm -rf "$root"
	;;
esac
