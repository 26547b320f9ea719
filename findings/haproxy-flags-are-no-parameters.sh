#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian's 2.6.12-1+deb12u4): url_param(x) does not see a parameter that has no "=". For "?x" the condition
# `url_param(x) -m found` does not hold, while it does for "?x=" with its empty value; every common parser of queries takes both for
# a parameter x with an empty value. So a route for such a flag, carried over to another proxy by its meaning, goes another way
# than the original did. A regular expression on `query` sees the flag.
#
# Seen: "x=1 found, x= found, x missing, y&x missing, y&x= found; by the query: x found, y&x found, yx missing".
set -euo pipefail

for tool in apt-get dpkg-deb curl; do command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 2; }; done
work=$(mktemp -d)
trap 'kill "$(cat "$work/pid" 2>/dev/null)" 2>/dev/null; rm -rf "$work"' EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download haproxy=2.6.12-1+deb12u4 && dpkg-deb --extract haproxy_*.deb .)
cat >"$work/haproxy.cfg" <<'CONFIG'
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend flags
    bind 127.0.0.1:18943
    http-request return status 200 content-type text/plain string "found" if { path /param } { url_param(x) -m found }
    http-request return status 200 content-type text/plain string "found" if { path /query } { query -m reg (^|&)x(=|&|$) }
    http-request return status 200 content-type text/plain string "missing"
CONFIG
"$work/usr/sbin/haproxy" -D -p "$work/pid" -f "$work/haproxy.cfg"
ask() { curl --silent --fail --retry 5 --retry-connrefused "http://127.0.0.1:18943$1"; }
seen="x=1 $(ask '/param?x=1'), x= $(ask '/param?x='), x $(ask '/param?x'), y&x $(ask '/param?y&x'), y&x= $(ask '/param?y&x=')"
seen="$seen; by the query: x $(ask '/query?x'), y&x $(ask '/query?y&x'), yx $(ask '/query?yx')"
echo "$seen"
[ "$seen" = "x=1 found, x= found, x missing, y&x missing, y&x= found; by the query: x found, y&x found, yx missing" ]
