# Recipes for people and for CI. `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]

# The kind cluster's name, as in deploy/kind.yaml
cluster := "highwater"
archive := "target/highwater-image.tar"

[private]
default:
    @just --list --unsorted

# On the cluster of `just kind-up` if it is there, else on local processes, unless --backend chooses.
#
# Run a scenario by name or path: just run rolling-update [--set PATH=VALUE ...]
[group('use')]
[no-exit-message]
[positional-arguments]
run SCENARIO *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    scenario=$1; shift
    named=" $* "; named=${named//=/ }
    where=() build=()
    if [[ $named != *" --backend "* ]]; then
        clusters=$(kind get clusters 2>/dev/null || true)
        if grep -qx {{ cluster }} <<<"$clusters"; then
            where=(--backend kube)
            [[ $named == *" --context "* ]] || where+=(--context kind-{{ cluster }})
            if [ "$(uname -s)" = Linux ]; then
                # The build that is in the image, so that nothing is built twice.
                build=(--target "$(rustc -vV | sed -n 's/^host: //p')")
                export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
            fi
        else
            where=(--because "no kind cluster named {{ cluster }}: running on local processes")
        fi
    fi
    exec cargo run --release --quiet --locked ${build[@]+"${build[@]}"} -- run "$scenario" ${where[@]+"${where[@]}"} "$@"

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

# Sancov is a pass that the stable compiler has, and safe code needs no sanitizer of memory. Each
# input that breaks something is left in fuzz/artifacts/.
#
# Fuzz each parser for so many seconds, beginning with its corpus
[group('check')]
fuzz SECONDS="60" *TARGETS:
    #!/usr/bin/env bash
    set -euo pipefail
    host=$(rustc -vV | sed -n 's/^host: //p')
    export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
        -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    # A target of its own by name, so that build scripts and macros are built without those flags.
    export CARGO_TARGET_DIR={{ justfile_directory() }}/target/fuzz
    cargo build --release --locked --manifest-path fuzz/Cargo.toml --target "$host"
    targets=({{ TARGETS }})
    [ ${#targets[@]} -gt 0 ] || targets=($(ls fuzz/corpus))
    for target in "${targets[@]}"; do
        mkdir -p "fuzz/artifacts/$target" "target/fuzz/corpus/$target"
        # What is found new goes into the first folder, not into the repository.
        "target/fuzz/$host/release/$target" -max_total_time={{ SECONDS }} -timeout=20 -max_len=65536 -rss_limit_mb=4096 \
            -artifact_prefix="fuzz/artifacts/$target/" "target/fuzz/corpus/$target" "fuzz/corpus/$target"
    done

# The tests that need a cluster, on the one that KUBECONFIG names; kind gets the images, others must have them
[group('check')]
test-cluster *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    context=$(kubectl config current-context) || { echo "test-cluster: no cluster: set KUBECONFIG, or run just kind-up" >&2; exit 1; }
    if [[ $context == kind-* ]] && kind get clusters 2>/dev/null | grep -qx "${context#kind-}"; then
        just image
        kind load image-archive {{ archive }} --name "${context#kind-}"
    fi
    cargo test --locked -p highwater --test cluster -- --ignored --test-threads 2 {{ ARGS }}

# Write the golden files again, to be reviewed as a diff
[group('check')]
golden:
    UPDATE_GOLDEN=1 cargo test --workspace --locked golden

# Each anti-pattern so often on both paths: found each time, and only it; done right, nothing (20 minutes)
[group('long')]
matrix TIMES="5":
    HIGHWATER_REPEAT={{ TIMES }} cargo test --locked -p highwater --test matrix

# Writes docs/anti-patterns.md and its pictures from the table of the matrix (2 minutes)
[group('long')]
anti-patterns:
    cargo test --locked -p highwater --test matrix docs -- --ignored

# Needs ../shared/oracle and go. Each round has a fresh seed, which is printed: `.ci/oracle 700 500 SEED` repeats it.
#
# More than 1,000,000 syncs of the autoscaler and 10,000 rollouts against Kubernetes' own controllers (30 minutes)
[group('long')]
conformance ROUNDS="20":
    #!/usr/bin/env bash
    set -euo pipefail
    for ((round = 1; round <= {{ ROUNDS }}; round++)); do
        echo "round $round of {{ ROUNDS }}"
        .ci/oracle 700 500
    done

# The correct service in 260 transitions on each of the four paths, by every event: nothing lost (13 minutes)
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

# Writes docs/fidelity.md and its pictures: local runs, four at a time, then the same on the simulator, which is told of this
# machine what `highwater calibrate --machine` finds in the first of them. With ARGS (--context NAME), which go to the runs on
# the cluster, the first four are run there as well; its image must be of this build (`just image`). HIGHWATER names another
# binary than the release build. The words of the page are docs/fidelity-notes.md: read them again after the numbers have
# changed.
#
# The same scenarios on local processes, in the simulator and on a cluster, side by side (9 minutes, with a cluster 13)
[group('long')]
[no-exit-message]
[positional-arguments]
fidelity *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    binary=${HIGHWATER:-target/release/highwater}
    [ -n "${HIGHWATER:-}" ] || cargo build --release --quiet --locked
    out=target/fidelity
    rm -rf $out; mkdir -p $out
    # Pods without a CPU request are the first to starve where nodes share a machine.
    same=(--set 'target.deployment.template.resources={requests: {cpu: 100m, memory: 32Mi}}')
    # Name, scenario and changes of each.
    each() {
        "$@" rolling-update rolling-update "${same[@]}"
        "$@" rolling-update-wrong rolling-update-wrong "${same[@]}"
        "$@" rolling-update-exit rolling-update "${same[@]}" --set 'target.misbehave=[exit-on-sigterm]' \
            --set 'description=The process exits at once on SIGTERM. Whose requests are cut off, and who finds nobody?'
        "$@" rolling-update-l4 rolling-update "${same[@]}" --set path.kind=l4 --set traffic.keepAlive=false \
            --set 'description=Straight to the pods, a new connection for each request. Does anybody notice?'
        [ "$1" != on_cluster ] || return 0
        local more
        for more in scale-down scale-down-wrong eviction-wrong slow-start-wrong crash-wrong bad-version-wrong \
            long-requests-wrong idle-timeout-race-wrong day spike; do
            "$@" $more $more
        done
    }
    # Objectives that are missed are part of what is compared, and so is a run that doubts itself.
    run() {
        local backend=$1 name=$2 scenario=$3 code=0; shift 3
        "$binary" run "$scenario" "$@" --set "name=$name" --backend $backend --out "$out/$name-$backend" >/dev/null || code=$?
        [ $code -le 1 ] || grep -q '"verdict": "untrusted"' "$out/$name-$backend/summary.json"
        echo "$name on $backend"
    }
    locally() {
        run local "$@" &
        [ "$(jobs -rp | wc -l)" -lt 4 ] || wait -n
    }
    simulated() { run sim "$@" --set "simulation=$machine"; }
    on_cluster() { run kube "$@" "${there[@]}"; }
    there=("$@")
    each locally
    while [ -n "$(jobs -p)" ]; do wait -n; done
    machine=$("$binary" calibrate --machine $out/rolling-update-local | sed -n '/^simulation:/,/^[a-z]/{/^[a-z]/d;p}')
    each simulated
    [ $# -eq 0 ] || each on_cluster
    "$binary" fidelity --out docs/fidelity.md --notes docs/fidelity-notes.md $out/*

# On the cluster that KUBECONFIG names, whose image must be of this build (`just image`). ARGS go to the runs: --context NAME.
# HIGHWATER names another binary than the release build. On a quiet machine, or the cluster's times are those of its neighbours.
#
# Write model/tests/data/recorded: what a real cluster does with rollouts, evictions, crashes and probes (6 minutes)
[group('long')]
[no-exit-message]
[positional-arguments]
record-rollouts *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    binary=${HIGHWATER:-target/release/highwater}
    [ -n "${HIGHWATER:-}" ] || cargo build --release --quiet --locked
    rm -rf target/recorded
    there=("$@")
    base=(--backend kube --set path.kind=l4 --set 'traffic.phases=[{hold: 5/s, for: 30s}]' --set 'objectives=[{unexplained: 0}]'
        --set target.deployment.replicas=3 --set 'target.service.drain={delay: 2s, deadline: 20s}'
        --set 'target.deployment.template.resources={requests: {cpu: 50m, memory: 32Mi}}'
        --set 'target.deployment.template.livenessProbe=null')
    # What is missed, lost or doubted is part of what is recorded.
    record() {
        local name=$1 code=0; shift
        "$binary" run rolling-update --set "name=$name" "${base[@]}" "$@" "${there[@]}" --out "target/recorded/$name" || code=$?
        [ $code -le 1 ] || grep -q '"verdict": "untrusted"' "target/recorded/$name/summary.json"
    }
    template=target.deployment.template
    record drain --set 'events=[{at: 2s, rollout: {}}]'
    record two-at-a-time --set target.deployment.replicas=5 --set 'events=[{at: 2s, rollout: {}}]' \
        --set 'target.deployment.strategy={rollingUpdate: {maxSurge: 2, maxUnavailable: 1}}'
    record min-ready --set target.deployment.minReadySeconds=3 --set 'events=[{at: 2s, rollout: {}}]'
    record recreate --set 'target.deployment.strategy={type: Recreate}' --set 'events=[{at: 2s, rollout: {}}]'
    record pre-stop --set target.service.drain.delay=0 --set "$template.lifecycle={preStop: {sleep: {seconds: 4}}}" \
        --set 'events=[{at: 2s, rollout: {}}]'
    record grace --set 'target.misbehave=[no-signal-handler]' --set $template.terminationGracePeriodSeconds=5 \
        --set 'events=[{at: 2s, rollout: {}}]'
    record pre-stop-eats-grace --set target.service.drain.delay=10s --set $template.terminationGracePeriodSeconds=4 \
        --set "$template.lifecycle={preStop: {sleep: {seconds: 4}}}" --set 'events=[{at: 2s, rollout: {}}]'
    record bad-version --set 'events=[{at: 2s, rollout: {image: "highwater.test/no-such:1"}}]'
    record eviction --set 'events=[{at: 2s, evict: {}}, {at: 12s, evict: {pod: newest}}]'
    record scale --set 'events=[{at: 2s, scale: {replicas: 6}}, {at: 12s, scale: {replicas: 2}}]'
    record crash --set 'events=[{at: 2s, kill: {}}, {at: 14s, kill: {}}]'
    record liveness-kills --set "$template.livenessProbe={tcpSocket: {port: 9}, initialDelaySeconds: 8, periodSeconds: 2, failureThreshold: 3}" \
        --set 'traffic.phases=[{hold: 5/s, for: 60s}]' --set 'events=[{at: 2s, scale: {replicas: 4}}]'
    HIGHWATER_RECORDED=$PWD/target/recorded cargo test --locked --quiet -p highwater-model --test recorded -- --ignored take_anew

# This version as a container image in target/highwater-image.tar, without Docker (Linux only; 3 minutes at first)
[group('cluster')]
[no-exit-message]
image:
    #!/usr/bin/env bash
    set -euo pipefail
    if [ "$(uname -s)" != Linux ]; then
        echo "just image: only Linux builds the Linux binary that the image needs; with Docker, deploy/Dockerfile does it anywhere (docs/kind.md)" >&2
        exit 1
    fi
    mkdir -p "$(dirname {{ archive }})"
    # With --target, build scripts and procedural macros are left alone by RUSTFLAGS; statically they would not link.
    triple=$(rustc -vV | sed -n 's/^host: //p')
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
    exec cargo run --release --quiet --locked --target "$triple" -- image --out {{ archive }}

# A kind cluster with metrics-server and this version's image in it; what is there already is kept
[group('cluster')]
[no-exit-message]
kind-up: needs-kind image
    #!/usr/bin/env bash
    set -euo pipefail
    kube() { kubectl --context kind-{{ cluster }} "$@"; }
    clusters=$(kind get clusters)
    if grep -qx {{ cluster }} <<<"$clusters"; then
        echo "kind-up: the cluster {{ cluster }} is there already"
        kind export kubeconfig --name {{ cluster }}
    else
        kind create cluster --config deploy/kind.yaml --wait 3m
    fi
    kube apply -f deploy/metrics-server.yaml
    kind load image-archive {{ archive }} --name {{ cluster }}
    kube wait --for condition=Ready nodes --all --timeout 3m
    kube --namespace kube-system rollout status deployment/metrics-server --timeout 3m
    kube wait --for condition=Available apiservice/v1beta1.metrics.k8s.io --timeout 2m
    # The API answers before it has figures of every node.
    nodes=$(kube get nodes --output name | wc -l)
    end=$((SECONDS + 120))
    until [ "$(kube get nodes.metrics.k8s.io --output name 2>/dev/null | wc -l)" -ge "$nodes" ]; do
        if [ $SECONDS -ge $end ]; then
            echo "kind-up: no figures of every node after two minutes: see kubectl --context kind-{{ cluster }} --namespace kube-system logs deployment/metrics-server" >&2
            exit 1
        fi
        sleep 1
    done
    kube top nodes
    echo "kind-up: ready; now: just run spike-scenario"

# Delete the kind cluster
[group('cluster')]
[no-exit-message]
kind-down: needs-kind
    kind delete cluster --name {{ cluster }}

# One line about what is missing, before anything is done
[no-exit-message]
[private]
needs-kind:
    #!/usr/bin/env bash
    set -euo pipefail
    missing() { echo "just: $1 (docs/kind.md; without a cluster: just run SCENARIO)" >&2; exit 1; }
    # kind takes podman or nerdctl instead of Docker when this variable says so.
    provider=${KIND_EXPERIMENTAL_PROVIDER:-docker}
    for tool in kind "$provider" kubectl; do
        command -v "$tool" >/dev/null || missing "$tool is not installed"
    done
    "$provider" info >/dev/null 2>&1 || missing "$provider is installed, but does not answer: is its daemon running, and may you use it?"

# Writes docs/compare-power.md: how often equals are called different, how often what is planted is found (15 minutes)
[group('long')]
compare-power ROUNDS="200":
    HIGHWATER_ROUNDS={{ ROUNDS }} cargo test --release --locked -p highwater --test compare page -- --ignored

# On a machine that does nothing else. Runs that cannot be trusted are said and left out. The stated level is 5 %.
#
# FIRST goes on where an earlier call left off: pairs that are there are compared again, not run again.
#
# So many pairs of real local runs of the same thing: how many are called different (40 minutes)
[group('long')]
[no-exit-message]
compare-local PAIRS="30" FIRST="1":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release --quiet --locked
    [ {{ FIRST }} -gt 1 ] || rm -rf target/pairs
    compared=0 alarms=0
    for ((pair = 1; pair < {{ FIRST }} + {{ PAIRS }}; pair++)); do
        here=target/pairs/$pair
        for side in base new; do
            seed=$((2 * pair + (${#side} - 3)))
            [ -d "$here/$side" ] ||
                target/release/highwater run rolling-update --seed $seed --out "$here/$side" >/dev/null 2>&1 || true
        done
        code=0
        target/release/highwater compare "$here/base" "$here/new" --out "$here/compared" --cannot-tell pass >/dev/null || code=$?
        [ $code -le 1 ] || { echo "pair $pair: not compared ($code)"; exit 1; }
        grep -q '"verdict": "untrusted"' "$here/compared/comparison.json" && { echo "pair $pair: untrusted"; continue; }
        compared=$((compared + 1))
        if grep -Eq '"verdict": "(worse|better)"' "$here/compared/comparison.json"; then
            alarms=$((alarms + 1)); echo "pair $pair: called different, see $here/compared/comparison.html"
        fi
    done
    echo "$alarms of $compared pairs called different"

# Needs nginx and has wrk (Debian: apt-get install nginx-light wrk) and oha (cargo install --locked oha) as peers, each left
# out by name if it is not there. ARGS: --rounds N, --seconds N, --only saturate,open,memory,report. The words of the page
# are docs/performance-notes.md: read them again after the numbers have changed.
#
# Write docs/performance.md: the load engine beside its peers, on this machine (6 minutes)
[group('long')]
[no-exit-message]
[positional-arguments]
bench *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release --quiet --locked --bin highwater --example bench
    exec target/release/examples/bench --out docs/performance.md --notes docs/performance-notes.md "$@"

# SimPy and Ciw come from PyPI into target/bench-sim; where that cannot be reached, the page says so. The words of the page
# are docs/performance-sim-notes.md: read them again after the numbers have changed.
#
# Write docs/performance-sim.md: the simulator beside its peers, on this machine (3 minutes)
[group('long')]
bench-sim ROUNDS="3":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release --quiet --locked -p highwater-model --example throughput
    venv=target/bench-sim/venv
    [ -x $venv/bin/python ] || python3 -m venv $venv
    python=$venv/bin/python
    $python -c 'import simpy, ciw' 2>/dev/null || $python -m pip install --quiet simpy==4.1.2 ciw==3.2.7 || python=none
    python3 model/examples/peers/page.py target/release/examples/throughput $python \
        docs/performance-sim.md docs/performance-sim-notes.md {{ ROUNDS }}

# TRACE: a CSV of requests in five minutes each, of two days at least; `none` makes a day of its own.
#
# Write docs/performance-tune.md: 1,024 settings on a day of traffic, on this machine (2 minutes)
[group('long')]
bench-tune TRACE="../shared/traces/nab-elb-requests-5min.csv" ROUNDS="3":
    cargo build --release --quiet --locked -p highwater
    python3 harness/examples/bench/tune.py target/release/highwater "$([ -f {{ TRACE }} ] && echo {{ TRACE }} || echo none)" \
        docs/performance-tune.md {{ ROUNDS }}

# 100 settings of spikes on throttled pods, and the 1,024 settings and the day of `just bench-tune`, which makes it: each
# run on the full simulator.
#
# Whether the ten best of a search hold the best of all (more than 40 minutes)
[group('long')]
rank DAY="target/bench-tune/day.csv":
    HIGHWATER_DAY="$(realpath {{ DAY }})" cargo test --release --locked -p highwater --lib rank::long -- --ignored

# On the cluster of ../shared: kill -9 of the harness at 20 moments, and 50 real pod replacements (30 minutes)
[group('long')]
cluster-long:
    HIGHWATER_KILLS=20 HIGHWATER_REPLACEMENTS=50 .ci/cluster

# What the other recipes need
[group('tools')]
tools:
    cargo install --locked cargo-deny
