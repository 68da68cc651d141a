# Recipes for people and for CI. `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default:
    @just --list --unsorted

# Run a scenario by name or path: just run rolling-update [--set PATH=VALUE ...]
[group('use')]
run SCENARIO *ARGS:
    cargo run --release --quiet -- run {{ SCENARIO }} {{ ARGS }}

# All that CI runs, in its order
[group('check')]
ci: fmt lint docs deny test

# Formatting
[group('check')]
fmt:
    cargo fmt --all --check

# Lints, warnings denied
[group('check')]
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# API documentation, warnings denied
[group('check')]
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# Licences, sources, bans (needs cargo-deny: `just tools`)
[group('check')]
deny:
    cargo deny --locked check licenses bans sources

# Known vulnerabilities (needs the network)
[group('check')]
advisories:
    cargo deny --locked check advisories

# The tests: the command of the README
[group('check')]
test:
    cargo test --workspace --locked

# Write the golden files again, to be reviewed as a diff
[group('check')]
golden:
    UPDATE_GOLDEN=1 cargo test --workspace --locked golden

# Each wrong behaviour ten times on both paths: found in at least nine, and only it (20 minutes)
[group('long')]
matrix TIMES="10":
    HIGHWATER_REPEAT={{ TIMES }} cargo test --locked -p highwater --test local is_found_and_nothing_else -- --test-threads 4

# The correct service in 112 transitions on each of the four paths: nothing lost (6 minutes)
[group('long')]
transitions:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release --quiet
    for kind in l4 l7; do
        for keep in true false; do
            echo "path $kind, keep-alive $keep"
            ./target/release/highwater run transitions --set path.kind=$kind \
                --set traffic.keepAlive=$keep --set path.keepAlive=$keep
        done
    done

# What the other recipes need
[group('tools')]
tools:
    cargo install --locked cargo-deny
