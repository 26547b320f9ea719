#!/usr/bin/env bash
# What restarts of lbd cost clients: lbd and a server of its own run on this machine's loopback interface under s6, which restarts
# lbd again and again under load; one line says what was lost.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/say.sh
. scripts/lib/usage.sh
. scripts/lib/load.sh

readonly address=127.83.0.1 port=8080 server_port=8081 admin_port=8404

usage() {
    cat <<USAGE
usage: scripts/restart-test.sh [--runs N] [--rate N] [--kept N] [--kept-rate N]
  --runs N       restarts (default 50, at most 1000)
  --rate N       new connections a second (default 2000)
  --kept N       connections that are kept, beside them (default 200)
  --kept-rate N  requests a second on these (default 1000)
Needs nginx, s6 and the programs that \`make build\` makes, and $address to itself; no privilege.
  lost     requests that were refused, reset, broken off, or not answered within 10 s. A request on a kept connection is not
           repeated, even if the connection ends as it is sent. One that finds every kept connection in use is not sent, which
           loses nothing and is told apart.
  slowest  the longest time from the beginning of a connection, or of a request on a kept one, to the end of the answer
USAGE
}

help_if_asked "${1:-}"
runs=50 rate=2000 kept=200 kept_rate=1000
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || refuse "$1 lacks its value"
    [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || refuse "\"$2\" is not a number from 1 to 9999"
    case $1 in
        --runs) (($2 <= 1000)) || refuse "\"$2\" are too many" && runs=$2 ;;
        --rate) rate=$2 ;;
        --kept) kept=$2 ;;
        --kept-rate) kept_rate=$2 ;;
        *) refuse "\"$1\" is not an option" ;;
    esac
    shift 2
done
programs=$(realpath "${TANDEM_BIN_DIR:-${CARGO_TARGET_DIR:-target}/release}")
for program in lbd tandemctl; do
    [ -x "$programs/$program" ] || die "there is no $programs/$program" "make build"
done
for program in nginx s6-svscan; do have $program || die "$program is not installed" "scripts/prerequisites test"; done

work=$(mktemp -d)
service=$work/service/lbd
loads=() supervisor='' nginx=''
clean_up() {
    ((${#loads[@]} == 0)) || kill "${loads[@]}" 2>/dev/null || true
    [ -z "$supervisor" ] || {
        s6-svc -wD -T 40000 -d "$service" 2>/dev/null || true
        kill "$supervisor" 2>/dev/null || true
    }
    [ -z "$nginx" ] || kill "$nginx" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

start_server() {
    cat >"$work/nginx.conf" <<NGINX
daemon off;
master_process off;
pid $work/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
    access_log off;
    keepalive_requests 1000000000;
    server { listen $address:$server_port backlog=4096; location / { return 200 "hello\n"; } }
}
NGINX
    nginx -e stderr -p "$work" -c "$work/nginx.conf" &
    nginx=$!
}

start_lbd() {
    mkdir -p "$work/service"
    cp -R deploy/s6/lbd "$service"
    cat >"$work/lb.yaml" <<YAML
lbd: { maxconn: 8192 }
admin: { bind: "$address:$admin_port" }
frontends: { web: { bind: "$address:$port", backend: app, access_log: off } }
backends: { app: { check: off, servers: { server: "$address:$server_port" } } }
YAML
    cat >"$service/run" <<RUN
#!/bin/sh
exec "$programs/lbd" --ready-fd 3 --config "$work/lb.yaml" --run-dir "$work" 2>>"$work/lbd.log"
RUN
    TANDEM_RUN_DIR=$work s6-svscan "$work/service" &
    supervisor=$!
    for _ in {1..100}; do
        if s6-svstat "$service" >/dev/null 2>&1; then break; fi
        sleep 0.05
    done
    s6-svwait -U -t 20000 "$service" || {
        cat "$work/lbd.log" >&2
        die "lbd does not start"
    }
}

load() { # NAME OPTION...
    "$programs/tandemctl" load "http://$address:$port/" --for 1h --timeout 10s --concurrency 10000 --json "${@:2}" \
        >"$work/$1" &
    loads+=($!)
}

result() { # NAME TEXT
    local kinds
    kinds=$(kinds_lost "$1")
    printf '%s: %d of %d lost%s, median %.1f ms, slowest %.0f ms' "$2" "$(lost "$1")" "$(figure "$1" sent)" \
        "${kinds:+ ($kinds)}" "$(figure "$1" p50)" "$(figure "$1" max)"
}

ulimit -n "$(ulimit -Hn)"
start_server
start_lbd
load new --rate "$rate"
load kept --rate "$kept_rate" --keep "$kept"
sleep 2
began=$(date +%s%3N)
for ((run = 1; run <= runs; run++)); do
    s6-svc -wR -T 60000 -r "$service" || die "restart $run did not come to its end"
    sleep 0.3
done
took=$(($(date +%s%3N) - began - 300 * runs))
sleep 1
kill "${loads[@]}"
wait "${loads[@]}" || true
loads=()
printf '%d restarts, %d ms each; %s; %s\n' "$runs" $((took / runs)) \
    "$(result new "$rate new connections a second")" "$(result kept "$kept kept ones")"
(($(lost new) + $(lost kept) == 0))
