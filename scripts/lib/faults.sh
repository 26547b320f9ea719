# shellcheck shell=bash
# Faults of nodes, done and undone, for scripts that set fault. Needs engine.sh and nodes.sh.

now() { date +%s.%N; }

# inject FAULT NODE: prints when it happened.
inject() {
    local command
    case $1 in
        lbd-killed) command='pkill -KILL -x lbd' ;;
        lbd-stopped) command='s6-svc -d /run/service/lbd' ;;
        lbd-hung) command='pkill -STOP -x lbd' ;;
        handover | withdrawn) command='tandemctl handover >/dev/null' ;;
        vrrpd-stopped) command='s6-svc -d /run/service/vrrpd' ;;
        vrrpd-killed) command='pkill -KILL -x vrrpd' ;;
        announced) command='tandemctl announce >/dev/null' ;;
        routing-killed) command='pkill -KILL -x "bird|bgpd"' ;;
        node-stopped) now && in_demo stop "$2" ;;
        node-cut) now && in_demo disconnect "$2" ;;
        node-added) now && in_demo start "$2" ;;
        partition) now && in_demo partition lb1 lb2 ;;
    esac
    # The time is taken inside, as getting there takes a while.
    [ -z "${command:-}" ] || on_node "$2" sh -c "date +%s.%N; $command"
}

# Undoes the fault that `broken` names. Harmless where nothing is broken.
undo() {
    [ -n "${broken:-}" ] || return 0
    local node=$broken
    broken=''
    case $fault in
        lbd-stopped) on_node "$node" s6-svc -u /run/service/lbd ;;
        lbd-hung) on_node "$node" pkill -CONT -x lbd ;;
        vrrpd-stopped) on_node "$node" s6-svc -u /run/service/vrrpd ;;
        node-stopped | node-added) in_demo start "$node" ;;
        node-cut) in_demo connect "$node" ;;
        partition) in_demo heal lb1 lb2 ;;
        withdrawn | announced) on_node "$node" tandemctl announce >/dev/null ;;
    esac
}
