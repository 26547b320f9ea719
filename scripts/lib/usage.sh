# shellcheck shell=bash
# What scripts with options share. Needs a function usage, which prints how the script is used.

# refuse WHY: the script was called in a wrong way.
refuse() {
    printf 'error: %s\n\n' "$1" >&2
    usage >&2
    exit 64
}

# help_if_asked FIRST-ARGUMENT
help_if_asked() {
    case $1 in
        -h | --help) usage && exit ;;
    esac
}
