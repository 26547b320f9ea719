# shellcheck shell=bash
# The ports of this machine that a demo is reached at. Needs say.sh.

WEB_PORT=${WEB_PORT:-8080} WEB_TLS_PORT=${WEB_TLS_PORT:-8443} PROMETHEUS_PORT=${PROMETHEUS_PORT:-9090} PUBLISH=${PUBLISH:-127.0.0.1}
# lbd's page of each node; healthd's of demo 1; vrrpd's of each node of demos 2 and 3.
STATS_PORT=${STATS_PORT:-8404} STATS2_PORT=${STATS2_PORT:-8405} HEALTHD_PORT=${HEALTHD_PORT:-8406}
VRRP_PORT=${VRRP_PORT:-8407} VRRP2_PORT=${VRRP2_PORT:-8408} STATS3_PORT=${STATS3_PORT:-8409} VRRP3_PORT=${VRRP3_PORT:-8410}
readonly port_names=(WEB_PORT WEB_TLS_PORT PROMETHEUS_PORT STATS_PORT STATS2_PORT STATS3_PORT HEALTHD_PORT VRRP_PORT VRRP2_PORT VRRP3_PORT)
export PUBLISH "${port_names[@]}"

# The ports that a demo takes, by name.
ports_of() { # DEMO
    case $1 in
        1) echo WEB_PORT WEB_TLS_PORT STATS_PORT HEALTHD_PORT PROMETHEUS_PORT ;;
        2) echo WEB_PORT WEB_TLS_PORT STATS_PORT STATS2_PORT VRRP_PORT VRRP2_PORT PROMETHEUS_PORT ;;
        3) echo "$(ports_of 2) STATS3_PORT VRRP3_PORT" ;;
    esac
}

# The port of lbd's page of a node, or of vrrpd's.
port_of() { # STATS|VRRP NODE
    local number=${2#lb}
    local name=$1${number#1}_PORT
    echo "${!name}"
}

# Who listens on a port of PUBLISH, as well as this user may know; empty when nobody does.
listener() { # PORT
    local line
    line=$(ss -Hltnp "sport = :$1" 2>/dev/null | awk -v ours="$PUBLISH" '
        { address = $4; sub(/:[0-9]+$/, "", address) }
        ours == "0.0.0.0" || address == ours || address == "0.0.0.0" || address == "*" { print; exit }')
    [ -n "$line" ] || return 0
    if [[ $line =~ \(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
        echo "${BASH_REMATCH[1]} (process ${BASH_REMATCH[2]})"
    else
        echo "a process of another user"
    fi
}

refuse_taken_ports() { # DEMO
    local name port owner
    for name in $(ports_of "$1"); do
        port=${!name}
        [[ $port =~ ^[0-9]+$ ]] && ((port >= 1 && port <= 65535)) || die "$name=$port is not a port number"
        owner=$(listener "$port")
        [ -z "$owner" ] || die "port $port is taken by $owner" \
            "Stop that, or choose another port: $name=$((port + 10000)) make demo-$1"
    done
}
