#!/usr/bin/env bash
# What faults and planned changes of a node cost the clients of demo 3: loads inside the demo's network, one of new connections, one of connections
# that are kept, and with what is planned one of slow answers, go over the router to all nodes while each of them happens; one line each says what was lost.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/say.sh
. scripts/lib/usage.sh
. scripts/lib/engine.sh
. scripts/lib/nodes.sh
. scripts/lib/faults.sh
. scripts/lib/load.sh

# What is planned has to lose nothing.
readonly planned='withdrawn announced node-stopped node-added lbd-stopped vrrpd-stopped vrrpd-killed'
readonly unplanned='lbd-killed lbd-hung routing-killed node-cut'
# A run: load before the fault, and in all.
readonly warm_up=2 load_for=6

usage() {
    cat <<'USAGE'
usage: scripts/anycast-test.sh [FAULT...] [--node N] [--runs N] [--rate N] [--kept N] [--hashing resilient|plain]
Demo 3 must run. Without a FAULT all of them happen, one after the other, on lb1, lb2 and lb3 in turn. Planned:
  withdrawn       `tandemctl handover`
  announced       `tandemctl announce`, which takes that back
  node-stopped    the whole node is stopped
  node-added      and started
  lbd-stopped     SIGTERM to lbd
  vrrpd-stopped   SIGTERM to vrrpd
  vrrpd-killed    SIGKILL to vrrpd; s6 starts it again, and nothing changes
and not planned:
  lbd-killed      SIGKILL to lbd
  lbd-hung        SIGSTOP to lbd
  routing-killed  SIGKILL to BIRD or FRR's bgpd
  node-cut        the node loses its network, as by a pulled cable
  --node N        lb1, lb2 or lb3 alone
  --runs N        1 to 100 times each (default 1), then the medians
  --rate N        requests a second of each load (default 200)
  --kept N        connections that are kept (default 100)
  --hashing H     whether the router moves connections of other nodes when its next hops change (plain) or not (resilient);
                  it stays so until a test asks for the other (default: as it is)
Each run lasts about 8 s. Afterwards everything runs as before.
  new, kept  requests on new connections, and on kept ones, that were refused, broken off, or not answered within 2 s, in a planned change 10 s.
             One that finds every kept connection in use is not sent, which loses nothing
  slow       the same, in a planned change, of answers that take half a second: 50 a second, on new connections
  gap        the longest time between two answers on new connections
The exit status is 0 when nothing planned has lost a request, and 1 when it has.
USAGE
}

help_if_asked "${1:-}"
wanted=() only_node='' runs=1 rate=200 kept=100 hashing=''
while [ $# -gt 0 ]; do
    case $1 in
        --*)
            [ $# -ge 2 ] || refuse "$1 lacks its value"
            case $1 in
                --node) [[ $2 =~ ^lb[123]$ ]] || refuse "\"$2\" is not a node" && only_node=$2 ;;
                --runs) [[ $2 =~ ^([1-9][0-9]?|100)$ ]] || refuse "\"$2\" is not a number of runs" && runs=$2 ;;
                --rate) [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || refuse "\"$2\" is not a rate" && rate=$2 ;;
                --kept) [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || refuse "\"$2\" is not a number of connections" && kept=$2 ;;
                --hashing) [[ $2 =~ ^(resilient|plain)$ ]] || refuse "\"$2\" is not a way to hash" && hashing=$2 ;;
                *) refuse "\"$1\" is not an option" ;;
            esac
            shift 2
            ;;
        *)
            [[ " $planned $unplanned " == *" $1 "* ]] || refuse "\"$1\" is not a fault"
            wanted+=("$1")
            shift
            ;;
    esac
done
# shellcheck disable=SC2206 # The faults are words.
((${#wanted[@]})) || wanted=($planned $unplanned)

work=$(mktemp -d)
restore_all() {
    local left
    left=$(jobs -p)
    # shellcheck disable=SC2086 # The numbers are words.
    [ -z "$left" ] || kill $left 2>/dev/null || true
    undo
    rm -rf "$work"
}
trap restore_all EXIT
trap 'exit 130' INT TERM

# Whom the router really sends to, by the kernel's buckets where it hashes resiliently.
spread_over() {
    if [ "$hashing" = resilient ]; then
        on_node router ip -4 route show table 179 | grep -o 'via [0-9.]*'
    else
        on_node router ip -4 route show "$service_address" | grep -o 'via [0-9.]*'
    fi | sort -u | wc -l
}

hashing_now() {
    if [ "$(on_node router s6-svstat -o up /run/service/resilient)" = true ]; then echo resilient; else echo plain; fi
}

choose_hashing() { # resilient|plain
    case $1 in
        resilient) on_node router s6-svc -wu -T 10000 -u /run/service/resilient ;;
        plain) on_node router s6-svc -wd -T 10000 -d /run/service/resilient ;;
    esac
}

all_well() {
    [ "$(holders | xargs)" = "$(nodes_of 3)" ] && [ "$(next_hops | xargs)" = "$(nodes_of 3)" ] && [ "$(spread_over)" = 3 ]
}

# Hold-downs grow with each fault, to half a minute.
wait_until_well() {
    local start=$SECONDS
    until all_well; do
        ((SECONDS - start < 90)) || die "demo 3 is not well: all nodes must have the address, and the router send to each" \
            "See what is wrong: make demo-3-status"
        sleep 0.3
    done
}

# For a node that comes there has to be one that is away.
prepare() { # NODE
    case $fault in
        announced) on_node "$1" tandemctl handover >/dev/null ;;
        node-added) in_demo stop "$1" ;;
        *) return 0 ;;
    esac
    wait_until_router "does not send to $1" sends_not_to "$1"
}

load() { # NAME PATH RATE OPTION...
    on_node vip-access tandemctl load "http://$service_address$2" --rate "$3" --for "${load_for}s" --timeout "$patience" --json "${@:4}" \
        >"$work/$1" &
    loads+=($!)
}

is_planned() { [[ " $planned " == *" $1 "* ]]; }

share() { # NAME
    local kinds
    kinds=$(kinds_lost "$1")
    printf '%s: lost %d of %d%s' "$1" "$(lost "$1")" "$(figure "$1" sent)" "${kinds:+ ($kinds)}"
}

# One run; its result as one line.
measure() { # NODE
    local loads=() patience=2s
    broken=$1
    # Who is made to wait while something planned goes on is not lost, however busy the machine is.
    if is_planned "$fault"; then patience=10s; fi
    prepare "$1"
    load new / "$rate"
    load kept / "$rate" --keep "$kept"
    if is_planned "$fault"; then load slow /slow 50; fi
    sleep $warm_up
    inject "$fault" "$1" >/dev/null || die "the fault did not happen"
    # They fail when requests were lost, which is what they are to say.
    wait "${loads[@]}" || true
    if [ ! -s "$work/new" ] || [ ! -s "$work/kept" ] || { is_planned "$fault" && [ ! -s "$work/slow" ]; }; then die "the load did not run"; fi
    printf '%s, %s, %s: %s, gap %.0f ms; %s' "$fault" "$1" "$hashing" "$(share new)" "$(figure new longest_gap_ms)" "$(share kept)"
    if is_planned "$fault"; then printf '; %s' "$(share slow)"; fi
    echo
    undo
}

medians() { # FAULT
    column() { sed -n "s/^$fault,.*$1.*/\1/p" "$work/lines" | median; }
    printf 'median of %d: new lost %s, gap %s ms; kept lost %s\n' "$runs" "$(column 'new: lost \([0-9]*\)')" \
        "$(column 'gap \([0-9]*\) ms')" "$(column 'kept: lost \([0-9]*\)')"
}

in_demo_3 true
[ -z "$hashing" ] || choose_hashing "$hashing"
hashing=$(hashing_now)
turn=0
for fault in "${wanted[@]}"; do
    for ((run = 1; run <= runs; run++)); do
        wait_until_well
        measure "${only_node:-lb$((turn++ % 3 + 1))}" >"$work/line"
        tee -a "$work/lines" <"$work/line"
    done
    [ "$runs" -eq 1 ] || medians
done
wait_until_well
! grep -E "^(${planned// /|})," "$work/lines" | grep -q 'lost [1-9]' || die "what is planned has lost requests"
