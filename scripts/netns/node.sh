# shellcheck shell=bash
# What makes a box a load-balancer node. Needs box.sh.

# box_node ROOT PROGRAMS: gives the directory that becomes a box's the services, users and programs that the image has. The users'
# numbers are nobody's on the machine.
box_node() {
    local id=64847 daemon
    mkdir -p "$1/etc/s6" "$1/local/bin"
    cp -a deploy/s6 "$1/etc/s6/tandem"
    install -t "$1/local/bin" "$2"/{healthd,lbd,vrrpd,tandemctl}
    for daemon in healthd lbd vrrpd; do
        id=$((id + 1))
        echo "tandem-$daemon:x:$id:$id::/nonexistent:/usr/sbin/nologin" >>"$1/etc/passwd"
    done
    cat >>"$1/etc/group" <<'GROUPS'
tandem:x:64847:
tandem-healthd:x:64848:tandem-lbd
tandem-lbd:x:64849:tandem-vrrpd
tandem-vrrpd:x:64850:
GROUPS
}
