#!/usr/bin/env bash
# What a fault on the node that holds the virtual address costs the clients of demo 2: a client inside the demo's network
# opens a new connection for each request at a steady rate, the fault happens, and one line a run says what was lost.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/say.sh
. scripts/lib/usage.sh
. scripts/lib/engine.sh
. scripts/lib/nodes.sh
. scripts/lib/faults.sh
. scripts/lib/load.sh
. scripts/lib/pair.sh

usage() {
    cat <<'USAGE'
usage: scripts/failover-test.sh FAULT [--runs N] [--timing fast|safe] [--rate N]
Demo 2 must run. FAULT happens on whichever node holds the virtual address:
  lbd-killed      SIGKILL to lbd
  lbd-stopped     SIGTERM to lbd
  lbd-hung        SIGSTOP to lbd
  node-stopped    the whole node is stopped, as by `docker stop`
  node-cut        the node loses its network, as by `docker network disconnect` or a pulled cable
  handover        `tandemctl handover`
  vrrpd-stopped   SIGTERM to vrrpd
  vrrpd-killed    SIGKILL to vrrpd; s6 starts it again
  partition       the two nodes do not hear each other for 5 s, while clients reach both
  --runs N        1 to 100 times (default 1), then the medians
  --timing T      both nodes use this timing meanwhile, by a reload (default: as they are)
  --rate N        requests a second (default 100)
Each run lasts about 15 s. Afterwards everything runs as before, though perhaps with the address on the other node.
  gap      the longest time between two answers; without a fault that is the time between two requests
  lost     requests that were refused, broken off, answered with an error, or not answered within 2 s
  moved    from the fault to the address being on the other node
  owners   the most nodes that had the address at one time, and for how long more than one had it; what a node lost is
           stamped when its watcher comes to run, so that a few milliseconds of two are none on a busy machine
After a partition the clients' neighbour tables are looked at, and one that names a node without the address is a failure.
USAGE
}

help_if_asked "${1:-}"
case ${1:-} in
    '' | -*) refuse "no fault" ;;
esac
fault=$1 runs=1 timing='' rate=100
[[ " $faults " == *" $fault "* ]] || refuse "\"$fault\" is not a fault"
shift
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || refuse "$1 lacks its value"
    case $1 in
        --runs) [[ $2 =~ ^([1-9][0-9]?|100)$ ]] || refuse "\"$2\" is not a number of runs" && runs=$2 ;;
        --timing) [[ $2 =~ ^(fast|safe)$ ]] || refuse "\"$2\" is not a timing" && timing=$2 ;;
        --rate) [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || refuse "\"$2\" is not a rate" && rate=$2 ;;
        *) refuse "\"$1\" is not an option" ;;
    esac
    shift 2
done

work=$(mktemp -d)
restore_all() {
    local left
    left=$(jobs -p)
    # shellcheck disable=SC2086 # The numbers are words.
    [ -z "$left" ] || kill $left 2>/dev/null || true
    undo
    restore_timing
    rm -rf "$work"
}
trap restore_all EXIT
trap 'exit 130' INT TERM

in_demo_2 wait_until_settled || die "demo 2 is not healthy: one node must have the address, and the other be its backup" \
    "See what is wrong: make demo-2-status"
[ -z "$timing" ] || change_timing "$timing"
timing=$(timing_now)
for ((run = 1; run <= runs; run++)); do
    measure >"$work/line"
    tee -a "$work/lines" <"$work/line"
done
[ "$runs" -eq 1 ] || medians
! grep -q believes "$work/lines" || die "after healing a neighbour believed a node without the address"
