# shellcheck shell=bash
# Waiting until a demo works, and explaining when it does not. Needs say.sh, engine.sh and ports.sh.

answers_ok() { # PORT PATH
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://127.0.0.1:$1$2")" = 200 ]
}

servers_up() { # How many servers of backend nginx lbd routes to
    curl -s --max-time 2 "http://127.0.0.1:$STATS_PORT/;csv" |
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

all_up() { [ "$(servers_up)" -eq 3 ]; }

wait_until_healthy() {
    step "Waiting until everything is healthy"
    wait_for "lbd is ready" 30 answers_ok "$STATS_PORT" /ready &&
        wait_for "healthd is ready" 30 answers_ok "$HEALTHD_PORT" /ready &&
        wait_for "all three nginx are UP" 30 all_up &&
        wait_for "a request is answered" 10 answers_ok "$WEB_PORT" / &&
        wait_for "Prometheus is ready" 60 answers_ok "$PROMETHEUS_PORT" /-/ready
}

explain_failure() { # ENGINE
    step "What runs"
    on_engine "$1" list || true
    local service
    for service in lb nginx1 prometheus; do
        step "The last words of $service"
        on_engine "$1" logs "$service" 2>&1 | tail -n 15 || true
    done
}
