#!/bin/sh
# SPDX-License-Identifier: MIT
#
# manuals.sh POOLFS MANUAL...: whether the manuals are well-formed, and every option of the
# program's --help stands in poolfs(8).
set -eu
poolfs=$1
shift
command -v mandoc >/dev/null || { echo "mandoc is not installed"; exit 77; }
mandoc -Tlint -W warning "$@"
for manual; do
	case $manual in *.8) break ;; esac
done
text=$(mandoc -Tascii "$manual" | sed 's/.\x08//g')
status=0
for option in $("$poolfs" --help | grep -o -E -- '(^|[[ ,])--?[a-z][a-z-]*' |
	tr -d '[ ,' | sort -u); do
	printf '%s\n' "$text" | grep -q -e "$option" || {
		echo "poolfs(8) lacks $option"
		status=1
	}
done
exit $status
