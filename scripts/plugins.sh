#!/usr/bin/env bash
# scripts/plugins.sh [PACKAGE...]: builds plugins of this workspace as WebAssembly components into target/plugins/PACKAGE.wasm.
# Without names: every package under plugins/ that is a cdylib.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/guest.sh
source scripts/guest.sh

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
packages=("$@")
if [ ${#packages[@]} = 0 ]; then
  for manifest in plugins/*/Cargo.toml plugins/*/*/Cargo.toml; do
    if grep -q cdylib "$manifest"; then
      packages+=("$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)")
    fi
  done
fi
if [ ${#packages[@]} = 0 ]; then
  echo "plugins: no package under plugins/ is a cdylib" >&2
  exit 1
fi

# Copies inside a guest are one instruction of the engine instead of a loop: 15 % less time in the inventory plugins.
# The linker makes a component of what wit-bindgen left in the module: no further tool. Paths of this machine are cut off
# the messages of panics, so that the same source gives the same bytes everywhere and leaks nothing.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
# A plugin has no randomness but what it is granted: a dependency that asks the crate getrandom gets what the SDK defines for those
# that ask for its feature constant-randomness.
flags=(-Clinker=wasm-component-ld -Clinker-flavor=wasm-ld -Ctarget-feature=+bulk-memory '--cfg=getrandom_backend="custom"'
  "--remap-path-prefix=$PWD=." "--remap-path-prefix=$cargo_home/registry/src=registry")
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
linker=$(guest_linker_path) || {
  echo "plugins: this Rust toolchain has no wasm-component-ld: run ./dev plugins, which installs one" >&2
  exit 1
}
PATH=$linker:$PATH
export CARGO_ENCODED_RUSTFLAGS PATH

build=(cargo build --profile plugin --target wasm32-unknown-unknown --target-dir "$target/guest")
for package in "${packages[@]}"; do build+=(--package "$package"); done
if ! guest_target_installed; then
  guest_debian_installed || {
    echo "plugins: no Rust for wasm32-unknown-unknown on this machine: run ./dev plugins, which installs one" >&2
    exit 1
  }
  # Building the standard library along is an unstable option: allowed for these guests alone.
  export RUSTC=$debian_rustc RUSTC_BOOTSTRAP=1
  build+=("-Zbuild-std=std,panic_abort")
fi
"${build[@]}"

# A tidegate that runs watches this folder: a file there appears whole (a rename), and is touched only when it is another.
mkdir -p "$target/plugins"
for package in "${packages[@]}"; do
  built=$target/guest/wasm32-unknown-unknown/plugin/${package//-/_}.wasm
  placed=$target/plugins/$package.wasm
  if ! cmp -s "$built" "$placed"; then
    temporary=$(mktemp "$target/plugins/.$package.XXXXXX")
    cat "$built" >"$temporary"
    chmod 644 "$temporary"
    mv -f "$temporary" "$placed"
    echo "plugins: $package.wasm ($(($(wc -c <"$placed") / 1024)) KiB)"
  fi
done
