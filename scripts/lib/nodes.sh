# shellcheck shell=bash
# The load-balancer nodes of the demo that runs: what they run, and which of them holds the address. Needs say.sh and
# engine.sh.

# That of demo 2, which one node has, and that of demo 3, which all have.
readonly virtual_address=172.20.0.100 service_address=192.0.2.100

# Runs an engine's command on the demo that runs.
in_demo() {
    [ -n "${running_engine:-}" ] || find_running
    [ -n "$running_engine" ] || die "no demo runs" "Start one: make demo-1, demo-2 or demo-3"
    on_engine "$running_engine" "$@"
}

# Runs something that only one demo has: two nodes of which one has the address, or a router before all of them.
in_demo_2() { in_that_demo 2 "$@"; }
in_demo_3() { in_that_demo 3 "$@"; }

in_that_demo() { # DEMO COMMAND...
    find_running
    [ "$running_demo" = "$1" ] || die "demo $1 does not run" "Start it: make demo-$1"
    "${@:2}"
}

nodes_of() { # DEMO
    case $1 in
        1) echo lb ;;
        2) echo lb1 lb2 ;;
        3) echo lb1 lb2 lb3 ;;
    esac
}

daemons_of() { # DEMO
    case $1 in
        1) echo healthd lbd ;;
        *) echo healthd lbd vrrpd ;;
    esac
}

# A daemon that gave up on a bad configuration is started again first; whether it comes up now is reload's to say. The
# first refusal does not keep the other nodes from being asked.
reload() {
    find_running
    local node daemons refused=no
    daemons=$(daemons_of "${running_demo:-1}")
    for node in $(nodes_of "${running_demo:-1}"); do
        in_demo exec "$node" sh -c "cd /run/service && for daemon in $daemons; do s6-svc -u \$daemon; done &&
            s6-svwait -U -t 5000 $daemons" 2>/dev/null || true
        { take_certificates "$node" && in_demo exec "$node" tandemctl reload; } | sed "s/^/$node: /" || refused=yes
    done
    [ $refused = no ]
}

# Has a node copy what is in compose/tls now. lbd sees within 5 s that it has changed.
take_certificates() { # NODE
    in_demo exec "$1" /etc/s6/tandem/lbd/take-certificates
}

# Whether a node holds the address of its demo on an interface. In demo 2 it is on lo where a node only keeps connections of
# before a handover (keep_connections).
holds() { # NODE
    in_demo exec "$1" ip -4 -o address show to "$(address_now)" 2>/dev/null |
        case $running_demo in 3) cat ;; *) grep -v '^[0-9]*: lo ' ;; esac | grep . >/dev/null
}

address_now() {
    if [ "$running_demo" = 3 ]; then echo "$service_address"; else echo "$virtual_address"; fi
}

# The nodes that hold the address.
holders() {
    local node
    [ -n "${running_demo:-}" ] || find_running
    for node in $(nodes_of "$running_demo"); do
        if holds "$node"; then echo "$node"; fi
    done
}

# What vrrpd of a node says of itself in one line.
vrrp_line() { # NODE
    local words='show vrrp'
    [ "$running_demo" != 3 ] || words='show anycast'
    in_demo exec "$1" sh -c "echo '$words' | socat -t 2 stdio UNIX-CONNECT:/run/tandem/vrrpd.sock" 2>/dev/null | grep -E "^[^ ]+: "
}

vip() {
    local node owners hops
    [ "$running_demo" != 1 ] || die "demo 1 has one node, and so no address that moves" "Start another: make demo-2, or make demo-3"
    owners=$(holders | xargs)
    echo "$(address_now) is on ${owners:-no node}"
    if [ "$running_demo" = 3 ]; then
        hops=$(next_hops | xargs)
        echo "the router sends to ${hops:-nobody}"
    fi
    for node in $(nodes_of "$running_demo"); do
        vrrp_line "$node" | sed "s/^/    $node  /" || echo "    $node  does not answer"
    done
}

# The nodes that the router of demo 3 sends to.
next_hops() {
    in_demo exec router ip -4 route show "$service_address" 2>/dev/null |
        awk 'match($0, /via 172\.20\.0\.1[0-9]/) { print "lb" substr($0, RSTART + RLENGTH - 1, 1) }' | sort
}

other_node() { # NODE
    case $1 in lb1) echo lb2 ;; *) echo lb1 ;; esac
}

on_node() { # NODE COMMAND...
    in_demo exec "$@" </dev/null
}

# One node has the address and says that it is master, and the other could take it over.
settled() {
    local owner
    owner=$(holders)
    case $owner in
        lb1 | lb2) ;;
        *) return 1 ;;
    esac
    state_is "$owner" master && state_is "$(other_node "$owner")" backup
}

state_is() { # NODE STATE
    # Without -q: it would end at the line, and curl with an error.
    on_node "$1" curl -s --max-time 2 http://127.0.0.1:8407/metrics 2>/dev/null |
        grep -E "^tandem_vrrp_state\{[^}]*state=\"$2\"[^}]*\} 1$" >/dev/null
}

# It lasts: a node that is about to change its mind is not settled.
wait_until_settled() {
    local in_a_row=0 start=$SECONDS
    until ((in_a_row == 3)); do
        ((SECONDS - start < 60)) || return 1
        if settled; then in_a_row=$((in_a_row + 1)); else in_a_row=0; fi
        sleep 0.3
    done
}

# Has a node hold the virtual address, by a handover where another one does.
move() { # NODE
    local owner
    [[ " $(nodes_of 2) " == *" $1 "* ]] || die "there is no node \"$1\"; there are $(nodes_of 2)"
    wait_until_settled || die "one node must have the address, and the other be its backup" \
        "See what is wrong: make demo-2-status"
    owner=$(holders)
    [ "$owner" != "$1" ] || return 0
    on_node "$owner" tandemctl handover >/dev/null
    wait_until_settled && holds "$1" || die "the address does not stay on $1" "Do both nodes have \`preempt: false\`?"
}

# Takes a node of demo 3 out, in good order, and puts it back; it is done when the router knows.
withdraw() { # NODE
    refuse_unknown_node "$1"
    on_node "$1" tandemctl handover
    wait_until_router "does not send to $1" sends_not_to "$1"
}

announce() { # NODE
    refuse_unknown_node "$1"
    on_node "$1" tandemctl announce
    wait_until_router "sends to $1" sends_to "$1"
}

refuse_unknown_node() { # NODE
    [[ " $(nodes_of 3) " == *" $1 "* ]] || die "there is no node \"$1\"; there are $(nodes_of 3)"
}

sends_to() { next_hops | grep -x "$1" >/dev/null; }

sends_not_to() { ! sends_to "$1"; }

wait_until_router() { # WHAT CONDITION...
    local start=$SECONDS
    until "${@:2}"; do
        ((SECONDS - start < 60)) || die "within a minute it is not so that the router $1" "See what is wrong: make demo-3-status"
        sleep 0.2
    done
}
