# Tasks. Run them through ./dev, which first installs what a task needs and this machine lacks.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

# One Cargo profile for everything, so that nothing is built twice: docs/decisions/0002-one-profile-and-tools.md
target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
with_servers := target / "release/tidegate-services exec --"

_default:
    @./dev --help

# Runs the pipeline of examples/demo on a real MongoDB and Redis of its own, and swaps a plugin meanwhile
demo *ARGS: plugins _programs
    @{{ with_servers }} {{ target }}/release/tidegate-demo "$@"

# Runs all tests against one real MongoDB and Redis; ARGS go to cargo nextest (a test's name, -p CRATE)
test *ARGS: plugins guests
    @{{ with_servers }} cargo nextest run --release --workspace "$@"
    @cargo test --quiet --release --workspace --doc

# Everything a change must pass, with the seconds of each step
ci:
    @scripts/ci.sh

# End-to-end benchmark on servers of its own; ARGS go to tidegate-bench (redis, mirror and pubsub are others)
bench *ARGS: plugins _programs
    @{{ target }}/release/tidegate-services exec --bench {{ if ARGS =~ '^pubsub' { "--emulators" } else { "" } }} -- {{ target }}/release/tidegate-bench "$@"

# The proof by killing: hundreds of kills and faults into Redis and MongoDB, then every change is looked for; ARGS go to tidegate-chaos
chaos *ARGS: plugins _programs
    @{{ target }}/release/tidegate-chaos "$@"

# Fuzzes the plugin boundary, the configuration and the decoders, SECONDS each (600); TARGETS: plugin, bson, lines, config, all of them
fuzz SECONDS="600" *TARGETS:
    @scripts/fuzz.sh "$@"

# Formats all Rust code
fmt *ARGS:
    @cargo fmt --all "$@"

# Lints all Rust code; a warning is an error
check *ARGS:
    @cargo clippy --release --workspace --all-targets "$@" -- -D warnings

# Checks the licences, the sources and the doubles of all dependencies
deny:
    @cargo deny --log-level error check --hide-inclusion-graph bans licenses sources

# Lints the Containerfile and the files of examples/deploy
lint-deploy:
    @scripts/lint-deploy.sh

# Builds every plugin (or those named) into target/plugins/NAME.wasm
plugins *NAMES:
    @scripts/plugins.sh "$@"

# Builds the plugins in other languages than Rust into target/plugins, with tidegate itself
guests: _programs
    @scripts/guests.sh

# Starts MongoDB, Redis and the emulators for working by hand; Ctrl-C stops them
services *ARGS:
    @cargo build --quiet --release --workspace --bins
    @{{ target }}/release/tidegate-services "$@"

# What tests and demo run: the host, and the programs beside it. Of the whole workspace, since cargo builds dependencies with the
# features that the chosen packages want, and another choice would build them a second time.
_programs:
    @cargo build --release --workspace --bins
