# shellcheck shell=bash
# What a demo runs in, and which one runs now. Needs say.sh.

# on_engine ENGINE COMMAND...: the engines understand the same commands.
on_engine() {
    case $1 in
        netns) scripts/engines/netns "${@:2}" ;;
        docker | podman) ENGINE=$1 scripts/engines/compose "${@:2}" ;;
    esac
}

answers() { have "$1" && timeout 20 "$1" info >/dev/null 2>&1; }

# Sets `engine` from ENGINE, and says why when it had to be chosen.
choose_engine() {
    engine=${ENGINE:-auto}
    case $engine in
        docker | podman | netns) ;;
        auto)
            if answers docker; then
                engine=docker reason="its daemon answers"
            elif answers podman; then
                engine=podman reason="it is here, and no Docker daemon answers"
            else
                engine=netns reason="neither Docker nor Podman answers"
            fi
            say "Engine: $engine ($reason). ENGINE=docker|podman|netns forces one."
            ;;
        *) die "there is no engine \"$engine\"" "ENGINE may be auto, docker, podman or netns." ;;
    esac
}

# A chosen engine that does not answer, or cannot work, is better explained than tried.
refuse_useless_engine() { # ENGINE
    case $1 in
        docker)
            answers docker || die "docker does not answer to $(id -un); \`docker info\` says why" \
                "Is its daemon running (systemctl start docker), and may you use it (usermod -aG docker $(id -un), then log in again)?" \
                "Without it: ENGINE=netns make demo-1"
            ;;
        podman)
            answers podman || die "podman does not work for $(id -un); \`podman info\` says why" \
                "Without it: ENGINE=netns make demo-1"
            [ "$(id -u)" -eq 0 ] || refuse_rootless_podman
            ;;
    esac
}

# What root need not have, and a user does.
refuse_rootless_podman() {
    local user
    user=$(id -un)
    # Their own number is one line, those of containers' users are more.
    [ "$(podman unshare cat /proc/self/uid_map 2>/dev/null | wc -l)" -gt 1 ] ||
        die "podman has no numbers for the users in containers of $user: /etc/subuid and /etc/subgid give none, or newuidmap is missing" \
            "As root: apt-get install uidmap && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user" \
            "Then: podman system migrate"
    [ -w /dev/net/tun ] || die "$user may not open /dev/net/tun, and without it podman has no network for containers of a user" \
        "As root: chmod 666 /dev/net/tun, which is its usual mode"
}

# Sets `running_engine` and `running_demo`, empty when no demo runs.
find_running() {
    local candidate
    running_engine='' running_demo=''
    for candidate in netns docker podman; do
        [ "$candidate" = netns ] || answers "$candidate" || continue
        running_demo=$(on_engine "$candidate" running | head -n 1)
        if [ -n "$running_demo" ]; then
            running_engine=$candidate
            return
        fi
    done
}

# Removes whatever is there of a demo, in every engine, also what was left half started.
down() { # DEMO
    local candidate
    local -a with_images=()
    for candidate in docker podman; do
        answers "$candidate" || continue
        on_engine "$candidate" down "$1"
        [ -z "$("$candidate" image ls --quiet 'localhost/tandem/*' 2>/dev/null)" ] || with_images+=("$candidate")
    done
    [ ! -d /run/tandem-demo ] || on_engine netns down "$1"
    step "Demo $1 is gone."
    for candidate in "${with_images[@]}"; do
        say "Its images stay in $candidate for the next start. To remove them, too:"
        say "$candidate image rm \$($candidate image ls --format '{{.Repository}}:{{.Tag}}' 'localhost/tandem/*')"
    done
}
