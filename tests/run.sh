#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/run.sh [ARGUMENT OF meson test]...
#
# Installs what is needed, builds with sanitizers in build-test/, makes a guest image there and
# runs the tests: all of them, or those that the arguments choose ("--suite unit", "values").
# The last line says how many passed, failed and were skipped.
set -eu
cd "$(dirname "$0")/.."
. docs/packages.sh

# shellcheck disable=SC2086
packages_install $packages_build $packages_run $packages_test

build=build-test
if [ ! -f $build/build.ninja ]; then
	rm -rf $build
	meson setup $build -Db_sanitize=address,undefined -Db_lundef=false
fi
ninja -C $build

# Without a guest, the tests that boot one skip and say so.
if sh backends/qemu/mkguest.sh --output $build/guest >$build/guest.log 2>&1; then
	POOLFS_TEST_GUEST=$PWD/$build/guest
	export POOLFS_TEST_GUEST
else
	tail -n 5 $build/guest.log
	echo "There is no guest image: tests that boot one are skipped."
fi

# Undefined behaviour must fail the test that meets it.
: "${UBSAN_OPTIONS:=halt_on_error=1:print_stacktrace=1}"
export UBSAN_OPTIONS

rm -f $build/meson-logs/testlog*.json
status=0
meson test -C $build --no-rebuild --print-errorlogs "$@" || status=$?

# One line of JSON per test; what a test printed is escaped in it and cannot be mistaken.
results=$(cat $build/meson-logs/testlog*.json 2>/dev/null |
	sed -n 's/.*"result": "\([A-Z]*\)".*/\1/p')
count() { printf '%s\n' "$results" | grep -c -x -E "$1" || true; }
passed=$(count 'OK|EXPECTEDFAIL')
skipped=$(count SKIP)
failed=$(count 'FAIL|TIMEOUT|INTERRUPT|ERROR|UNEXPECTEDPASS')
[ "$failed" = 0 ] || status=1
# Arguments that choose no test are a mistake.
[ $((passed + failed + skipped)) -gt 0 ] || status=1
echo "$passed passed, $failed failed, $skipped skipped"
exit $status
