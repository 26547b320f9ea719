#!/usr/bin/env bash
# FRR 8.4.4 (Debian 12), zebra, on a router where another program has next hop objects of its own (`ip nexthop`), as one that hashes
# resiliently needs, since FRR makes plain groups:
# - An object that its owner deletes comes back at once, as a group with the same number, of a next hop of zebra's, and zebra's it is from then
#   on. Its log says that the kernel deleted a group "that we are still using for a route". Whoever cleans up behind himself leaves more than
#   there was, and cannot use his number for a next hop again: an object that is a group does not become one that is none.
# - A route that another program adds for a prefix, to the table that zebra writes to, takes zebra's own out of the kernel, whatever the
#   metrics, until it is deleted. So such a program needs another table, and leaves its objects in place when it stops.
#
# Seen: "own 1107296257 via, foreign deleted: 1107296257 group zebra; beside a foreign route: 0 of FRR's, and 1 when it is gone".
set -euo pipefail

for tool in apt-get dpkg ip unshare; do command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 2; }; done
[ "$(id -u)" = 0 ] || { echo "network namespaces need root" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
(cd "$work" && apt-get -qq download frr=8.4.4-1.1~deb12u2 libyang2 libjson-c5 libcap2 2>/dev/null)
for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
# zebra wants root in a group that its package would have made.
{ grep -v "^frr" /etc/group && printf 'frr:x:60001:\nfrrvty:x:60002:root\n'; } >"$work/group"
printf 'ip route 192.0.2.100/32 10.1.0.1\nip route 192.0.2.100/32 10.1.0.2\n' >"$work/staticd.conf"
touch "$work/zebra.conf"
cat >"$work/try.sh" <<'TRY'
set -euo pipefail
mount --bind "$1/group" /etc/group
ip link set lo up
ip link add near type veth peer name far
ip link set far up
ip address add 10.1.0.254/24 dev near
ip link set near up
export LD_LIBRARY_PATH=$1/root/usr/lib/x86_64-linux-gnu:$1/root/usr/lib/x86_64-linux-gnu/frr:$1/root/lib/x86_64-linux-gnu
for daemon in zebra staticd; do
    "$1/root/usr/lib/frr/$daemon" -f "$1/$daemon.conf" -i "$1/$daemon.pid" -z "$1/zserv" --vty_socket "$1" -u root -g root >/dev/null 2>&1 &
done
of_frr() { ip route show 192.0.2.100 | grep -c 'proto static' || true; }
soon() { for _ in {1..100}; do ! "$@" || return 0; sleep 0.1; done; echo "never: $*" >&2; exit 1; }
has_route() { [ "$(of_frr)" = "$1" ]; }
is_back() { [ -n "$(ip nexthop show id 1107296257 2>/dev/null)" ]; }
soon has_route 1
ip nexthop add id 1107296257 via 10.1.0.1 dev near
own=$(ip nexthop show id 1107296257 | awk '{ print $2, $3 }')
ip nexthop del id 1107296257
soon is_back
foreign=$(ip nexthop show id 1107296257 | awk '{ print $2, $3, $NF }')
ip route add 192.0.2.100/32 via 10.1.0.3 dev near metric 5
soon has_route 0
ip route del 192.0.2.100/32 via 10.1.0.3 dev near metric 5
soon has_route 1
echo "own $own, foreign deleted: $foreign; beside a foreign route: 0 of FRR's, and $(of_frr) when it is gone"
kill %1 %2
TRY
seen=$(timeout 60 unshare --net --mount bash "$work/try.sh" "$work")
echo "$seen"
[ "$seen" = "own 1107296257 via, foreign deleted: 1107296257 group zebra; beside a foreign route: 0 of FRR's, and 1 when it is gone" ]
