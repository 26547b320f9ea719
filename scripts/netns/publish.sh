# shellcheck shell=bash
# Ports of the machine that lead to a box, as `-p` does for containers: one socat each. Needs box.sh and names.sh.

publish() { # PORT BOX BOX-PORT
    [ ! -e "$boxes/port-$1.pid" ] || return 0
    setsid socat -T 3600 "TCP-LISTEN:$1,bind=${PUBLISH:-127.0.0.1},fork,reuseaddr,backlog=1024,max-children=512" \
        "TCP:$(address_for "$2"):$3" </dev/null >/dev/null 2>&1 &
    echo $! >"$boxes/port-$1.pid"
}

unpublish() {
    local pid
    for pid in "$boxes"/port-*.pid; do
        [ ! -e "$pid" ] || ! grep -qsx socat "/proc/$(cat "$pid")/comm" || kill "$(cat "$pid")"
    done
}
