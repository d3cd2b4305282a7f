#!/usr/bin/env bash
# fuzz.sh SECONDS [TARGET...]: runs fuzz targets one after the other, from the seeds and from what earlier runs found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=$1
shift
[ $# -gt 0 ] || set -- plugin bson lines config
for target in "$@"; do
  mkdir -p "fuzz/corpus/$target"
  # Without the address sanitizer: all of it is safe Rust, and the sanitizer and WebAssembly's guard pages both want the signals.
  cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
