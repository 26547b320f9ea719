# shellcheck shell=bash
# The boxes' addresses, and their name server: dnsmasq in the switch's namespace. Needs box.sh.

# Whether it runs, which it does as long as a demo does.
names_run() {
    local pid
    pid=$(cat "$boxes/names.pid" 2>/dev/null) && grep -qs -e "--addn-hosts=$boxes/names" "/proc/$pid/cmdline"
}

names_up() {
    ! names_run || return 0
    mkdir -p "$boxes/names"
    # A second to keep an answer, and no such name for everything unknown, without asking anybody else.
    ip netns exec "$switch" dnsmasq --conf-file=/dev/null --pid-file="$boxes/names.pid" --user=nobody \
        --listen-address="$subnet.2" --bind-interfaces --no-hosts --addn-hosts="$boxes/names" --local-ttl=1 \
        --no-resolv --local=/#/
}

names_down() {
    ! names_run || kill "$(cat "$boxes/names.pid")"
}

name_is() { # NAME ADDRESS
    printf '%s %s\n' "$2" "$1" >"$boxes/names/$1"
    names_reload
}

name_is_gone() { # NAME
    rm -f "$boxes/names/$1"
    names_reload
}

names_reload() { kill -HUP "$(cat "$boxes/names.pid")"; }

# What ports of the machine lead to has an address for good, and so have nodes and the router. An nginx gets another one at
# each start, from .10 to .249 of the pool in turn, as containers may.
address_for() { # NAME
    local last=9
    case $1 in
        lb) echo "$subnet.3" ;;
        prometheus) echo "$subnet.4" ;;
        vip-access) echo "$subnet.5" ;;
        lb1) echo "$subnet.11" ;;
        lb2) echo "$subnet.12" ;;
        lb3) echo "$subnet.13" ;;
        router) echo "$subnet.254" ;;
        *)
            [ ! -e "$boxes/last-address" ] || last=$(cat "$boxes/last-address")
            last=$((last >= 249 ? 10 : last + 1))
            echo "$last" >"$boxes/last-address"
            echo "$pool.$last"
            ;;
    esac
}
