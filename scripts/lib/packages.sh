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

    step "Installing from the distribution: ${packages[*]}"
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

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 "$@"
}

install_once() { apt install -y --no-install-recommends "$@"; }

# Debian starts a service when its package is installed, and at each boot from then on. The demos and the tests run
# nginx, HAProxy and Prometheus themselves, so services that come with a package new to this machine stay off; one
# that was here before is never touched.
readonly quiet_services='nginx haproxy prometheus'
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
case "\$1" in $(printf '%s|%s.service|' "${held_services[@]}" "${held_services[@]}")none) exit 101 ;; esac
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
        as_root systemctl --quiet disable "$service.service" 2>/dev/null || true
        say "$service is installed and stays off: \`systemctl enable --now $service\` would start it."
    done
    held_services=()
}

start_docker() {
    docker info >/dev/null 2>&1 && return
    step "Starting Docker's daemon"
    as_root service docker start || true
    local _
    for _ in {1..30}; do
        docker info >/dev/null 2>&1 && return
        sleep 1
    done
    warn "Docker is installed, but its daemon does not answer to $(id -un); see \`docker info\`"
}
