//! Certificates and what goes with them, in files on real disks.
#![expect(clippy::expect_used, reason = "in a test, a panic is the failure message")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Checked, Tls};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

/// 2030-01-01
const LATER: i64 = 1_893_456_000;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room"))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// A file that nobody else may read.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("there is room");
        fs::write(&path, text).expect("there is room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }

    /// A configuration whose one bind has this TLS.
    fn configuration(&self, tls: &str) -> std::path::PathBuf {
        let text = format!(
            "frontends:\n  web:\n    bind: {{ address: 127.0.0.1:443, tls: {tls} }}\n    backend: b\n\
             backends: {{ b: {{ servers: {{ a: a:80 }} }} }}\n"
        );
        self.write("lb.yaml", &text);
        self.path("lb.yaml")
    }

    /// What is said about a configuration, without where it is.
    fn said(&self, tls: &str) -> String {
        let said = match config::load(&self.configuration(tls)) {
            Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Err(invalid) => invalid.to_string(),
        };
        said.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn tls(&self, tls: &str) -> Arc<Tls> {
        let loaded = config::load(&self.configuration(tls)).expect("it can be used");
        loaded.config.frontends[0].bind[0].tls.clone().expect("it has TLS")
    }
}

/// A certificate and its key.
fn site(name: &str) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    let key = KeyPair::generate().expect("keys can be made");
    (params.self_signed(&key).expect("it can be signed").pem(), key.serialize_pem())
}

fn both(name: &str) -> String {
    let (certificate, key) = site(name);
    certificate + &key
}

fn files(tls: &Tls) -> Vec<String> {
    let name = |file: &str| Path::new(file).file_name().expect("a file").to_string_lossy().into_owned();
    tls.store.certificates().iter().map(|one| name(&one.file)).collect()
}

#[test]
fn files_and_directories_are_read() {
    let place = Place::new();
    let (certificate, key) = site("b.example");
    place.write("certs/b.crt", &certificate);
    place.write("certs/b.key", &key);
    place.write("certs/a.pem", &both("a.example"));
    let (certificate, key) = site("c.example");
    place.write("certs/c.pem", &certificate);
    place.write("certs/c.pem.key", &key);
    place.write("certs/.hidden.pem", "nothing");
    place.write("certs/README", "nothing");
    place.write("certs/old.pem/x", "a directory");
    place.write("single.pem", &both("single.example"));
    let tls = place.tls("{ certificates: [single.pem, certs] }");
    assert_eq!(files(&tls), ["single.pem", "a.pem", "b.crt", "c.pem"]);
    assert_eq!(tls.store.certificates()[2].names, ["b.example"]);

    // As certbot leaves them.
    let (certificate, key) = site("live.example");
    place.write("live/cert.pem", &certificate);
    place.write("live/chain.pem", &site("authority.example").0);
    place.write("live/fullchain.pem", &certificate);
    place.write("live/privkey.pem", &key);
    assert_eq!(files(&place.tls("{ certificates: live }")), ["fullchain.pem"]);
    assert_eq!(files(&place.tls("{ certificates: live/fullchain.pem }")), ["fullchain.pem"]);
}

#[test]
fn what_is_wrong_with_files_is_told_where_they_are_named() {
    let place = Place::new();
    place.write("a.pem", &both("a.example"));
    place.write("certs/no-key.pem", &site("b.example").0);
    place.write("certs/empty.pem", "");
    fs::create_dir(place.path("none")).expect("there is room");
    let said = place.said("{ certificates: [a.pem, certs, missing.pem, none] }");
    assert_eq!(
        said,
        "lb.yaml:3:66: error: certs/empty.pem: there is no certificate in it\n\
         lb.yaml:3:66: error: certs/no-key.pem: there is no private key in it, nor in certs/no-key.pem.key or certs/no-key.key; append the \
         key to it, or give it such a file\n\
         lb.yaml:3:73: error: missing.pem: there is no such file"
    );
    assert_eq!(
        place.said("{ certificates: [a.pem, none] }"),
        "lb.yaml:3:66: error: none: no certificate is in it; *.pem and *.crt are looked at, with the key in the same file or in *.key \
         beside it"
    );
    let said =
        place.said("{ certificates: a.pem, client_ca: a.pem, client_crl: missing, ticket_keys: lb.yaml }");
    assert_eq!(
        said,
        "lb.yaml:3:95: error: missing: there is no such file\n\
         lb.yaml:3:117: error: lb.yaml:1: this is no key in hexadecimal digits or base64; \"openssl rand -hex 64\" makes one"
    );
    let pipe = place.path("pipe.pem");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("there is room");
    assert_eq!(place.said("{ certificates: pipe.pem }"), "lb.yaml:3:58: error: pipe.pem: this is no file");
}

#[test]
fn what_is_doubtful_is_a_warning() {
    let place = Place::new();
    let mut params = CertificateParams::new(["a.example".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().expect("keys can be made");
    place.write("a.pem", &(params.self_signed(&key).expect("it can be signed").pem() + &key.serialize_pem()));
    place.write("tickets", &"ab".repeat(32));
    for name in ["a.pem", "tickets"] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o644)).expect("it is ours");
    }
    assert_eq!(
        place.said("{ certificates: a.pem, ticket_keys: tickets }"),
        "lb.yaml:3:58: warning: a.pem: its private key can be read by every user of this machine, or replaced by its group\n  \
         help: chmod 640, and the group of the daemon's user\n\
         lb.yaml:3:58: warning: a.pem: its certificate has expired on 2021-01-01\n  help: clients refuse it: renew it\n\
         lb.yaml:3:78: warning: tickets: its keys can be read by every user of this machine, or replaced by its group\n  \
         help: chmod 640, and the group of the daemon's user"
    );
}

#[test]
fn who_presents_nothing_needs_no_keys() {
    let place = Place::new();
    let path = place.configuration("{ certificates: missing, client_ca: missing, ticket_keys: missing }");
    assert!(config::load(&path).is_err());
    let loaded = config::load_for_checks(&path).expect("it can be used");
    assert_eq!(loaded.warnings, []);
    assert!(Checked::load_without_keys(&path).is_ok() && Checked::load(&path).is_err());
    let alone = loaded.digest;
    place.write("missing", &both("a.example"));
    assert!(config::load(&path).is_err(), "these are no ticket keys");
    let path = place.configuration("{ certificates: missing }");
    let (read, unread) =
        (config::load(&path).expect("it is there"), config::load_for_checks(&path).expect("it is right"));
    assert_eq!(read.digest, unread.digest, "what files say is not what the configuration is");
    assert_ne!(read.digest, alone);
    assert_ne!(read.config, unread.config);
}

#[test]
fn what_files_say_is_not_shown() {
    let place = Place::new();
    place.write("a.pem", &both("a.example"));
    place.write("tickets", &"ab".repeat(32));
    let path = place.configuration("{ certificates: a.pem, ticket_keys: tickets }");
    let checked = Checked::load(&path).expect("it can be used");
    let shown = checked.effective_yaml();
    assert!(shown.contains("a.pem") && shown.contains("tickets") && !shown.contains("abab"), "{shown}");
    assert!(
        !format!("{checked:?}").contains("abab") && !format!("{checked:?}").contains("171"),
        "{checked:?}"
    );
}

#[test]
fn listeners_with_the_same_settings_share_them() {
    let place = Place::new();
    place.write("a.pem", &both("a.example"));
    let text = "
frontends:
  one:
    bind:
      - 127.0.0.1:80
      - { address: [127.0.0.1:443, '[::1]:443'], tls: &tls { certificates: a.pem } }
      - { address: 127.0.0.1:8443, tls: { certificates: a.pem, min_version: 1.3 } }
    backend: b
  two: { bind: { address: 127.0.0.1:9443, tls: *tls }, backend: b }
backends: { b: { servers: { a: a:80 } } }
";
    place.write("lb.yaml", text);
    let config = config::load(&place.path("lb.yaml")).expect("it can be used").config;
    let binds: Vec<_> = config.frontends.iter().flat_map(|frontend| &frontend.bind).collect();
    let addresses: Vec<String> = binds.iter().map(|bind| bind.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:80", "127.0.0.1:443", "[::1]:443", "127.0.0.1:8443", "127.0.0.1:9443"]);
    let tls: Vec<_> = binds.iter().filter_map(|bind| bind.tls.as_ref()).collect();
    assert_eq!(tls.len(), 4);
    assert!(Arc::ptr_eq(tls[0], tls[1]) && Arc::ptr_eq(tls[0], tls[3]) && !Arc::ptr_eq(tls[0], tls[2]));
    // A mistake in what they share is told once.
    fs::remove_file(place.path("a.pem")).expect("it is there");
    let invalid = config::load(&place.path("lb.yaml")).expect_err("it is gone");
    assert_eq!(invalid.diagnostics.len(), 2, "{invalid}");
}

#[test]
fn renewed_files_are_noticed_and_read_anew() {
    let place = Place::new();
    place.write("certs/a.pem", &both("a.example"));
    place.write("ca.pem", &site("authority.example").0);
    place.write("tickets", &"ab".repeat(32));
    let tls = place.tls(
        "{ certificates: certs, client_ca: ca.pem, client_certificate: optional, ticket_keys: tickets }",
    );
    let client = tls.client.as_ref().expect("it is there");
    assert!(!client.required && client.clients.is_some());
    let path = place.path("lb.yaml");
    let stamp = tls.stamp(&path);
    assert_eq!(tls.stamp(&path), stamp);
    let again = tls.reread(&path, LATER).expect("it can be used");
    assert_eq!((&again.tls, again.doubts), (&*tls, Vec::new()));

    let mut last = stamp;
    let mut is_new = |what: &str| {
        let now = tls.stamp(&path);
        assert_ne!(now, last, "{what}");
        last = now;
    };
    // By a rename, as careful programs write.
    place.write("certs/.new", &both("a.example"));
    fs::rename(place.path("certs/.new"), place.path("certs/a.pem")).expect("it is ours");
    is_new("renamed");
    let renewed = tls.reread(&path, LATER).expect("it can be used").tls;
    assert_ne!(renewed, *tls);
    assert_eq!(renewed.client, tls.client);

    place.write("certs/b.pem", &both("b.example"));
    is_new("another one");
    assert_eq!(files(&tls.reread(&path, LATER).expect("it can be used").tls), ["a.pem", "b.pem"]);

    place.write("tickets", &format!("{}\n# the old one\n{}\n", "cd".repeat(32), "ab".repeat(32)));
    is_new("a key");
    let keys = tls.reread(&path, LATER).expect("it can be used").tls.ticket_keys.expect("it has some").keys;
    assert_eq!(keys.iter().map(|key| key.expose()[0]).collect::<Vec<_>>(), [0xcd, 0xab]);

    place.write("ca.pem", &site("other.example").0);
    is_new("an authority");
    assert_ne!(tls.reread(&path, LATER).expect("it can be used").tls.client, tls.client);

    // Half written: what was there stays in use.
    let half = both("b.example");
    place.write("certs/b.pem", &half[..half.len() / 2]);
    let faults = tls.reread(&path, LATER).expect_err("it is broken");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("certs/b.pem") && !faults[0].contains('\n'), "{faults:?}");

    fs::remove_file(place.path("certs/b.pem")).expect("it is there");
    is_new("one less");
    fs::remove_dir_all(place.path("certs")).expect("it is there");
    is_new("all gone");
    let file = fs::File::options().write(true).open(place.path("ca.pem")).expect("it is there");
    let before = file.metadata().expect("it is there").modified().expect("a time");
    file.set_modified(before - Duration::from_secs(1)).expect("it is ours");
    is_new("an older one");
}

/// What is said about the TLS of a backend, without where it is.
fn said_of_servers(place: &Place, tls: &str) -> String {
    let text = format!(
        "frontends: {{ web: {{ bind: 127.0.0.1:80, backend: b }} }}\n\
         backends:\n  b:\n    tls: {tls}\n    servers: {{ a: \"127.0.0.1:443\" }}\n"
    );
    place.write("lb.yaml", &text);
    let path = place.path("lb.yaml");
    let said = match config::load(&path) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(invalid) => invalid.to_string(),
    };
    let for_checks = match config::load_for_checks(&path) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(invalid) => invalid.to_string(),
    };
    assert_eq!(said, for_checks, "healthd reads what lbd reads");
    said.replace(&format!("{}/", place.0.path().display()), "")
}

#[test]
fn files_for_connections_to_servers_are_read_and_what_is_wrong_is_told() {
    let place = Place::new();
    place.write("ca.pem", &site("authority.example").0);
    place.write("own.pem", &both("lbd.example"));
    place.write("no-key.pem", &site("lbd.example").0);
    place.write("text", "no certificate");
    assert_eq!(said_of_servers(&place, "{ server_ca: ca.pem, certificate: own.pem }"), "");
    for (tls, said) in [
        (
            "{ server_ca: missing, certificate: no-key.pem }",
            "lb.yaml:4:23: error: missing: there is no such file",
        ),
        (
            "{ certificate: no-key.pem, server_ca: ca.pem }",
            "lb.yaml:4:25: error: no-key.pem: there is no private key in it, nor in no-key.pem.key or no-key.key; append the key to it, or \
             give it such a file",
        ),
        ("{ server_ca: text }", "lb.yaml:4:23: error: text: there is no certificate in it"),
        ("{ verify: false }", "lb.yaml:4:20: warning: backend \"b\" does not verify its servers"),
    ] {
        let found = said_of_servers(&place, tls);
        assert!(found.starts_with(said), "{found}");
    }
}

#[test]
fn backends_with_the_same_settings_share_what_their_files_say() {
    let place = Place::new();
    place.write("ca.pem", &site("authority.example").0);
    let text = "frontends: { web: { bind: 127.0.0.1:80, routes: [ { path: /, backend: a }, { path: /b, backend: b } ], backend: c } }\n\
        backends:\n  a: &a { tls: { server_ca: ca.pem }, servers: { s: \"127.0.0.1:443\" } }\n  b: *a\n  \
        c: { tls: { server_ca: ca.pem, min_version: 1.3 }, servers: { s: \"127.0.0.1:443\" } }\n";
    place.write("lb.yaml", text);
    let load = || config::load(&place.path("lb.yaml")).expect("it can be used").config;
    let before = load();
    let [a, b, c] = [0, 1, 2].map(|at: usize| before.backends[at].tls.clone().expect("it has TLS"));
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    assert_eq!(load().backends[0].tls, Some(a.clone()));
    place.write("ca.pem", &site("other.example").0);
    assert_ne!(load().backends[0].tls, Some(a), "a reload takes what the file says now");
}
