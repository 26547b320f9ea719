# shellcheck shell=bash
# Figures of loads: what `tandemctl load --json` has written to $work/NAME.

figure() { # NAME KEY
    sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p" "$work/$1"
}

# How requests were lost: "2 refused, 1 timed out".
kinds_lost() { # NAME
    sed -n 's/.*"lost_by":{\([^}]*\)}.*/\1/p' "$work/$1" | sed -E 's/"([^"]*)":([0-9]+)/\2 \1/g; s/,/, /g'
}

# What is not sent for want of a free one of the connections that are kept is not lost.
lost() { # NAME
    local unsent=0
    [ "$1" != kept ] || unsent=$(figure kept 'not sent')
    echo $(($(figure "$1" lost) - ${unsent:-0}))
}

median() { sort -n | awk '{ value[NR] = $1 } END { if (NR) print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2; else print "-" }'; }
