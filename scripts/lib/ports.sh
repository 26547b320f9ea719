# shellcheck shell=bash
# The ports of this machine that a demo is reached at. Needs say.sh.

WEB_PORT=${WEB_PORT:-8080} STATS_PORT=${STATS_PORT:-8404} HEALTHD_PORT=${HEALTHD_PORT:-8406}
PROMETHEUS_PORT=${PROMETHEUS_PORT:-9090} PUBLISH=${PUBLISH:-127.0.0.1}
export WEB_PORT STATS_PORT HEALTHD_PORT PROMETHEUS_PORT PUBLISH

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

refuse_taken_ports() {
    local name port owner
    for name in WEB_PORT STATS_PORT HEALTHD_PORT PROMETHEUS_PORT; do
        port=${!name}
        [[ $port =~ ^[0-9]+$ ]] && ((port >= 1 && port <= 65535)) || die "$name=$port is not a port number"
        owner=$(listener "$port")
        [ -z "$owner" ] || die "port $port is taken by $owner" \
            "Stop that, or choose another port: $name=$((port + 10000)) make demo-1"
    done
}
