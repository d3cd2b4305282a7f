#!/usr/bin/env bash
# scripts/guests.sh: builds the plugins of this repository that are not in Rust (plugins/*/*/plugin.yaml) into target/plugins/NAME.wasm, with
# `tidegate plugin build`, as a person would. One whose sources are those of the last build is left as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
mkdir -p "$target/plugins" "$target/guest-stamps"

for file in plugins/*/*/plugin.yaml; do
  folder=$(dirname "$file")
  name=$(sed -n 's/^name: *//p' "$file")
  language=$(sed -n 's/^language: *//p' "$file")
  # TypeScript has the SDK of JavaScript.
  sources=("$folder" "plugins/sdk/${language/#ts/js}" wit)
  stamp=$(find "${sources[@]}" -type f -not -path '*/build/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
  if [ -f "$target/plugins/$name.wasm" ] && [ "$(cat "$target/guest-stamps/$name" 2>/dev/null)" = "$stamp" ]; then
    continue
  fi
  "$target/release/tidegate" plugin build "$folder" --out "$target/plugins/$name.wasm"
  echo "$stamp" >"$target/guest-stamps/$name"
done
