# Sourced: which Rust builds plugins on this machine. Two ways, in this order:
# rustup's target wasm32-unknown-unknown, or Debian's rustc-web, which brings the standard library as source only.
# shellcheck shell=bash

debian_rustc=/usr/bin/rustc

guest_target_installed() { [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ]; }

# At least 1.95, the workspace's rust-version.
guest_debian_installed() {
  local version
  [ -x "$debian_rustc" ] || return 1
  version=$("$debian_rustc" --version | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
  [ "${version:-0}" -ge 95 ] && [ -e "$("$debian_rustc" --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}

# Prints what to put in front of PATH so that the linker wasm-component-ld and the wasm-ld it calls are found.
# Both are parts of a Rust toolchain from rustup; they are not on PATH there because rustc finds them by itself.
guest_linker_path() {
  local host bin
  host=$(rustc -vV | sed -n 's/^host: //p')
  bin=$(rustc --print sysroot)/lib/rustlib/$host/bin
  if [ -x "$bin/wasm-component-ld" ] && [ -x "$bin/gcc-ld/wasm-ld" ]; then
    echo "$bin:$bin/gcc-ld"
  elif command -v wasm-component-ld >/dev/null && command -v wasm-ld >/dev/null; then
    echo "${PATH%%:*}"
  else
    return 1
  fi
}

# Prints what cargo needs in its environment to build a plugin outside of this workspace, as NAME=VALUE lines: nothing where rustup's
# target is there.
guest_environment() {
  local linker
  guest_target_installed && return 0
  linker=$(guest_linker_path) || return 1
  echo "PATH=$linker:$PATH"
  echo "RUSTC=$debian_rustc"
  echo "RUSTC_BOOTSTRAP=1"
  echo "CARGO_UNSTABLE_BUILD_STD=std,panic_abort"
  echo "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld"
}
