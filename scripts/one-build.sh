#!/usr/bin/env bash
# That programs and tests are built from the same dependencies. Tests bring dependencies of their own, and where one of those wants a further
# feature of a crate that programs use as well, cargo builds that crate and all that rests on it twice: minutes on two cores
# (docs/decisions/0002). The way out is to ask for that feature in the workspace's Cargo.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# features EDGES: each crate of the graph, its version and its features.
features() {
  cargo tree --workspace --locked --edges "$1" --prefix none --format '{p} {f}' | sed 's/ (\*)$//' | sort -u
}

differing=$(comm -23 <(features normal,build) <(features normal,build,dev))
if [[ -n $differing ]]; then
  printf 'built twice, since tests want more features of them than programs:\n%s\n' "$differing" >&2
  printf 'ask for those features in Cargo.toml; cargo tree -e features -i CRATE shows who wants them\n' >&2
  exit 1
fi
printf 'programs and tests are built from the same dependencies\n'
