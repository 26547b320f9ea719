#!/usr/bin/env bash
# Linux 6.18, packet sockets (AF_PACKET), here through scapy 2.6.1: an interface that went down leaves
# ENETDOWN in every packet socket bound to it, and there it stays after the interface is up again. The next send reports it, and
# sends nothing; the one after that works. So a daemon that announces an address the moment a link is back (gratuitous ARP) loses
# just that announcement, and the error says that a link is down which is up. Reading the error first (getsockopt SO_ERROR) clears it.
#
# Seen: "link up; first send: [Errno 100] Network is down; second send: sent; after SO_ERROR 100, first send: sent".
set -euo pipefail

for tool in python3 ip unshare; do command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 2; }; done
[ "$(id -u)" = 0 ] || { echo "network namespaces need root" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$work/lib" scapy==2.6.1
cat >"$work/down.py" <<'PYTHON'
import logging
import socket
import subprocess

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import ARP, Ether, conf


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def outcome(sender):
    packet = Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, psrc="192.0.2.1", pdst="192.0.2.1")
    try:
        sender.send(packet)
        return "sent"
    except OSError as error:
        return str(error)


ip("link", "add", "here", "type", "veth", "peer", "name", "there")
ip("link", "set", "there", "up")
ip("link", "set", "here", "up")
conf.ifaces.reload()
sender = conf.L2socket(iface="here")
assert outcome(sender) == "sent"


def down_and_up():
    ip("link", "set", "here", "down")
    ip("link", "set", "here", "up")
    with open("/sys/class/net/here/flags") as flags:
        assert int(flags.read(), 16) & 1, "the link is up"


down_and_up()
first, second = outcome(sender), outcome(sender)
down_and_up()
error = sender.outs.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
print(f"link up; first send: {first}; second send: {second}; after SO_ERROR {error}, first send: {outcome(sender)}")
PYTHON
seen=$(unshare --net --mount sh -c "mount -t sysfs none /sys && PYTHONPATH='$work/lib' python3 '$work/down.py'")
echo "$seen"
[ "$seen" = "link up; first send: [Errno 100] Network is down; second send: sent; after SO_ERROR 100, first send: sent" ]
