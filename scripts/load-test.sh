#!/usr/bin/env bash
# Sends requests one after the other, each on a connection of its own, and shows who answered.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/usage.sh

usage() {
    cat <<'USAGE'
usage: scripts/load-test.sh [-q] URL [REQUESTS [DELAY]]
  -q        only the result
  URL       where to send them, such as http://localhost:8080
  REQUESTS  how many, 1 to 100000 (default 100)
  DELAY     seconds between two, such as 0.02 (default 0.1, at most 60)
The exit status is 0 when every request was answered with 200, 1 when one was not, 64 when this text was needed.
USAGE
}

help_if_asked "${1:-}"
quiet=no
if [ "${1:-}" = -q ]; then quiet=yes && shift; fi
case ${1:-} in
    http://?* | https://?*) url=$1 ;;
    '') refuse "no URL" ;;
    *) refuse "\"$1\" is not a URL: it begins with http:// or https://" ;;
esac
requests=${2:-100}
delay=${3:-0.1}
[ $# -le 3 ] || refuse "too many arguments"
[[ $requests =~ ^([1-9][0-9]{0,4}|100000)$ ]] || refuse "\"$requests\" is not a number of requests"
[[ $delay =~ ^([0-5]?[0-9](\.[0-9]+)?|60)$ ]] || refuse "\"$delay\" is not a delay in seconds"

ok=0 failed=0
declare -A answers=()

report() {
    local sent=$((ok + failed)) who
    ((sent > 0)) || exit 1
    printf '\nRequests     %d\nSucceeded    %d\nFailed       %d\n' "$sent" "$ok" "$failed"
    printf 'Success rate %s%%\n\nDistribution\n' "$(percent "$ok" "$sent")"
    for who in "${!answers[@]}"; do
        printf '  %-20s %6d  %5s%%\n' "$who" "${answers[$who]}" "$(percent "${answers[$who]}" "$sent")"
    done | sort
    ((failed == 0))
    exit
}

percent() { awk -v part="$1" -v whole="$2" 'BEGIN { printf "%.1f", 100 * part / whole }'; }

# Interrupted, it reports on what it had sent until then.
trap report INT TERM

tell() {
    # The format is the caller's.
    # shellcheck disable=SC2059
    [ $quiet = yes ] || printf "$@"
}

tell 'Sending %d requests to %s, %s s apart\n\n' "$requests" "$url" "$delay"
for ((n = 1; n <= requests; n++)); do
    # The body, then a line with the status; 000 when there was no answer.
    answer=$(curl --silent --max-time 10 --write-out '\n%{http_code}' "$url") && curl_status=0 || curl_status=$?
    status=${answer##*$'\n'}
    if [[ $answer =~ NGINX\ Instance\ [0-9]+ ]]; then who=${BASH_REMATCH[0]}; else who="another page"; fi
    if [ "$status" = 200 ]; then
        ok=$((ok + 1))
    else
        failed=$((failed + 1))
        case $status in
            000) who="no answer (curl: $curl_status)" ;;
            *) who="status $status" ;;
        esac
    fi
    answers[$who]=$((${answers[$who]:-0} + 1))
    tell '%*d/%d  %s\n' ${#requests} "$n" "$requests" "$who"
    ((n == requests)) || sleep "$delay"
done
report
