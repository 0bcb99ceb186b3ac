#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a command in an instance as if it ran here: its output comes as it is written, its exit
# status is ours, and Control-C stops it there too.
#
#   sh run.sh /tmp/vm/linux/a 'make check'
#
# To use the function elsewhere, copy it.

# run_in INSTANCE COMMAND
run_in() (
	# A directory for the run, with a name that nobody else has.
	run=$1/runs/run-$(uname -n)-$$
	mkdir "$run" || exit 255
	# Whatever happens, the run does not outlive us: rmdir stops it and forgets it.
	trap 'rmdir "$run"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM

	# Writing the command starts it. Closing stdin tells it that there is no input.
	printf '%s\n' "$2" >"$run/cmd" || exit 255
	: >"$run/stdin"

	# Both end with the command. In the background, as a shell heeds signals in `wait` only.
	cat "$run/stdout" &
	cat "$run/stderr" >&2 &
	wait
	exit "$(cat "$run/exit")"
)

if [ $# != 2 ]; then
	echo "usage: run.sh INSTANCE COMMAND" >&2
	exit 255
fi
run_in "$1" "$2"
