//! Reading files as they are found on real disks.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

use std::fs;
use std::path::Path;

fn refused(path: &Path) -> String {
    let invalid = config::load(path).expect_err("it cannot be used");
    invalid.to_string().replace(&path.display().to_string(), "FILE")
}

#[test]
fn a_good_file_is_loaded_with_its_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lb.yaml");
    fs::write(
        &path,
        "frontends: { web: { bind: 127.0.0.1:80, backend: b } }\nbackends: { b: { servers: { a: a:80 } } }\n",
    )
    .unwrap();
    let config::Loaded { config, warnings, .. } = config::load(&path).unwrap();
    assert_eq!(warnings, []);
    let backend = config.backend("b").unwrap();
    assert_eq!(backend.check.as_ref().map(|check| check.timing), Some(health::Timing::default()));
    assert_eq!(backend.servers[0].address.to_string(), "a:80");
    assert_eq!(config.lbd.admin.to_string(), "127.0.0.1:8404");
    assert_eq!(config.healthd.admin.to_string(), "127.0.0.1:8406");
}

#[test]
fn what_is_no_readable_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lb.yaml");
    assert_eq!(refused(&path), "FILE: error: there is no such file");
    assert_eq!(refused(directory.path()), "FILE: error: this is a directory, not a file");
    assert_eq!(refused(&path.join("below")), "FILE: error: there is no such file");

    fs::write(&path, b"frontends:\n  w\xe9b: {}\n").unwrap();
    assert_eq!(refused(&path), "FILE:2:4: error: not UTF-8 from here on; save the file as UTF-8");

    fs::write(&path, "# long\n".repeat(200_000)).unwrap();
    assert_eq!(refused(&path), "FILE: error: larger than 1 MiB; this is hardly a configuration");
    // A device that never ends is cut off as well.
    assert_eq!(
        refused(Path::new("/dev/zero")),
        "FILE: error: larger than 1 MiB; this is hardly a configuration"
    );
    assert_eq!(
        refused(Path::new("/dev/null")),
        "FILE:1:1: error: the file is empty; it needs frontends and backends"
    );
}

#[test]
fn the_largest_file_is_no_burden() {
    let mut text =
        "frontends: { web: { bind: 127.0.0.1:80, backend: b } }\nbackends:\n  b:\n    servers:\n".to_owned();
    for number in 0.. {
        let line = format!("      s{number}: s{number}:80\n");
        if text.len() + line.len() > 1024 * 1024 {
            break;
        }
        text += &line;
    }
    let loaded = config::parse("lb.yaml", &text).unwrap();
    assert!(loaded.config.backends[0].servers.len() > 30_000);
    // The same with a mistake on every line: the first fifty are told.
    let invalid = config::parse("lb.yaml", &text.replace(":80\n", "\n")).unwrap_err();
    assert_eq!(invalid.diagnostics.len(), 51);
}

#[test]
fn hostile_files_are_refused_and_do_not_blow_up() {
    const LARGE: usize = 1024 * 1024;
    let aliases = format!("a: &a {}\nb: [{}*a]", "x".repeat(LARGE / 10), "*a, ".repeat(LARGE / 5));
    let anchors =
        (0..30).map(|n| format!("&a{n} [")).collect::<String>() + &"x,".repeat(LARGE / 3) + &"]".repeat(30);
    let keys = (0..LARGE / 12).map(|n| format!("k{n}: v\n")).collect::<String>();
    let frontends = (0..LARGE / 60).map(|n| format!("  f{n}: {{ bind: 127.0.0.1:80, backend: c{n} }}\n"));
    let frontends = format!(
        "backends: {{ b: {{ servers: {{ a: a:80 }} }} }}\nfrontends:\n{}",
        frontends.collect::<String>()
    );
    let mut texts = vec![aliases, anchors, keys, frontends];
    for piece in [
        "[", "{a: ", "- ", "? ", "a: b\n", "- &a x\n", ": ", ":", "'", "\"", "!", "&", "*", "%a b\n",
        "---\n", "\t", "|\n", ",",
    ] {
        texts.push(piece.repeat(LARGE / piece.len()));
    }
    for text in texts {
        let invalid = config::parse("lb.yaml", &text).expect_err("it is no configuration");
        assert!((1..=51).contains(&invalid.diagnostics.len()));
        let longest = invalid.diagnostics.iter().map(|diagnostic| diagnostic.message.len()).max();
        assert!(longest < Some(400), "{longest:?}");
    }
}

#[test]
fn variables_come_from_the_environment_of_the_process() {
    // Set by whoever runs the tests.
    let name = std::env::var("CARGO_PKG_NAME").expect("cargo runs the tests");
    let text = "frontends: { web: { bind: 127.0.0.1:80, backend: b } }
backends: { b: { check: { http: { host: '${CARGO_PKG_NAME}', path: '/$${x}' } }, servers: { a: 'a:80' } } }";
    let loaded = config::parse("lb.yaml", text).expect("it is right");
    let check = loaded.config.backends[0].check.clone().expect("it is on");
    let config::Probe::Http(http) = check.probe else { panic!("an HTTP check") };
    assert_eq!((http.host, http.path), (Some(name), "/${x}".to_owned()));
}
