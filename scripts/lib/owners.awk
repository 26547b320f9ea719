# From what the kernels of both nodes said of the virtual address, in any order, and the figures of a load: one line.
#   NODE 2026-11-24T15:40:00.123456 [Deleted] 2: eth0 inet ...    the node got the address, or lost it
#   NODE end 1795535999.123                                       the node, or its watcher, ended

function seconds(stamp,    parts, whole) {
    split(stamp, parts, ".")
    whole = parts[1]
    gsub(/[-T:]/, " ", whole)
    return mktime(whole) + ("0." parts[2])
}

{
    at = $2 == "end" ? $3 + 0 : seconds($2)
    events++
    time[events] = at
    node[events] = $1
    has[events] = !($2 == "end" || $3 == "Deleted")
}

END {
    # A handful of events: the simplest way to sort them.
    for (i = 2; i <= events; i++)
        for (j = i; j > 1 && time[j] < time[j - 1]; j--) swap(j, j - 1)

    owner[master] = 1
    most = owners = 1
    moved = back = -1
    for (i = 1; i <= events; i++) {
        if (owners > 1) together += time[i] - time[i - 1]
        if (owner[node[i]] + 0 == has[i]) continue
        owner[node[i]] = has[i]
        owners += has[i] ? 1 : -1
        if (owners > most) most = owners
        if (time[i] < broken) continue
        if (has[i] && node[i] == backup && moved < 0) moved = (time[i] - broken) * 1000
        if (healed != "" && time[i] >= healed && owners == 1) back = (time[i] - healed) * 1000
    }
    printf "%s, %s: gap %.0f ms, lost %d of %d%s, ", fault, timing, gap, lost, sent, kinds == "" ? "" : " (" kinds ")"
    if (moved >= 0) printf "VIP on %s after %.0f ms", backup, moved
    else printf "VIP stayed on %s", master
    printf ", owners at most %d", most
    if (most > 1) printf " for %.0f ms", together * 1000
    if (back >= 0) printf ", one again %.0f ms after healing", back
    if (neighbours != "") printf ", %s", neighbours
    printf "\n"
}

function swap(a, b,    t) {
    t = time[a]; time[a] = time[b]; time[b] = t
    t = node[a]; node[a] = node[b]; node[b] = t
    t = has[a]; has[a] = has[b]; has[b] = t
}
