#!/usr/bin/env bash
# What a request costs lbd in demo 3, by processor time: on all nodes behind the router, and on one alone that has no more to do than each of them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/say.sh
. scripts/lib/usage.sh
. scripts/lib/engine.sh
. scripts/lib/nodes.sh
. scripts/lib/faults.sh

readonly load_for=12 rate=1000 kept=30

usage() {
    cat <<'USAGE'
usage: scripts/anycast-cost.sh [--runs N]
Demo 3 must run. All nodes and one take turns, N times each (1 to 20, default 3): 1,000 requests a second for each node, on 30 kept
connections each. Printed is the processor time of the lbds that took part, by the requests that were answered.
USAGE
}

help_if_asked "${1:-}"
runs=3
case ${1:-} in
    '') ;;
    --runs) [[ ${2:-} =~ ^([1-9]|1[0-9]|20)$ ]] || refuse "\"${2:-}\" is not a number of runs" && runs=$2 ;;
    *) refuse "\"$1\" is not an option" ;;
esac

# The kernel counts in hundredths of a second.
ticks() {
    local node sum=0 pid stat
    for node in $(nodes_of 3); do
        pid=$(on_node "$node" pidof lbd)
        read -ra stat <<<"$(on_node "$node" cat "/proc/$pid/stat")"
        sum=$((sum + stat[13] + stat[14]))
    done
    echo $sum
}

cost() { # NODES
    local before after told answers
    before=$(ticks)
    told=$(on_node vip-access tandemctl load "http://$service_address" --rate $((rate * $1)) --keep $((kept * $1)) --for ${load_for}s --json) ||
        die "requests were lost: $told"
    after=$(ticks)
    answers=$(sed -n 's/.*"ok":\([0-9]*\).*/\1/p' <<<"$told")
    awk -v nodes="$1" -v ticks=$((after - before)) -v answers="$answers" \
        'BEGIN { printf "%d of 3 nodes: %.1f us a request\n", nodes, ticks * 10000 / answers }'
}

others() { # withdraw|announce
    local node
    for node in $(nodes_of 3 | xargs -n 1 | tail -n +2); do
        in_demo exec "$node" tandemctl "$1" >/dev/null
    done
    sleep 3
}

in_demo_3 true
trap 'others announce 2>/dev/null || true' EXIT
for ((run = 1; run <= runs; run++)); do
    cost 3
    others handover
    cost 1
    others announce
done
