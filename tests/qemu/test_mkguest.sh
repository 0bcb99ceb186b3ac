#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_mkguest.sh SCRIPT: what mkguest.sh says without making anything.
set -eu
script=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "$*"
	cat "$work/said"
	exit 1
}

# refuses TEXT ARGUMENT...: it must fail, and say this.
refuses() {
	text=$1
	shift
	if sh "$script" "$@" >"$work/said" 2>&1; then fail "it takes $*"; fi
	grep -q -e "$text" "$work/said" || fail "it does not say '$text' to $*"
}

sh "$script" --help >"$work/said"
for option in --arch --kernel --modules --module --output --force --help; do
	grep -q -e "^  $option " "$work/said" || fail "--help does not tell of $option"
done
refuses 'unknown argument --nonsense' --nonsense
refuses '--kernel needs a value' --kernel
refuses 'cannot make a guest for vax' --arch vax --output "$work/guest"
refuses 'cannot read the kernel /nonexistent' --kernel /nonexistent --output "$work/guest"
[ ! -e "$work/guest/initrd.img" ] || fail 'a failure left an image behind'

# What is there is not made again.
[ -n "${POOLFS_TEST_GUEST:-}" ] || exit 0
mkdir -p "$work/copy"
cp -R "$POOLFS_TEST_GUEST/." "$work/copy"
sh "$script" --output "$work/copy" >"$work/said" 2>&1 || fail 'it fails where all is there'
if ! grep -q 'everything is there already' "$work/said"; then
	grep -q 'packing' "$work/said" || fail 'it neither makes the image nor finds it'
fi
cmp -s "$POOLFS_TEST_GUEST/id_ed25519" "$work/copy/id_ed25519" || fail 'it changes the key pair'
