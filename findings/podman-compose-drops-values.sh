#!/usr/bin/env bash
# podman-compose 1.0.3 (PyPI; Debian 12 has the same version), asked with --dry-run what it would have Podman do with valid Compose files:
# - `sysctls` as a mapping loses its values: `--sysctl net.ipv4.ip_forward` instead of `net.ipv4.ip_forward=1`. The list form is right.
# - A network that a service names with options (`inner: { ipv4_address: ... }`) is called missing, though it is declared. With an
#   empty mapping (`inner:`) it is found. A network that is declared and that no service uses is called missing as well.
# - `stop_grace_period` is not looked at: services are stopped with 10 s, whatever it says.
# So a pair of load balancers, which needs fixed addresses, sysctls and time to hand over, cannot be composed with it.
#
# Seen: "mapping --sysctl net.ipv4.ip_forward, list --sysctl net.ipv4.ip_forward=1, address missing networks: inner, empty found,
# unused missing networks: spare, stop -t 10".
set -euo pipefail

command -v python3 >/dev/null || { echo "python3 is needed" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/python"
"$work/python/bin/pip" --quiet --disable-pip-version-check install \
    podman-compose==1.0.3 pyyaml==6.0.2 python-dotenv==1.0.1
# With --dry-run it asks Podman for its version, and nothing else.
printf '#!/bin/sh\necho podman version 4.3.1\n' >"$work/podman"
chmod +x "$work/podman"
would() { # SERVICE NETWORKS COMMAND...
    printf 'services: { web: { image: "localhost/web:1", %s } }\n%s\n' "$1" "$2" >"$work/compose.yml"
    PATH=$work:$PATH "$work/python/bin/podman-compose" --dry-run -f "$work/compose.yml" "${@:3}" 2>&1 || :
}
sysctl() { grep -o -- '--sysctl [^ ]*'; }
network() { sed -n 's/^RuntimeError: //p' | grep . || echo found; }
mapping=$(would 'sysctls: { net.ipv4.ip_forward: 1 }' '' up -d | sysctl)
list=$(would 'sysctls: [ net.ipv4.ip_forward=1 ]' '' up -d | sysctl)
declared='networks: { inner: { ipam: { config: [ { subnet: 10.99.0.0/24 } ] } } }'
address=$(would 'networks: { inner: { ipv4_address: 10.99.0.10 } }' "$declared" up -d | network)
empty=$(would 'networks: { inner: }' "$declared" up -d | network)
unused=$(would 'init: true' 'networks: { default: {}, spare: {} }' up -d | network)
stop=$(would 'stop_grace_period: 90s' '' down | grep -o 'stop -t [0-9]*')
seen="mapping $mapping, list $list, address $address, empty $empty, unused $unused, $stop"
echo "$seen"
[ "$seen" = "mapping --sysctl net.ipv4.ip_forward, list --sysctl net.ipv4.ip_forward=1, address missing networks: inner, \
empty found, unused missing networks: spare, stop -t 10" ]
