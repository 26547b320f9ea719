//! The invariants of `docs/architecture.md` that a compiler does not check.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Engines: values in, values out.
const PURE: [&str; 11] = [
    "anycast",
    "balance",
    "certificates",
    "edit",
    "health",
    "http1",
    "http2",
    "membership",
    "proxy_protocol",
    "route",
    "vrrp",
];
const DAEMONS: [&str; 3] = ["healthd", "lbd", "vrrpd"];
/// What the engines may stand on: three of themselves, error types, the words of messages, regular expressions, and HMAC-SHA256, whose crates look at
/// the processor's features (on some systems through libc) and do nothing else. Most of it runs only while building.
const PURE_MAY_USE: [&str; 29] = [
    "aho-corasick",
    "block-buffer",
    "cfg-if",
    "cmov",
    "cpufeatures",
    "crypto-common",
    "ctutils",
    "digest",
    "hmac",
    "http1",
    "hybrid-array",
    "libc",
    "memchr",
    "proc-macro2",
    "quote",
    "regex",
    "regex-automata",
    "regex-syntax",
    "route",
    "serde",
    "serde_core",
    "serde_derive",
    "sha2",
    "syn",
    "thiserror",
    "thiserror-impl",
    "typenum",
    "unicode-ident",
    "vrrp",
];
/// What certificates are read and keys are loaded with, by the one engine that does so: parsers, and the cryptography of TLS, whose C code
/// computes and does nothing else.
const CERTIFICATES_MAY_USE: [&str; 31] = [
    "asn1-rs",
    "asn1-rs-derive",
    "asn1-rs-impl",
    "aws-lc-rs",
    "aws-lc-sys",
    "data-encoding",
    "der-parser",
    "deranged",
    "displaydoc",
    "lazy_static",
    "minimal-lexical",
    "nom",
    "num-bigint",
    "num-conv",
    "num-integer",
    "num-traits",
    "oid-registry",
    "once_cell",
    "powerfmt",
    "rusticata-macros",
    "rustls",
    "rustls-pki-types",
    "rustls-webpki",
    "subtle",
    "synstructure",
    "time",
    "time-core",
    "time-macros",
    "untrusted",
    "x509-parser",
    "zeroize",
];
/// Where a call has no safe form in any library. Each says why it is sound.
const UNSAFE: [&str; 4] = [
    "vrrpd/src/net/event.rs",
    "vrrpd/src/net/neighbours/arp.rs",
    "wire/src/readiness.rs",
    "wire/src/server/permission.rs",
];
/// What an engine's source never mentions.
const IMPURE: [&str; 13] = [
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "std::env",
    "TcpStream",
    "UdpSocket",
    "Instant::now",
    "SystemTime",
    "tokio",
    "tracing",
    "println!",
    "rand::",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The names of everything a crate is built with, itself left out.
fn dependencies(package: &str) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let names = String::from_utf8(tree.stdout).expect("cargo speaks UTF-8");
    let mut names: Vec<_> =
        names.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.retain(|name| name != package);
    names.sort();
    names.dedup();
    names
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a source directory can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn engines_stand_on_nothing_that_does_anything() {
    for package in PURE {
        for dependency in dependencies(package) {
            let is_its_own = package == "certificates" && CERTIFICATES_MAY_USE.contains(&dependency.as_str());
            assert!(
                PURE_MAY_USE.contains(&dependency.as_str()) || is_its_own,
                "{package} is pure, but is built with {dependency}"
            );
        }
    }
}

#[test]
fn engines_know_no_socket_clock_runtime_or_logger() {
    for package in PURE {
        let files = sources(&root().join("crates").join(package).join("src"));
        assert!(!files.is_empty(), "{package} has sources");
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file can be read");
            for word in IMPURE {
                assert!(!text.contains(word), "{} mentions {word}", file.display());
            }
        }
    }
}

#[test]
fn engines_have_the_same_forbidden_methods() {
    let rules = |package: &str| {
        let path = root().join("crates").join(package).join("clippy.toml");
        std::fs::read_to_string(path).expect("each engine has rules for clippy")
    };
    let first = rules(PURE[0]);
    assert!(first.contains("disallowed-methods"), "{first}");
    for package in PURE {
        assert_eq!(rules(package), first, "{package}");
    }
}

/// vrrpd's sockets and netlink are in `net`, and the election, whose thread may be a real-time one, knows nothing that waits
/// for others: commands, trackers, pages.
#[test]
fn each_part_of_vrrpd_keeps_to_its_own() {
    let source = root().join("crates/vrrpd/src");
    let net = source.join("net");
    for file in sources(&source) {
        let text = std::fs::read_to_string(&file).expect("a source file can be read");
        let mut forbidden = Vec::new();
        if !file.starts_with(&net) {
            forbidden.extend(["socket2", "rtnetlink::", "netlink_packet_route", "AsyncFd"]);
        }
        if file.starts_with(source.join("election")) {
            forbidden.extend([
                "std::process",
                "tokio::process",
                "crate::child",
                "crate::track",
                "crate::view",
            ]);
        }
        if file.starts_with(source.join("view")) {
            forbidden.extend(["crate::election", "crate::net", "crate::board"]);
        }
        for word in forbidden {
            assert!(!text.contains(word), "{} mentions {word}", file.display());
        }
    }
}

/// A worker of lbd sees only what it shares with the control thread, and its sockets are in `net`: for all others, bytes come from
/// an `Io`, whatever carries them.
#[test]
fn each_part_of_lbd_keeps_to_its_own() {
    let source = root().join("crates/lbd/src");
    let net = source.join("worker/net");
    for file in sources(&source) {
        let text = std::fs::read_to_string(&file).expect("a source file can be read");
        let mut forbidden = Vec::new();
        if file.starts_with(source.join("worker")) {
            forbidden.extend(["crate::control", "crate::view"]);
            if !file.starts_with(&net) {
                forbidden.extend(["TcpStream", "TcpListener", "TcpSocket", "socket2", "tokio::net", "nix::"]);
            }
        }
        if file.starts_with(source.join("shared")) {
            forbidden.extend(["crate::control", "crate::view", "crate::worker"]);
        }
        // What only tests use, they may.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for word in forbidden {
            assert!(!code.contains(word), "{} mentions {word}", file.display());
        }
    }
}

#[test]
fn unsafe_code_stands_where_it_is_known_to_and_nowhere_else() {
    let crates = root().join("crates");
    let is_unsafe = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).expect("a source file can be read");
        ["allow", "expect"].iter().any(|lint| text.contains(&format!("{lint}(unsafe_code")))
    };
    let mut found: Vec<PathBuf> = sources(&crates).into_iter().filter(is_unsafe).collect();
    found.sort();
    assert_eq!(found, UNSAFE.map(|file| crates.join(file)));
}

#[test]
fn daemons_do_not_depend_on_one_another() {
    for daemon in DAEMONS {
        let dependencies = dependencies(daemon);
        assert!(dependencies.iter().any(|name| name == "wire"), "{daemon} speaks the protocol");
        for other in DAEMONS.iter().filter(|other| **other != daemon) {
            assert!(!dependencies.iter().any(|name| name == other), "{daemon} is built with {other}");
        }
    }
}
