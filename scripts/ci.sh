#!/usr/bin/env bash
# What ./dev ci runs. Cheap steps first; the first that fails ends the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# step TITLE COMMAND...: a heading, the command, and the seconds it took.
step() {
  local title=$1 started=$SECONDS
  shift
  printf '\n=== %s\n' "$title"
  "$@" || {
    printf '=== %s: failed after %d s\n' "$title" $((SECONDS - started)) >&2
    exit 1
  }
  printf '=== %s: %d s\n' "$title" $((SECONDS - started))
}

services=${CARGO_TARGET_DIR:-target}/release/tidegate-services

step "format" cargo fmt --all --check
step "licences and sources of dependencies" just deny
step "one build of dependencies" scripts/one-build.sh
step "lock file of the fuzz targets" cargo update --workspace --locked --quiet --manifest-path fuzz/Cargo.toml
step "files to deploy with" just lint-deploy
step "lint" just check
step "plugins" just plugins
step "programs" just _programs
step "plugins in other languages" just guests
step "commands of the README" scripts/readme-commands.sh
step "documentation tests" cargo test --quiet --release --workspace --doc
# Last, so that the count of tests is what a reader of the log sees at its end.
step "tests" "$services" exec -- cargo nextest run --release --workspace --profile ci
