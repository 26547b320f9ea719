# shellcheck shell=bash
# Starting a demo, from the sources to a healthy stack. Needs say.sh, engine.sh, tls.sh, ports.sh and
# health.sh.

up() { # DEMO
    local demo=$1
    [[ $demo == [123] ]] || die "there is no demo $demo"
    step "Demo $demo"
    refuse_missing_programs
    find_running
    if [ -z "$running_engine" ]; then
        choose_engine_for "$demo"
        refuse_taken_ports "$demo"
    else
        join_running "$demo"
    fi
    refuse_unknown_router "$demo"
    refuse_unreadable_configuration
    [ -n "${TANDEM_BIN_DIR:-}" ] || scripts/prerequisites build
    scripts/prerequisites "$engine" $(routing_purpose "$demo")
    refuse_useless_engine "$engine"
    ensure_tls
    scripts/build
    [ "$engine" = netns ] || scripts/images "$engine" "$demo"
    step "Starting in $engine"
    on_engine "$engine" up "$demo"
    wait_until_healthy "$demo" || {
        explain_failure
        die "demo $demo does not work; above is what its parts said" "Remove it: make demo-$demo-down"
    }
    # A node that ran before has not seen what was made anew.
    distribute_tls
    # Whichever was ready first has it.
    [ "$demo" != 2 ] || (move lb1) || true
    "guide_$demo"
}

# Demo 3 does not run everywhere: FRR is in no image, as it takes 20 MB, ten times what BIRD does; and netavark, Podman's network, gives what goes
# to an address that is not of it another sender (4.3.1, by MASQUERADE), so that nobody who asks the service is answered.
choose_engine_for() { # DEMO
    case $1:${ENGINE:-auto} in
        3:podman)
            die "demo 3 does not run in podman: its network gives what goes to the service another sender" \
                "ENGINE=docker or ENGINE=netns make demo-3"
            ;;
        3:auto)
            engine=netns
            if [ "${ROUTER:-bird}" = bird ] && answers docker; then engine=docker; fi
            say "Engine: $engine. ENGINE=docker|netns forces one."
            ;;
        *) choose_engine ;;
    esac
}

# In containers; in network namespaces both are there, and the engine knows which of them runs.
refuse_unknown_router() { # DEMO
    [ "$1" = 3 ] && [ "$engine" != netns ] && [ "${ROUTER:-bird}" != bird ] || return 0
    die "demo 3 has ROUTER=bird alone in $engine, and not \"$ROUTER\"" "With FRR: ENGINE=netns ROUTER=frr make demo-3"
}

# What this machine itself needs for it.
routing_purpose() { # DEMO
    [ "$1" != 3 ] || [ "$engine" != netns ] || echo "${ROUTER:-bird}"
}

# A demo that runs is brought up to date where it runs.
join_running() { # DEMO
    [ "$running_demo" = "$1" ] || die "demo $running_demo runs, and no two run together" \
        "First: make demo-$running_demo-down"
    engine=$running_engine
    case ${ENGINE:-auto} in
        auto | "$engine") say "It runs in $engine already; bringing it up to date." ;;
        *) die "demo $1 runs in $engine already" "First: make demo-$1-down" ;;
    esac
}

# What is not built here has to be there already.
refuse_missing_programs() {
    local dir=${TANDEM_BIN_DIR:-} program
    [ -n "$dir" ] || return 0
    for program in healthd lbd vrrpd tandemctl; do
        [ -x "$dir/$program" ] || die "TANDEM_BIN_DIR is $dir, and there is no program $program in it" \
            "Without TANDEM_BIN_DIR everything is built here."
    done
}

# The daemons read the configuration as a user of their own; of compose/tls they get copies.
refuse_unreadable_configuration() {
    local unreadable
    unreadable=$(find compose -path compose/tls -prune -o ! -perm -o=r -o -type d ! -perm -o=x -print)
    [ -z "$unreadable" ] || die "the daemons run as a user that may not read ${unreadable//$'\n'/, }" \
        "chmod -R a+rX compose"
}

guide_1() {
    cat <<GUIDE

${BOLD}Demo 1 runs in $engine and is healthy.${PLAIN}

Look at
    http://localhost:$WEB_PORT    three nginx in turn: refresh the page
    https://localhost:$WEB_TLS_PORT   the same by HTTPS and HTTP/2: curl --cacert compose/tls/ca.pem https://localhost:$WEB_TLS_PORT
    http://localhost:$STATS_PORT    what lbd does: servers, requests, errors
    http://localhost:$HEALTHD_PORT    what healthd sees: checks and verdicts
    http://localhost:$PROMETHEUS_PORT    Prometheus, with alerts for a server or a daemon that is down

Try
    ./scripts/load-test.sh http://localhost:$WEB_PORT 300 0.02    a third each, and no failure
    ./scripts/demo stop nginx1     during a load test: still no failure
    ./scripts/demo start nginx1    and it takes its share again within 5 s
    ./scripts/demo kill lb lbd     the load balancer itself: back in under a second
    make demo-1-status             the state of everything in the terminal
    edit compose/lb.yaml, then make reload: no restart, and a mistake is refused and explained

docs/workshop.md continues from here. make demo-1-down stops and removes it.
GUIDE
}

guide_2() {
    cat <<GUIDE

${BOLD}Demo 2 runs in $engine and is healthy: $virtual_address is on $(holders | xargs).${PLAIN}

Look at
    http://localhost:$WEB_PORT    three nginx in turn, through the virtual address
    https://localhost:$WEB_TLS_PORT   the same by HTTPS and HTTP/2: curl --cacert compose/tls/ca.pem https://localhost:$WEB_TLS_PORT
    http://localhost:$STATS_PORT    what lbd does on lb1; on lb2: http://localhost:$STATS2_PORT
    http://localhost:$VRRP_PORT    what vrrpd does on lb1; on lb2: http://localhost:$VRRP2_PORT
    http://localhost:$PROMETHEUS_PORT    Prometheus, with an alert when the virtual address moves

Try
    ./scripts/demo vip             who holds the virtual address, and why
    ./scripts/demo kill lb1 lbd    it moves in milliseconds; during ./scripts/load-test.sh http://localhost:$WEB_PORT 300 0.02
    ./scripts/demo stop lb2        and back
    ./scripts/demo start lb2       and it stays: nobody preempts
    ./scripts/failover-test.sh lbd-killed    what exactly that costs clients
    ./scripts/resume-test.sh       a client's TLS session goes on at the other node
    make demo-2-status             the state of both nodes in the terminal

docs/workshop.md continues from here. make demo-2-down stops and removes it.
GUIDE
}

guide_3() {
    cat <<GUIDE

${BOLD}Demo 3 runs in $engine and is healthy: $service_address is on $(holders | xargs), and the router sends to all of them.${PLAIN}

Look at
    http://localhost:$WEB_PORT    three nginx, through any of the nodes
    http://localhost:$STATS_PORT    what lbd does on lb1; on lb2 http://localhost:$STATS2_PORT, on lb3 http://localhost:$STATS3_PORT
    http://localhost:$VRRP_PORT    what vrrpd does on lb1; on lb2 http://localhost:$VRRP2_PORT, on lb3 http://localhost:$VRRP3_PORT
    http://localhost:$PROMETHEUS_PORT    Prometheus, with an alert for a node that is not announced

Try
    ./scripts/demo vip             who has the address, and whom the router sends to
    ./scripts/demo withdraw lb2    takes a node out; during ./scripts/load-test.sh http://localhost:$WEB_PORT 300 0.02
    ./scripts/demo announce lb2    and puts it back
    ./scripts/demo kill lb1 lbd    the router hears of it in milliseconds
    ./scripts/anycast-test.sh      what exactly each fault costs clients
    make demo-3-status             the state of all nodes in the terminal

docs/workshop.md continues from here. make demo-3-down stops and removes it.
GUIDE
}
