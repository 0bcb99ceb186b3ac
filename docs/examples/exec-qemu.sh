#!/bin/sh
# SPDX-License-Identifier: MIT
# A kind of machine for poolfs(8): a virtual machine, started by hand, reached by SSH. (poolfs has a kind
# qemu, which does far more; this shows how poolfs-exec(5) works with an address.)
#
#	[pool vm]
#	type = exec
#	create = /usr/share/doc/poolfs/examples/exec-qemu.sh
#	address = /usr/share/doc/poolfs/examples/exec-qemu.sh
#	wait = /usr/share/doc/poolfs/examples/exec-qemu.sh
#	console = /usr/share/doc/poolfs/examples/exec-qemu.sh
#	destroy = /usr/share/doc/poolfs/examples/exec-qemu.sh
#	ctl.pause = /usr/share/doc/poolfs/examples/exec-qemu.sh
#	ctl.resume = /usr/share/doc/poolfs/examples/exec-qemu.sh
#	env.GUEST = /var/lib/poolfs/guest
#	ssh_key = /var/lib/poolfs/guest/id_ed25519
#
# GUEST has what mkguest.sh makes: kernel and initrd.img. With env.ACCEL = kvm it is quicker by far.
set -eu
: "${QEMU:=qemu-system-$(uname -m)}" "${ACCEL:=tcg}"

case $POOLFS_PROGRAM in
create)
	mkfifo console.in console.out
	# A port that somebody has already is a reason to try the next.
	for port in $(shuf -i 20000-29999 -n 5); do
		"$QEMU" -nodefaults -display none -no-reboot -machine q35 -cpu max -accel "$ACCEL" -m 256 \
			-kernel "$GUEST/kernel" -initrd "$GUEST/initrd.img" -append 'console=ttyS0 panic=-1' \
			-netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" \
			-device virtio-net-pci,netdev=net -device virtio-rng-pci \
			-chardev pipe,id=console,path=console -serial chardev:console \
			-pidfile pid -daemonize || { rm -f pid; continue; }
		echo "root@127.0.0.1:$port" >address
		echo "pid $(cat pid)"
		exit 0
	done
	exit 1
	;;
address)
	cat address
	;;
wait)
	exec tail --pid="$(cat pid)" -f /dev/null
	;;
console)
	cat console.out &
	exec cat >console.in
	;;
ctl.pause)
	kill -STOP "$(cat pid)"
	;;
ctl.resume)
	kill -CONT "$(cat pid)"
	;;
destroy)
	if [ -s pid ] && kill -KILL "$(cat pid)"; then
		exec tail --pid="$(cat pid)" -f /dev/null
	fi
	;;
esac
