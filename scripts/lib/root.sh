# shellcheck shell=bash
# Becoming root, for the few things that need it.

# Whether root can be had without asking for a password that nobody is there to type.
can_be_root() {
    [ "$(id -u)" -eq 0 ] && return
    have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}
