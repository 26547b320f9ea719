# shellcheck shell=bash disable=SC2034
# Where `make install` puts things: under PREFIX, and systemd's and what it needs in /usr/lib; all of it below DESTDIR.

ROOT=${DESTDIR:-}
PREFIX=${PREFIX:-/usr/local}
readonly ROOT PREFIX

readonly DAEMONS='healthd lbd vrrpd'
readonly PROGRAMS="$DAEMONS tandemctl"

readonly BIN=$ROOT$PREFIX/bin
readonly DEBUG=$ROOT/usr/lib/debug$PREFIX/bin
readonly HOOKS=$ROOT$PREFIX/lib/tandem
readonly SHARE=$ROOT$PREFIX/share/tandem
readonly DOC=$ROOT$PREFIX/share/doc/tandem
readonly MAN=$ROOT$PREFIX/share/man
readonly BASH_COMPLETIONS=$ROOT$PREFIX/share/bash-completion/completions
readonly ZSH_COMPLETIONS=$ROOT$PREFIX/share/zsh/site-functions
readonly FISH_COMPLETIONS=$ROOT$PREFIX/share/fish/vendor_completions.d
readonly UNITS=$ROOT/usr/lib/systemd/system
readonly SYSUSERS=$ROOT/usr/lib/sysusers.d/tandem.conf
readonly TMPFILES=$ROOT/usr/lib/tmpfiles.d/tandem.conf

# completion SHELL PROGRAM: the file in which the shell looks for a program's completions.
completion() {
    case $1 in
    bash) echo "$BASH_COMPLETIONS/$2" ;;
    zsh) echo "$ZSH_COMPLETIONS/_$2" ;;
    fish) echo "$FISH_COMPLETIONS/$2.fish" ;;
    esac
}
