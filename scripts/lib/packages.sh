# shellcheck shell=bash
# Installing Debian packages without starting, enabling or disturbing any service. Needs say.sh and root.sh.

wanted_packages=()

# want PACKAGE...: a name that ends in ? is wanted only where the distribution has it.
want() {
    local package
    for package in "$@"; do
        [[ " ${wanted_packages[*]} " == *" $package "* ]] || wanted_packages+=("$package")
    done
}

# want_command COMMAND=PACKAGE...: the command may come from anywhere; the package is for when it is missing.
want_command() {
    local pair
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" have "${pair%%=*}" || want "${pair#*=}"
    done
}

install_wanted() {
    [ ${#wanted_packages[@]} -gt 0 ] || return 0
    have apt-get || die "missing: ${wanted_packages[*]}" \
        "This machine has no apt-get. Install what these Debian packages hold, and try again."
    local optional=() packages=() package
    for package in "${wanted_packages[@]}"; do
        if [[ $package == *'?' ]]; then optional+=("${package%'?'}"); else packages+=("$package"); fi
    done
    can_be_root || die "missing packages, and no right to install them. As root, run:" \
        "apt-get update && apt-get install --no-install-recommends ${packages[*]}"

    step "Installing from the distribution (may take a minute): ${packages[*]}"
    apt update || warn "apt-get update failed; trying with the lists that are here"
    for package in "${optional[@]}"; do
        apt-cache show "$package" >/dev/null 2>&1 && packages+=("$package")
    done
    hold_services "${packages[@]}"
    install_once "${packages[@]}" || {
        warn "apt-get failed; trying once more"
        sleep 5
        apt update || true
        install_once "${packages[@]}" || die "the packages could not be installed: ${packages[*]}"
    }
    release_services
    if [[ " ${packages[*]} " == *" docker.io "* ]]; then start_docker; fi
}

# What apt-get says matters only when it fails.
apt() {
    local output
    output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=2 "$@" 2>&1) || {
        printf '%s\n' "$output" | tail -n 20 >&2
        return 1
    }
}

install_once() { apt install -y --no-install-recommends "$@"; }

# Debian starts a service when its package is installed, and at each boot from then on. The demos and the tests run
# nginx, HAProxy, Prometheus and VRRP daemons themselves, so services that come with a package new to this machine stay off; one
# that was here before is never touched.
readonly quiet_services='nginx haproxy prometheus keepalived frr bird'
held_services=()
policy=/usr/sbin/policy-rc.d
policy_is_ours=no

hold_services() {
    local service
    for service in $quiet_services; do
        [ -e "/etc/init.d/$service" ] || [ -e "/lib/systemd/system/$service.service" ] || held_services+=("$service")
    done
    [ -e $policy ] && return
    policy_is_ours=yes
    trap release_services EXIT
    as_root tee $policy >/dev/null <<POLICY
#!/bin/sh
# Written by Tandem's scripts/prerequisites for the length of one installation.
case "\${1%.service}" in $(printf '%s|' "${held_services[@]}")docker) exit 101 ;; esac
exit 0
POLICY
    as_root chmod 755 $policy
}

release_services() {
    [ $policy_is_ours = yes ] && as_root rm -f $policy
    policy_is_ours=no
    trap - EXIT
    local service
    for service in "${held_services[@]}"; do
        [ -e "/lib/systemd/system/$service.service" ] || continue
        if have systemctl; then
            as_root systemctl --quiet disable "$service.service" 2>/dev/null
        else
            as_root update-rc.d "$service" disable
        fi || warn "$service is installed now, and could not be kept from starting at the next boot"
    done
    held_services=()
}

# Docker is wanted running. It is started apart, so that its trouble is told apart from the installation's.
start_docker() {
    docker info >/dev/null 2>&1 && return
    step "Starting Docker's daemon"
    local _
    if as_root service docker start; then
        for _ in {1..30}; do
            as_root docker info >/dev/null 2>&1 && return
            sleep 1
        done
    fi
    warn "Docker is installed, but its daemon does not start; its log says why"
}
