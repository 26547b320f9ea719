# shellcheck shell=bash
# Boxes: what containers are to an engine. A box has its own network, mounts, processes and host name; its files are
# the machine's, read-only, but for a small /etc, /run, /tmp and /usr/local of its own. All boxes hang on one switch.
# Needs say.sh, and root.

readonly boxes=${TANDEM_BOXES:-/run/tandem-demo}

# choose_network DEMO: sets the first three numbers of the boxes' network, the length of its prefix, and the first three
# numbers of the addresses that are given in turn. Demo 2 has the network that its virtual address is of, and demo 3 the same.
choose_network() {
    case $1 in
        1) subnet=${TANDEM_SUBNET:-10.213.47} prefix=24 pool=$subnet ;;
        2 | 3) subnet=172.20.0 prefix=16 pool=172.20.1 ;;
    esac
}

# A switch of its own, in a namespace of its own, so that no firewall of the machine filters between boxes.
readonly switch=tandem-switch
readonly uplink=tandem-up

namespace() { printf 'tandem-%s' "$1"; }

box_process() { cat "$boxes/$1/pid" 2>/dev/null; }

# A number alone may be of another process by now, and the network's name may be gone: who belongs to a box has its /run.
box_runs() {
    local pid
    pid=$(box_process "$1") && [ "/proc/$pid/root/run" -ef "$boxes/$1/run" ]
}

switch_up() {
    ip netns pids "$switch" >/dev/null 2>&1 && return
    local clash
    clash=$(ip -4 route show table all root "$subnet.0/$prefix" | head -n 1)
    [ -z "$clash" ] || die "the demo's network $subnet.0/$prefix is in use here: $clash" \
        "Demo 1 can have another one, TANDEM_SUBNET=10.99.1. For the others take away what uses it."
    ip netns add "$switch"
    ip -n "$switch" link set lo up
    # An address of its own. A bridge takes its ports' lowest one otherwise, and another when that box goes: the boxes would
    # send their questions for names to the old one for half a minute.
    ip -n "$switch" link add bridge address 02:00:00:00:00:02 type bridge
    ip -n "$switch" addr add "$subnet.2/$prefix" dev bridge
    ip -n "$switch" link set bridge up
    ip link add "$uplink" type veth peer name uplink netns "$switch"
    ip -n "$switch" link set uplink master bridge up
    ip addr add "$subnet.1/$prefix" dev "$uplink"
    ip link set "$uplink" up
}

switch_down() {
    ip link del "$uplink" 2>/dev/null || true
    ip netns del "$switch" 2>/dev/null || true
}

# box_attach NAME ADDRESS: plugs a box into the switch.
box_attach() {
    local ns
    ns=$(namespace "$1")
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    ip -n "$switch" link add "$1" type veth peer name eth0 netns "$ns"
    ip -n "$switch" link set "$1" master bridge up
    ip -n "$ns" addr add "$2/$prefix" dev eth0
    ip -n "$ns" link set eth0 up
    # As engines do for containers: daemons without rights may listen on port 80. No box forwards: one that lost the virtual
    # address would carry on what neighbours send to the wrong one, and hide that they do.
    ip netns exec "$ns" sysctl -qw net.ipv4.ip_unprivileged_port_start=0 net.ipv4.ip_forward=0
}

# box_cable NAME up|down: plugs a box's cable in, or pulls it out.
box_cable() { ip -n "$switch" link set "$1" "$2"; }

# box_isolation on|off NAME...: boxes that are isolated from one another still reach all others.
box_isolation() {
    local name
    for name in "${@:2}"; do bridge -n "$switch" link set dev "$name" isolated "$1"; done
}

# box_run NAME PREPARE COMMAND...: the directory that becomes /etc and so on is made by the function PREPARE, which
# gets its path. The command is the box's first process; what it says is kept, the latest 3 MB of it.
box_run() {
    local name=$1 prepare=$2 root="$boxes/$1" ns
    shift 2
    ns=$(namespace "$name")
    rm -rf "${root:?}"
    mkdir -p "$root"/{etc,run,local,log}
    box_etc "$root/etc"
    "$prepare" "$root"
    # What a tool for the whole session (a terminal's hang-up, an open pipe) does is nothing to a box.
    setsid --fork ip netns exec "$ns" unshare --mount --pid --uts --ipc --fork --kill-child \
        scripts/netns/box-init "$root" "$name" "$@" </dev/null \
        > >(exec setsid s6-log -b n3 s1000000 "$root/log" >/dev/null 2>&1) 2>&1
    local _
    # On a machine that builds something else meanwhile it takes its time.
    for _ in {1..200}; do
        [ -s "$root/pid" ] && return
        sleep 0.1
    done
    cat "$root"/log/current >&2 || true
    die "the box $name did not start"
}

# What programs read in /etc, without what is private to the machine.
box_etc() {
    local entry
    for entry in alternatives group host.conf ld.so.cache ld.so.conf ld.so.conf.d localtime mime.types nsswitch.conf \
        passwd protocols services ssl/certs; do
        [ -e "/etc/$entry" ] || continue
        mkdir -p "$(dirname "$1/$entry")"
        cp -a "/etc/$entry" "$1/$entry"
    done
    printf '127.0.0.1 localhost\n' >"$1/hosts"
    printf 'nameserver %s.2\noptions timeout:1 attempts:2\n' "$subnet" >"$1/resolv.conf"
}

box_exec() { # NAME COMMAND...
    box_runs "$1" || die "$1 is not running"
    exec nsenter --target "$(box_process "$1")" --mount --uts --ipc --net --pid -- "${@:2}"
}

# box_stop NAME SIGNAL SECONDS: asks the first process to end, and insists after a while. Its end is everything's end.
box_stop() {
    local pid tenth
    if box_runs "$1"; then
        pid=$(box_process "$1")
        kill "-$2" "$pid" 2>/dev/null || true
        for ((tenth = 0; tenth < $3 * 10; tenth++)); do
            [ -d "/proc/$pid" ] || break
            sleep 0.1
        done
        [ ! -d "/proc/$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$boxes/$1/pid"
    ip netns del "$(namespace "$1")" 2>/dev/null || true
    ip -n "$switch" link del "$1" 2>/dev/null || true
}

box_logs() { # NAME [-f]
    local log="$boxes/$1/log"
    [ -d "$log" ] || die "there is no box $1"
    cat "$log"/@* 2>/dev/null || true
    if [ "${2:-}" = -f ]; then exec tail -n +1 -F "$log/current"; fi
    cat "$log/current"
}
