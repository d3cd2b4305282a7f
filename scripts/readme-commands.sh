#!/usr/bin/env bash
# Every `./dev TASK` and `tidegate COMMAND` in the code blocks of README.md and of the examples' own must exist.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v just >/dev/null || {
  echo "readme-commands: just is not on PATH: run this through ./dev ci" >&2
  exit 1
}
if ! [ -f README.md ]; then
  echo "README.md is missing" >&2
  exit 1
fi

# The lines inside fenced blocks, without a prompt.
lines=$(awk '/^ *```/ { inside = !inside; next } inside' README.md examples/*/README.md | sed 's/^ *\$ //')
tidegate=${CARGO_TARGET_DIR:-target}/release/tidegate
failed=0
checked=0

fail() {
  echo "README.md, examples: $*" >&2
  failed=1
}

while read -r task; do
  checked=$((checked + 1))
  just --show "$task" >/dev/null 2>&1 || fail "./dev $task: the justfile has no such task"
done < <(grep -oE '(^|[ ;&|])\./dev [a-z][a-z-]*' <<<"$lines" | awk '{ print $NF }' | sort -u)

# Up to two words, for commands such as `tidegate plugin inspect`: the longer is tried only where the first takes subcommands.
while read -r first second; do
  checked=$((checked + 1))
  if ! "$tidegate" "$first" --help >/dev/null 2>&1; then
    fail "tidegate $first: the program has no such command"
  elif [ -n "$second" ] && "$tidegate" "$first" --help | grep -q '^Commands:' && ! "$tidegate" "$first" "$second" --help >/dev/null 2>&1; then
    fail "tidegate $first $second: the program has no such command"
  fi
done < <(grep -oE '(^|[ ;&|/])tidegate [a-z][a-z-]*( [a-z][a-z-]*)?' <<<"$lines" | sed 's/.*tidegate //' | sort -u)

if [ $checked = 0 ]; then fail "no command found in its code blocks"; fi
if [ $failed = 0 ]; then echo "$checked commands exist"; fi
exit $failed
