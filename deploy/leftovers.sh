#!/usr/bin/env bash
# leftovers.sh COMMAND…: runs it with a directory of its own for temporary files, and fails when it leaves any there.
set -euo pipefail

dir=$(mktemp -d /tmp/kt.XXXXXX) # short: the path of a socket has 107 bytes at most
trap 'rm -rf "$dir"' EXIT
status=0
TMPDIR=$dir "$@" || status=$?
left=$(find "$dir" -mindepth 1 | wc -l)
if ((left > 0)); then
  echo "$left files and directories are left in the temporary directory; whoever makes one removes it (t.TempDir does):" >&2
  (cd "$dir" && find . -mindepth 1 | sort | head -20) >&2 || true
  ((status != 0)) || status=1
fi
exit "$status"
