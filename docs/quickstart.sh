#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh docs/quickstart.sh [--keep]
#
# Builds poolfs, boots a Linux virtual machine with mkdir, runs a command in it, copies a file in
# and out, and takes everything down again. --keep leaves it up and says what to try.
set -eu
cd "$(dirname "$0")/.."
. docs/packages.sh

keep=no
case ${1:-} in
'') ;;
--keep) keep=yes ;;
*)
	echo "usage: sh docs/quickstart.sh [--keep]" >&2
	exit 2
	;;
esac

work=
config=build/quickstart-$$.ini
daemon=
vm=
finished=no

say() { printf '\n== %s\n' "$*"; }

fail() {
	printf 'quickstart: %s\n' "$*" >&2
	exit 1
}

# Shows a command, then runs it in the directory of the pool.
try() {
	printf '$ %s\n' "$*"
	(cd "$work/vm/linux" && sh -c "$*")
}

# Waits until the condition (a command) holds; false when it did not within so many tenths of a second.
await() {
	left=$1
	shift
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || return 1
		sleep 0.1
	done
}

running() { [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; }
mounted() { [ -e "$work/vm/version" ]; }
ended() { ! running; }
mounted_or_ended() { mounted || ended; }

# Says why, as poolfs has it.
explain() {
	if [ -n "$vm" ] && [ -d "$vm" ]; then
		say "What the instance says (error, log):"
		cat "$vm/error" "$vm/log" 2>/dev/null || true
	fi
	if [ -s "$work/log" ]; then
		say "What poolfs says:"
		tail -n 30 "$work/log"
	fi
}

# The processes of the instances, where a daemon that was killed left them.
shims() {
	for file in "$work"/state/*/shim.pid; do
		[ -r "$file" ] || continue
		read -r pid rest <"$file"
		# The number may be another process's by now.
		tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -F "$work/state/" && echo "$pid"
	done
}
no_shims() { [ -z "$(shims)" ]; }

# Takes down what this script started, and nothing else.
take_down() {
	[ -n "$work" ] || return 0
	result=0
	if running; then
		rmdir "$work/vm/linux/demo" 2>/dev/null || true
		fusermount3 -u "$work/vm" 2>/dev/null || fusermount3 -u -z "$work/vm" 2>/dev/null || true
		await 200 ended || kill "$daemon" 2>/dev/null || true
	else
		fusermount3 -u -z "$work/vm" 2>/dev/null || true
	fi
	[ -z "$daemon" ] || wait "$daemon" || result=$?
	daemon=
	for pid in $(shims); do
		kill "$pid" 2>/dev/null || true
	done
	await 100 no_shims || result=1
	# Only an empty directory goes: a mount that is still there keeps its files.
	rmdir "$work/vm" 2>/dev/null && rm -rf "$work"
	rm -f "$config"
	return $result
}

leave() {
	code=$?
	trap - EXIT HUP INT TERM
	if [ $finished = no ]; then
		[ -z "$work" ] || explain || true
		take_down || true
		[ $code != 0 ] || code=1
	fi
	exit $code
}
trap leave EXIT
trap 'exit 130' HUP INT TERM

say "Looking for the packages that poolfs needs"
# shellcheck disable=SC2086
packages_install $packages_build $packages_run
[ -e /dev/fuse ] || fail "there is no /dev/fuse: as root, try \"modprobe fuse\""
[ -w /dev/fuse ] || fail "only root may open /dev/fuse here: run this as root"

say "Building poolfs in build/"
if [ ! -f build/build.ninja ]; then
	rm -rf build
	meson setup build >/dev/null
fi
ninja -C build --quiet

say "Making the guest image in build/guest/ (a kernel, busybox, an SSH server)"
sh backends/qemu/mkguest.sh --output build/guest >build/guest.log 2>&1 || {
	cat build/guest.log >&2
	fail "the guest image could not be made"
}

work=$(mktemp -d "${TMPDIR:-/tmp}/poolfs-quickstart.XXXXXX")
mkdir "$work/vm"
say "Mounting: poolfs config/quickstart.ini $work/vm"
# The same configuration, with a working directory that goes when this script does.
{
	cat config/quickstart.ini
	printf '\n[poolfs]\nworkdir = %s\n' "$work/state"
} >"$config"
# In a session of its own, so that Ctrl-C here leaves the order of the end to this script.
setsid build/poolfs -f "$config" "$work/vm" >"$work/log" 2>&1 &
daemon=$!
await 200 mounted_or_ended && mounted || fail "the mount did not come up"
vm=$work/vm/linux/demo
echo "\$ cd $work/vm/linux"
try ls

say "Booting a virtual machine"
try mkdir demo
try cat demo/ready || fail "the virtual machine did not boot"
echo "(the seconds until the login worked)"

say "Running a command in it"
try "echo 'uname -a; uptime' >demo/cmd"
try cat demo/last/output
try cat demo/last/exit

say "Copying a file in, using it there, copying the result out"
echo "hello from the host" >"$work/hello.txt"
try cp "$work/hello.txt" demo/files/
try mkdir demo/runs/shout
try "echo 'tr a-z A-Z <hello.txt >back.txt' >demo/runs/shout/cmd"
try cat demo/runs/shout/exit
try cp demo/files/back.txt "$work/"
try cat "$work/back.txt"
[ "$(cat "$work/back.txt")" = "HELLO FROM THE HOST" ] || fail "the file came back with other bytes"
cmp "$work/hello.txt" "$vm/files/hello.txt" || fail "the guest's file has other bytes"

say "The end of its console"
# What a guest writes may hold control characters.
try "tail -n 5 demo/console | cat -v"

if [ $keep = yes ]; then
	finished=yes
	cat <<END

== It stays up. Try:
  cd $work/vm/linux
  cat ../README ../status demo/status
  echo 'dmesg | tail -n 3' >demo/cmd; cat demo/last/output
  tail -f demo/console
  mkdir second; cat second/ready
To end it, with all its machines:
  cd /; fusermount3 -u $work/vm
  rmdir $work/vm && rm -r $work $PWD/$config
END
	exit 0
fi

say "Taking it down"
try rmdir demo
echo "\$ fusermount3 -u $work/vm"
take_down || fail "poolfs did not end as it should"
finished=yes
say "Done. Read on in README.md and docs/FILESYSTEM.md; \"sh docs/quickstart.sh --keep\" leaves it up."
