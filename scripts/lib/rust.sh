# shellcheck shell=bash
# A Rust toolchain that is new enough, and the cargo commands that tests need. Needs say.sh.

# Where rustup puts things, whether or not this shell was started before it did.
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# The whole command, to be read before it is run.
readonly rustup_line="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt"

# at_least WANTED FOUND: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

ensure_toolchain() { # COMPONENT...
    local wanted found component
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have cargo || install_toolchain "$wanted"
    found=$(rustc --version | cut -d' ' -f2)
    at_least "$wanted" "$found" || die "Rust $found is too old; Tandem needs $wanted or later." \
        "With rustup:  rustup update stable" \
        "Without it (Debian's own rustc is too old):  $rustup_line"
    for component in "$@"; do
        case $component in
            clippy) cargo clippy --version >/dev/null 2>&1 && continue ;;
            rustfmt) cargo fmt --version >/dev/null 2>&1 && continue ;;
        esac
        have rustup || die "the Rust toolchain lacks $component, and there is no rustup to add it"
        step "Adding $component to the Rust toolchain"
        rustup component add "$component"
    done
}

install_toolchain() { # WANTED-VERSION
    local answer=${TANDEM_INSTALL_RUST:-}
    if [ -z "$answer" ] && [ -t 0 ]; then
        printf 'Tandem needs Rust %s or later (Debian'\''s own is too old), and there is none here.\n' "$1"
        printf 'The usual way is rustup, into your home directory:\n  %s\n' "$rustup_line"
        read -r -p 'Run that now? [y/N] ' answer
    fi
    case $answer in
        y | Y | yes) step "Installing Rust with rustup" && bash -c "$rustup_line" ;;
        *) die "Tandem needs Rust $1 or later (Debian's own is too old). Install it, then try again:" "$rustup_line" ;;
    esac
}

ensure_crates() { # CARGO-COMMAND...
    local crate
    for crate in "$@"; do
        have "$crate" && continue
        step "Installing $crate from crates.io (compiles for some minutes)"
        cargo install --locked "$crate" || die "cargo could not install $crate." \
            "If it asks for a newer Rust: rustup update stable"
    done
}
