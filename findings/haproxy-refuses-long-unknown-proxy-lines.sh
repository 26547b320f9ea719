#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian's 2.6.12-1+deb12u4), `accept-proxy`: a PROXY protocol line of version 1 with the family UNKNOWN is taken only if
# nothing follows that word. HAProxy's own specification of the protocol (proxy-protocol.txt, 2.1) has a receiver ignore what stands between
# UNKNOWN and the end of the line, and names such a line, with two addresses and ports, as the longest that there is. A sender that
# fills it in is reset, and nginx 1.22.1 (1.22.1-9+deb12u11) serves it. So a proxy in front of HAProxy has to write the short form.
#
# Seen: "haproxy: UNKNOWN served, UNKNOWN with addresses reset, TCP4 served; nginx: UNKNOWN served, UNKNOWN with addresses served,
# TCP4 served".
set -euo pipefail

for tool in apt-get dpkg-deb python3; do command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 2; }; done
work=$(mktemp -d)
trap 'kill "$(cat "$work/pid" 2>/dev/null)" "$(cat "$work/nginx.pid" 2>/dev/null)" 2>/dev/null; rm -rf "$work"' EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download haproxy=2.6.12-1+deb12u4 nginx=1.22.1-9+deb12u11 &&
    for package in ./*.deb; do dpkg-deb --extract "$package" .; done)
cat >"$work/haproxy.cfg" <<'CONFIG'
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend web
    bind 127.0.0.1:18944 accept-proxy
    http-request return status 200
CONFIG
temporary=$(for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $work/$kind;"; done)
cat >"$work/nginx.conf" <<CONFIG
pid $work/nginx.pid;
events { }
http { access_log off; $temporary server { listen 127.0.0.1:18945 proxy_protocol; return 200; } }
CONFIG
"$work/usr/sbin/haproxy" -D -p "$work/pid" -f "$work/haproxy.cfg"
"$work/usr/sbin/nginx" -e "$work/error.log" -c "$work/nginx.conf"
cat >"$work/ask.py" <<'PYTHON'
import socket
import time

LINES = {
    "UNKNOWN": b"PROXY UNKNOWN\r\n",
    "UNKNOWN with addresses": b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1000 80\r\n",
    "TCP4": b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n",
}


def ask(port, line):
    for _ in range(50):
        try:
            stream = socket.create_connection(("127.0.0.1", port), timeout=5)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    stream.sendall(line + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    try:
        return "served" if stream.recv(4096).startswith(b"HTTP/1.1 200") else "closed"
    except ConnectionResetError:
        return "reset"


def of(port):
    return ", ".join(f"{name} {ask(port, line)}" for name, line in LINES.items())


print(f"haproxy: {of(18944)}; nginx: {of(18945)}")
PYTHON
seen=$(python3 "$work/ask.py")
echo "$seen"
[ "$seen" = "haproxy: UNKNOWN served, UNKNOWN with addresses reset, TCP4 served; nginx: UNKNOWN served, UNKNOWN with addresses served, TCP4 served" ]
