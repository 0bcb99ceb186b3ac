#!/bin/sh
# SPDX-License-Identifier: MIT
#
# files.sh TOP: whether every file and verb in the tables of fs/ has its entry in
# docs/FILESYSTEM.md, and every entry there its file.
set -eu
cd "$1"
document=docs/FILESYSTEM.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Tables: { .name = "state", .mode = ... }
cat fs/*.c | sed -n 's/^.*{ \.name = "\([^"]*\)", \.mode.*$/\1/p' | sort -u >"$work/tables"
# Entries: ### `stdout`, `stderr` (0400); directories of names that users choose have capitals.
sed -n 's/^### //p' $document | grep -o '`[^`]*`' | tr -d '`' | sed 's,^POOL/,,; s,/$,,' |
	grep -v -x -e '' -e NAME | sort -u >"$work/entries"
[ -s "$work/tables" ] || { echo "no tables found in fs/"; exit 1; }
if ! diff "$work/tables" "$work/entries" >"$work/difference"; then
	sed -n 's/^< /not in FILESYSTEM.md: /p; s/^> /not in a table: /p' "$work/difference"
	exit 1
fi

# Verbs: control_is_word(data, size, "stop"), and the table of ctl.c: { "stop", ...
for verb in $(cat fs/*.c | sed -n 's/^.*control_is_word([^"]*"\([a-z]*\)").*$/\1/p' | sort -u) \
	$(sed -n 's/^\t{ "\([a-z]*\)", .*take_.*$/\1/p' fs/ctl.c); do
	grep -q "^| \`$verb[\` ]" $document || { echo "verb $verb not in FILESYSTEM.md"; exit 1; }
done
