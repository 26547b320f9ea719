# shellcheck shell=bash
# The load-balancer nodes of the demo that runs: what they run, and which of them holds the virtual address. Needs
# say.sh and engine.sh.

readonly virtual_address=172.20.0.100

# Runs an engine's command on the demo that runs.
in_demo() {
    [ -n "${running_engine:-}" ] || find_running
    [ -n "$running_engine" ] || die "no demo runs" "Start one: make demo-1, or make demo-2"
    on_engine "$running_engine" "$@"
}

# Runs something for which it takes two nodes.
in_demo_2() {
    find_running
    [ "$running_demo" = 2 ] || die "demo 2 does not run" "Start it: make demo-2"
    "$@"
}

nodes_of() { # DEMO
    case $1 in
        1) echo lb ;;
        2) echo lb1 lb2 ;;
    esac
}

daemons_of() { # DEMO
    case $1 in
        1) echo healthd lbd ;;
        2) echo healthd lbd vrrpd ;;
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
        in_demo exec "$node" tandemctl reload | sed "s/^/$node: /" || refused=yes
    done
    [ $refused = no ]
}

# Whether a node holds the virtual address on an interface.
holds() { # NODE
    in_demo exec "$1" ip -4 -o address show to "$virtual_address" 2>/dev/null | grep . >/dev/null
}

# The nodes that hold the virtual address.
holders() {
    local node
    for node in $(nodes_of 2); do
        if holds "$node"; then echo "$node"; fi
    done
}

# What vrrpd of a node says of itself in one line.
vrrp_line() { # NODE
    in_demo exec "$1" sh -c 'echo "show vrrp" | socat -t 2 stdio UNIX-CONNECT:/run/tandem/vrrpd.sock' 2>/dev/null | grep -E "^[^ ]+: "
}

vip() {
    local node owners
    owners=$(holders | xargs)
    echo "$virtual_address is on ${owners:-no node}"
    for node in $(nodes_of 2); do
        vrrp_line "$node" | sed "s/^/    $node  /" || echo "    $node  does not answer"
    done
}
