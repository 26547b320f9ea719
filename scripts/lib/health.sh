# shellcheck shell=bash
# Waiting until a demo works, and explaining when it does not. Needs say.sh, engine.sh, nodes.sh and ports.sh.

answers_ok() { # PORT PATH
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://127.0.0.1:$1$2")" = 200 ]
}

servers_up() { # PORT of lbd's page: how many servers of backend nginx it routes to
    curl -s --max-time 2 "http://127.0.0.1:$1/;csv" |
        awk -F, '$1 == "nginx" && $2 ~ /^nginx/ && $18 ~ /^UP/ { up++ } END { print up + 0 }'
}

# wait_for WHAT SECONDS CONDITION...
wait_for() {
    local what=$1 patience=$2 start=$SECONDS
    shift 2
    printf '    %-32s' "$what"
    until "$@"; do
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

one_holder() { [ "$(holders | wc -l)" -eq 1 ]; }

wait_until_healthy() { # DEMO
    step "Waiting until everything is healthy"
    case $1 in
        1)
            wait_for "lbd is ready" 30 answers_ok "$STATS_PORT" /ready &&
                wait_for "healthd is ready" 30 answers_ok "$HEALTHD_PORT" /ready &&
                wait_for "all three nginx are UP" 30 all_up "$STATS_PORT"
            ;;
        2)
            wait_for "lbd is ready on lb1" 30 answers_ok "$STATS_PORT" /ready &&
                wait_for "lbd is ready on lb2" 30 answers_ok "$STATS2_PORT" /ready &&
                wait_for "all three nginx are UP for lb1" 30 all_up "$STATS_PORT" &&
                wait_for "all three nginx are UP for lb2" 30 all_up "$STATS2_PORT" &&
                wait_for "vrrpd is ready on lb1" 30 answers_ok "$VRRP_PORT" /ready &&
                wait_for "vrrpd is ready on lb2" 30 answers_ok "$VRRP2_PORT" /ready &&
                wait_for "one of them has the address" 30 one_holder
            ;;
    esac &&
        wait_for "a request is answered" 10 answers_ok "$WEB_PORT" / &&
        wait_for "Prometheus is ready" 60 answers_ok "$PROMETHEUS_PORT" /-/ready
}

explain_failure() { # DEMO
    step "What runs"
    in_demo list || true
    local service
    for service in $(nodes_of "$1") nginx1 prometheus; do
        step "The last words of $service"
        in_demo logs "$service" 2>&1 | tail -n 15 || true
    done
}
