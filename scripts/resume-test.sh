#!/usr/bin/env bash
# Whether a client's TLS session outlives the node that it began at: demo 2 moves the virtual address, and a client that was
# at one node goes on at the other, without a new exchange of certificates and keys.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/say.sh
. scripts/lib/usage.sh
. scripts/lib/engine.sh
. scripts/lib/nodes.sh
. scripts/lib/ports.sh
. scripts/lib/faults.sh

readonly moving='lbd-killed lbd-stopped node-stopped handover'

usage() {
    cat <<'USAGE'
usage: scripts/resume-test.sh [FAULT]
Demo 2 must run. FAULT moves the virtual address: lbd-killed (the default), lbd-stopped, node-stopped or handover, as in
scripts/failover-test.sh. Before it a client shakes hands with the node that has the address; behind it the same client does
with the other one. "New" is a handshake with everything that belongs to it, "Reused" one of a session that goes on.
The port of this machine is WEB_TLS_PORT 8443. The exit status is 0 when the session went on, and 1 when it did not.
USAGE
}

help_if_asked "${1:-}"
[ $# -le 1 ] || refuse "too many arguments"
fault=${1:-lbd-killed}
[[ " $moving " == *" $fault "* ]] || refuse "\"$fault\" is not a fault that moves the address"

work=$(mktemp -d)
trap 'undo; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# One request with OpenSSL's client; prints the node that has the address, and what the handshake was.
ask() { # OPTION-OF-S_CLIENT...
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
        openssl s_client -connect "127.0.0.1:$WEB_TLS_PORT" -servername localhost -CAfile compose/tls/ca.pem \
            -verify_return_error -ign_eof "$@" >"$work/said" 2>&1 || die "no answer by HTTPS: $(tail -n 5 "$work/said")"
    grep -q '^HTTP/1.1 200' "$work/said" || die "no answer by HTTPS: $(tail -n 5 "$work/said")"
    printf '%s  %s\n' "$(holders)" "$(awk '/^(New|Reused), TLS/ { sub(/, Cipher.*/, ""); print; exit }' "$work/said")"
}

wait_until_on() { # NODE
    local start=$SECONDS
    until [ "$(holders)" = "$1" ]; do
        ((SECONDS - start < 60)) || die "the address does not come to $1"
        sleep 0.1
    done
}

in_demo_2 wait_until_settled || die "demo 2 is not healthy: one node must have the address, and the other be its backup" \
    "See what is wrong: make demo-2-status"
first=$(holders)
other=$(other_node "$first")
ask -sess_out "$work/session"
broken=$first
inject "$fault" "$first" >/dev/null || die "the fault did not happen"
printf '%s  %s\n' "$first" "$fault"
wait_until_on "$other"
ask -sess_in "$work/session" | tee "$work/then"
undo
wait_until_settled || die "demo 2 does not settle"
grep -q "^$other  Reused, " "$work/then" || die "the session did not go on at $other" \
    "Do both nodes have the same compose/tls/tickets?"
