# shellcheck shell=bash
# What demo 3 has beside the others: routing daemons that speak BGP, and an address to which the way leads over the router. Needs say.sh,
# box.sh, names.sh and a function running_demo.

readonly service_address=192.0.2.100

# Sets `routing`, the daemons that speak BGP here; none in demos 1 and 2. What a demo was started with is what it has.
choose_routing() { # DEMO
    local kind=${ROUTER:-bird}
    routing=''
    [ "$1" = 3 ] || return 0
    if [ -n "$(running_demo)" ]; then kind=$(cat "$boxes/router-kind"); fi
    case $kind in
        bird) routing='bird' ;;
        frr) routing='zebra bfdd bgpd' ;;
        *) die "there is no router \"$kind\"" "ROUTER may be bird or frr." ;;
    esac
    readonly routing routing_kind=$kind
}

keep_routing() {
    [ -z "$routing" ] || echo "$routing_kind" >"$boxes/router-kind"
}

# box_bgp ROOT: gives the directory that becomes a box's the routing daemons as services, and the configurations that ship.
box_bgp() {
    cp -a deploy/bgp/s6/. "$1/etc/s6/tandem"
    mkdir "$1/etc/bgp"
    cp -a deploy/bgp/*.conf deploy/bgp/resilient-ecmp "$1/etc/bgp"
}

# attach_to_routes BOX: once it is plugged in.
attach_to_routes() {
    local ns
    ns=$(namespace "$1")
    case $1 in
        # It tells nobody of a shorter way, which would be one to a single node.
        router)
            ip netns exec "$ns" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1 \
                net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
            ;;
        # Nodes share the link: none answers for the address that all have.
        lb*) ip netns exec "$ns" sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 ;;
        vip-access) ip -n "$ns" route add "$service_address/32" via "$(address_for router)" ;;
    esac
}
