//! `docs/configuration.md` says what the readers do: the same keys, what they take and their defaults; its examples work.
#![expect(clippy::expect_used, clippy::panic, reason = "in a test, a panic is the failure message")]

use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// The parts about `lb.yaml` and about `vrrp.yaml`.
fn parts() -> (&'static str, &'static str) {
    DOCUMENT.split_once("\n# `vrrp.yaml`\n").expect("both parts are there")
}

/// The cells of a table's row, if the line is one.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix("| ")?.strip_suffix('|')?;
    Some(inner.split(" |").map(|cell| cell.trim().to_owned()).collect())
}

fn plain(cell: &str) -> String {
    cell.replace('`', "")
}

/// The key tables of the document: each key with what it takes and its default.
fn documented(part: &str) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    let mut section = "";
    let mut in_key_table = false;
    for line in part.lines() {
        if let Some(heading) = line.strip_prefix("##") {
            section = heading.trim_start_matches('#').trim().trim_matches('`');
        }
        let Some(cells) = cells(line) else {
            in_key_table &= line.starts_with("|---");
            continue;
        };
        if cells == ["key", "takes", "default", "effect"] {
            in_key_table = true;
        } else if in_key_table {
            let [key, takes, default, effect] = cells.as_slice() else { panic!("four cells: {line}") };
            let key = plain(key);
            let path = if section == "The file" { key } else { format!("{section}.{key}") };
            assert!(effect.len() > 10, "{path} has no effect");
            let before = found.insert(path.clone(), (plain(takes), plain(default)));
            assert_eq!(before, None, "{path} is documented twice");
        }
    }
    found
}

#[test]
fn every_key_is_documented_as_it_is_read() {
    let (lb, vrrp) = parts();
    for (keys, part) in [(config::keys(), lb), (config::vrrp_keys(), vrrp)] {
        let mut documented = documented(part);
        for key in keys {
            let found = documented.remove(&key.path);
            assert_eq!(found, Some((key.takes.clone(), key.default.clone())), "{}", key.path);
        }
        assert!(documented.is_empty(), "documented, but unknown: {documented:?}");
    }
}

/// The keys that the readers name are those that they accept and write: a key cannot be left out of the list.
#[test]
fn every_key_that_can_be_written_is_in_the_list() {
    let known: BTreeSet<&str> = config::keys().iter().map(|key| key.path.as_str()).collect();
    let full = "
frontends:
  NAME:
    bind:
      - { address: 127.0.0.1:80, tls: { certificates: a, client_ca: a, client_crl: a, ticket_keys: a } }
    errors: { 503: page }
    request_id: { field: X-Request-ID }
    request: { remove: A, replace: { B: { pattern: a, with: b } }, set: { C: c }, add: { D: d }, strip_prefix: /a, replace_path: { pattern: a, with: b }, add_prefix: /a }
    response: { remove: A, replace: { B: { pattern: a, with: b } }, set: { C: c }, add: { D: d } }
    routes:
      - { name: n, host: h, path: /, method: GET, header: { A: b }, query: { a: b }, source: 192.0.2.1, tls: true, not: { path: /a }, request: { remove: A }, response: { remove: A }, backend: NAME }
      - { path: /a, redirect: { scheme: https, host: h, path: /b } }
      - { path: /b, respond: { body: b } }
      - { path: /c, respond: { file: c } }
      - { path: /d, deny: 403 }
    backend: NAME
backends:
  NAME: { check: { http: { host: a, headers: { A: b }, body: a }, port: 1 }, tls: { server_ca: a, server_crl: a, server_name: a, certificate: a, alpn: a }, request: { remove: A }, response: { remove: A }, servers: { NAME: { address: a:80, server_name: a, check: { port: 1, host: a } } } }
lbd: { maxconn: 1 }
admin: { users: { NAME: HASH } }
healthd: { admin: { users: { NAME: HASH } } }
";
    let full = &with_hash(full);
    let routes = full.find("    routes:").zip(full.find("    backend: NAME\n")).expect("both are there");
    let tcp = full
        .replace(&full[routes.0..routes.1], "    routes: [ { sni: s, backend: NAME } ]\n")
        .replace("bind:", "mode: tcp\n    bind:")
        .replace("NAME: { check:", "NAME: { mode: tcp, check:");
    let http = "http: { host: a, headers: { A: b }, body: a }";
    let others = [
        "http: { body_matches: a }",
        "tcp: {}",
        "tcp: { steps: [send: a, expect: a, send_hex: '00', expect_hex: '00'] }",
        "tls: { name: a, ca_file: /a }",
        "mysql: { user: a }",
        "postgres: { user: a, database: a }",
        "redis: { role: any }",
        "smtp: { domain: a }",
    ];
    let parts = ["header: a", "cookie: a", "url_param: a"].map(|part| {
        full.replace(
            "NAME: { check:",
            &format!("NAME: {{ balance: {{ hash: {{ {part} }}, factor: 150% }}, check:"),
        )
    });
    let sticky = full.replace(
        "NAME: { check:",
        "NAME: { sticky: { cookie: a, key: aaaaaaaaaaaaaaaa, secure: on, same_site: none, domain: a }, check:",
    );
    let found = ["srv: a", "host: 'a:80'", "file: a"].map(|source| {
        let discover = format!("discover: {{ {source}, server_name: a, check: {{ port: 1, host: a }} }}");
        full.replace("NAME: { address: a:80, server_name: a, check: { port: 1, host: a } }", &discover)
    });
    let mut written = BTreeSet::new();
    let others = others.map(|other| full.replace(http, other));
    for text in [full.clone(), tcp].into_iter().chain(others).chain(parts).chain([sticky]).chain(found) {
        let config = config::parse("lb.yaml", &text).expect("it is right").config;
        let effective: serde_yaml::Value =
            serde_yaml::from_str(&config::effective_yaml(&config)).expect("what we write is YAML");
        collect(&effective, "", &mut written);
    }
    written.insert("backends.NAME.servers.discover".to_owned());
    written.remove("backends.NAME.check.http.headers.A");
    written.remove("frontends.NAME.errors.503");
    for example in ["header.A", "query.a", "not.path"] {
        written.remove(&format!("frontends.NAME.routes.{example}"));
    }
    // Edits have the same keys wherever they stand, and names of fields are no keys.
    let is_edit = |path: &str| {
        let elsewhere =
            ["routes.request.", "routes.response.", "backends.NAME.request.", "backends.NAME.response."];
        let named = ["set.C", "add.D", "replace.B", "replace.B.pattern", "replace.B.with"];
        elsewhere.iter().any(|home| path.contains(home)) || named.iter().any(|name| path.ends_with(name))
    };
    written.retain(|path| !path.ends_with(".NAME") && !is_edit(path));
    assert_eq!(written.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_key_of_a_vrrp_yaml_that_can_be_written_is_in_the_list() {
    let full = "
instances:
  NAME:
    interface: eth0
    virtual_router_id: 1
    virtual_addresses: 192.0.2.1
    excluded_addresses: 192.0.2.2
    unicast: { peers: 192.0.2.3, source: 192.0.2.4 }
    authentication: { hmac: { key_file: key, accept: { 2: key } } }
    track:
      - lbd
      - { backend: b, name: n }
      - { interface: i }
      - { command: /bin/true }
      - { gateway: default }
    notify: { command: /bin/true }
anycast:
  SERVICE:
    addresses: 192.0.2.5
    track:
      - lbd
      - { backend: b, name: n }
      - { interface: i }
      - { command: /bin/true }
      - { gateway: default }
    notify: { command: /bin/true }
vrrpd: { realtime: 1 }
admin: { users: { NAME: HASH } }
";
    let config = config::parse_vrrp("vrrp.yaml", &with_hash(full), &key_file).expect("it is right").config;
    let effective: serde_yaml::Value =
        serde_yaml::from_str(&config::effective_vrrp_yaml(&config)).expect("what we write is YAML");
    let mut written = BTreeSet::new();
    collect(&effective, "", &mut written);
    written.remove("instances.NAME");
    written = written.into_iter().map(|path| path.replace("SERVICE", "NAME")).collect();
    written.remove("anycast.NAME");
    written.remove("admin.users.NAME");
    written.remove("instances.NAME.authentication.hmac.accept.2");
    // Of the two the file gets the interval; of pass and hmac there is one.
    written.extend(["instances.NAME.timing", "instances.NAME.authentication.pass"].map(str::to_owned));
    let known: BTreeSet<&str> = config::vrrp_keys().iter().map(|key| key.path.as_str()).collect();
    assert_eq!(written.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
}

/// A hash of some password.
fn with_hash(text: &str) -> String {
    text.replace("HASH", &format!("\"$6$salt${}\"", "x".repeat(86)))
}

fn key_file(_: &str) -> Result<config::KeyFile, String> {
    Ok(config::KeyFile { bytes: vec![b'k'; 32], exposed: false })
}

fn collect(value: &serde_yaml::Value, path: &str, paths: &mut BTreeSet<String>) {
    for item in value.as_sequence().into_iter().flatten() {
        collect(item, path, paths);
    }
    for (key, value) in value.as_mapping().into_iter().flatten() {
        let key = key.as_str().expect("keys are texts");
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        collect(value, &path, paths);
        paths.insert(path);
    }
}

#[test]
fn every_example_works() {
    let (lb, vrrp) = parts();
    assert!(examples(lb, works) >= 8);
    let vrrp_examples = examples(vrrp, |_, example| {
        let loaded = config::parse_vrrp("example", example, &key_file)
            .unwrap_or_else(|invalid| panic!("{invalid}\n{example}"));
        assert_eq!(loaded.warnings, [], "{example}");
    });
    assert!(vrrp_examples >= 8);
}

/// Tries every example, and counts them.
fn examples(part: &str, works: impl Fn(bool, &str)) -> usize {
    let mut examples = 0;
    let mut text: Option<(bool, String)> = None;
    for line in part.lines() {
        match (line, &mut text) {
            ("```yaml", None) => text = Some((false, String::new())),
            ("```yaml fragment", None) => text = Some((true, String::new())),
            ("```", Some((fragment, example))) => {
                works(*fragment, example);
                examples += 1;
                text = None;
            }
            (line, Some((_, example))) => {
                example.push_str(line);
                example.push('\n');
            }
            _ => {}
        }
    }
    examples
}

/// A fragment lacks what the others show: the required sections, and frontends for its backends.
fn works(fragment: bool, example: &str) {
    let mut whole = example.to_owned();
    let has = |section: &str| example.lines().any(|line| line.starts_with(section));
    if fragment && !has("backends:") {
        whole += "backends: { nginx: { servers: { nginx1: nginx1:80 } } }\n";
    }
    if fragment && !has("frontends:") {
        let backends: serde_yaml::Value = serde_yaml::from_str(&whole).expect("it is YAML");
        let names = backends["backends"].as_mapping().expect("it has backends").keys();
        whole += "frontends:\n";
        for (index, name) in names.enumerate() {
            let name = name.as_str().expect("a name is a text");
            whole += &format!("  f{index}: {{ bind: 127.0.0.1:{}, backend: {name} }}\n", 9000 + index);
        }
    }
    let loaded = config::parse("example", &whole).unwrap_or_else(|invalid| panic!("{invalid}\n{whole}"));
    assert_eq!(loaded.warnings, [], "{whole}");
}

#[test]
fn the_example_of_a_file_of_servers_works() {
    let (_, example) = DOCUMENT.split_once("```yaml servers\n").expect("there is one");
    let (example, _) = example.split_once("```").expect("it ends");
    let members = config::parse_members("servers.yaml", example).expect("it is right");
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["web-1", "web-2", "web-3"]);
    assert_eq!(members.iter().filter(|member| member.backup.is_some()).count(), 1);
}

#[test]
fn what_haproxy_users_are_told_to_use_exists() {
    let table = parts().0.split("## For those who know HAProxy").nth(1).expect("the table is there");
    let mut rows = 0;
    for row in table.lines().filter_map(cells).skip(1) {
        let keys = row[1].split('`').skip(1).step_by(2).filter(|word| !word.starts_with("tandemctl"));
        for word in keys {
            let known =
                config::keys().iter().any(|key| key.path == word || key.path.ends_with(&format!(".{word}")));
            assert!(known, "{word} is no key");
        }
        rows += 1;
    }
    assert!(rows > 30, "{rows} rows");
}
