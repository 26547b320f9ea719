# shellcheck shell=bash
# What faults of demo 2 cost: for failover-test.sh, which sets fault, timing, rate and work. Needs say.sh, engine.sh, nodes.sh,
# faults.sh and load.sh.

readonly faults='lbd-killed lbd-stopped lbd-hung node-stopped node-cut handover vrrpd-stopped vrrpd-killed partition'
# A run: load before the fault, and in all.
readonly warm_up=2 load_for=10 partitioned_for=5

timing_now() { sed -n 's/^ *timing: *\([a-z]*\).*/\1/p' compose/vrrp-lb1.yaml; }

change_timing() { # fast|safe
    local node
    for node in lb1 lb2; do
        cp "compose/vrrp-$node.yaml" "$work/vrrp-$node.yaml"
        sed -i "s/^\( *timing:\) *[a-z]*/\1 $1/" "compose/vrrp-$node.yaml"
    done
    reload >/dev/null
    wait_until_settled || die "the nodes do not settle with timing: $1"
}

restore_timing() {
    local node
    [ -e "$work/vrrp-lb2.yaml" ] || return 0
    for node in lb1 lb2; do cat "$work/vrrp-$node.yaml" >"compose/vrrp-$node.yaml"; done
    reload >/dev/null || true
}

# The kernel's own word on when a node gets and loses the address, into a file; a node that is gone has lost it.
watch_address() { # NODE
    on_node "$1" env TZ=UTC timeout 120 ip -4 -ts monitor address >"$work/$1" 2>/dev/null || true
    now >"$work/$1.end"
}

# One run; its result as one line.
measure() {
    local master backup load watchers=() node broken_at healed_at='' neighbours=''
    wait_until_settled || die "demo 2 does not settle"
    master=$(holders) backup=$(other_node "$master")
    rm -f "$work"/lb?{,.end}
    for node in lb1 lb2; do
        watch_address "$node" &
        watchers+=($!)
    done
    on_node vip-access tandemctl load "http://$virtual_address" --rate "$rate" --for "${load_for}s" --json >"$work/load" &
    load=$!
    sleep $warm_up
    broken=$master
    inject "$fault" "$master" >"$work/broken" || die "the fault did not happen"
    broken_at=$(head -n 1 "$work/broken")
    if [ "$fault" = partition ]; then
        sleep $partitioned_for
        healed_at=$(now)
        undo
    fi
    # It fails when requests were lost, which is what it is to say.
    wait "$load" || true
    [ -s "$work/load" ] || die "the load did not run"
    [ "$fault" != partition ] || neighbours=$(neighbours)
    owners_line "$master" "$backup" "$broken_at" "$healed_at" "$neighbours"
    undo
    stop_watching "${watchers[@]}"
}

stop_watching() { # PROCESS...
    local node
    for node in lb1 lb2; do on_node "$node" pkill -x -f 'ip -4 -ts monitor address' 2>/dev/null || true; done
    wait "$@" || true
}

# Whom the clients that know the virtual address take for its owner. In the end that must be who has it.
neighbours() {
    local owner other client believed all=''
    wait_until_settled || return 0
    owner=$(holders) other=$(other_node "$owner")
    for client in vip-access prometheus nginx1 nginx2 nginx3; do
        believed=$(on_node "$client" cat /proc/net/arp | awk -v ip="$virtual_address" '$1 == ip && $3 != "0x0" { print $4 }')
        [ -n "$believed" ] || continue
        if on_node "$other" sh -c 'cat /sys/class/net/*/address' | grep -ixF "$believed" >/dev/null; then
            echo "$client believes $other"
            return 0
        fi
        all="$all${all:+, }$client"
    done
    [ -z "$all" ] || echo "neighbours right: $all"
}

# Puts the load's figures and the address's way together.
owners_line() { # MASTER BACKUP BROKEN-AT HEALED-AT NEIGHBOURS
    local node
    for node in lb1 lb2; do
        # On lo it is for connections of before a handover.
        sed -n "/: lo /!s|^\[\([^]]*\)\] \(.*$virtual_address/.*\)|$node \1 \2|p" "$work/$node"
        [ ! -e "$work/$node.end" ] || echo "$node end $(cat "$work/$node.end")"
    done | TZ=UTC awk -v master="$1" -v backup="$2" -v broken="$3" -v healed="$4" -v fault="$fault" -v timing="$timing" -v neighbours="$5" \
        -v gap="$(figure load longest_gap_ms)" -v lost="$(figure load lost)" -v sent="$(figure load sent)" -v kinds="$(kinds_lost load)" \
        -f scripts/lib/owners.awk
}

medians() {
    local column lines="$work/lines"
    column() { sed -n "s/.*$1.*/\1/p" "$lines" | median; }
    printf 'median of %d: gap %s ms, lost %s, moved after %s ms, owners at most %s\n' "$runs" \
        "$(column 'gap \([0-9]*\)')" "$(column 'lost \([0-9]*\)')" "$(column 'after \([0-9.]*\) ms')" \
        "$(sed -n 's/.*owners at most \([0-9]\).*/\1/p' "$lines" | sort -n | tail -n 1)"
}
