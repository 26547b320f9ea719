# shellcheck shell=bash
# Waiting until a demo works, and explaining when it does not. Needs say.sh, engine.sh, nodes.sh and ports.sh, and `engine`
# and `demo` of up.sh.

answers_ok() { # PORT PATH
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://127.0.0.1:$1$2")" = 200 ]
}

answers_tls() { # PORT: as one whom the demo's authority has said so
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 --cacert compose/tls/ca.pem "https://127.0.0.1:$1/")" = 200 ]
}

servers_up() { # PORT of lbd's page: how many servers of backend nginx it routes to
    curl -s --max-time 2 "http://127.0.0.1:$1/;csv" |
        awk -F, '$1 == "nginx" && $2 ~ /^nginx/ && $18 ~ /^UP/ { up++ } END { print up + 0 }'
}

# What has to run and does not: "lb: exited, exit code 1", a line each.
idle() { on_engine "$engine" idle "$demo"; }

# wait_for WHAT SECONDS CONDITION...: gives up at once when something that has to run does not.
wait_for() {
    local what=$1 patience=$2 start=$SECONDS
    shift 2
    printf '    %-32s' "$what"
    until "$@"; do
        if [ -n "$(idle)" ]; then
            echo ' no'
            return 1
        fi
        if ((SECONDS - start >= patience)); then
            echo " not within $patience s"
            return 1
        fi
        printf '.'
        sleep 0.5
    done
    echo ' ok'
}

all_up() { [ "$(servers_up "$1")" -eq 3 ]; }

all_run() { [ -z "$(idle)" ]; }

one_holder() { [ "$(holders | wc -l)" -eq 1 ]; }

all_next_hops() { [ "$(next_hops | xargs)" = "$(nodes_of 3)" ]; }

wait_for_nodes() { # DEMO
    local node
    for node in $(nodes_of "$1"); do
        wait_for "lbd is ready on $node" 30 answers_ok "$(port_of STATS "$node")" /ready &&
            wait_for "all three nginx are UP for $node" 30 all_up "$(port_of STATS "$node")" &&
            wait_for "vrrpd is ready on $node" 30 answers_ok "$(port_of VRRP "$node")" /ready || return 1
    done
}

wait_until_healthy() { # DEMO
    step "Waiting until everything is healthy"
    wait_for "everything runs" 0 all_run && case $1 in
        1)
            wait_for "lbd is ready" 30 answers_ok "$STATS_PORT" /ready &&
                wait_for "healthd is ready" 30 answers_ok "$HEALTHD_PORT" /ready &&
                wait_for "all three nginx are UP" 30 all_up "$STATS_PORT"
            ;;
        2) wait_for_nodes 2 && wait_for "one of them has the address" 30 one_holder ;;
        3) wait_for_nodes 3 && wait_for "the router sends to all of them" 60 all_next_hops ;;
    esac &&
        wait_for "a request is answered" 10 answers_ok "$WEB_PORT" / &&
        wait_for "a request by HTTPS is, too" 10 answers_tls "$WEB_TLS_PORT" &&
        wait_for "Prometheus is ready" 60 answers_ok "$PROMETHEUS_PORT" /-/ready
}

# The last words of what does not run, or of the services that matter most.
explain_failure() {
    local idle service services
    idle=$(idle)
    if [ -n "$idle" ]; then
        step "What does not run"
        say "${idle//$'\n'/$'\n'    }"
        services=$(sed 's/:.*//' <<<"$idle")
    else
        services="$(nodes_of "$demo") nginx1 prometheus"
    fi
    for service in $services; do
        step "The last words of $service"
        on_engine "$engine" logs "$service" 2>&1 | tail -n 15 || true
    done
}
