# shellcheck shell=bash
# A Rust toolchain that is new enough, and the cargo commands that tests need. Needs say.sh.

# Where rustup puts things, whether or not this shell was started before it did.
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# What Tandem is tested with, and what is installed where there is nothing. Another toolchain that is new enough is used as it is:
# a rust-toolchain.toml would make rustup fetch this one, also where it is there under the name of `stable`, or where there is no network.
readonly tested_rust=1.95.0 tested_nextest=0.9.143 tested_deny=0.20.2

# The whole command, to be read before it is run.
readonly rustup_line="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain $tested_rust -c clippy -c rustfmt"

# at_least WANTED FOUND: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

ensure_toolchain() { # COMPONENT...
    local wanted found component
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have cargo || install_toolchain "$wanted"
    found=$(rustc --version | cut -d' ' -f2)
    at_least "$wanted" "$found" || die "Rust $found is too old; Tandem needs $wanted or later." \
        "With rustup:  rustup default $tested_rust" \
        "Without it (Debian's own rustc is too old):  $rustup_line"
    [ "$found" = "$tested_rust" ] || say "This is Rust $found; Tandem is tested with $tested_rust."
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
    local crate version
    for crate in "$@"; do
        have "$crate" && continue
        case $crate in
            cargo-nextest) version=$tested_nextest ;;
            cargo-deny) version=$tested_deny ;;
        esac
        step "Installing $crate $version from crates.io (compiles for some minutes)"
        cargo install --locked "$crate@$version" || die "cargo could not install $crate." \
            "If it asks for a newer Rust: rustup default $tested_rust"
    done
}
