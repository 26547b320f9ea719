//! Files of several nodes, checked together.
#![expect(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic is the failure message")]

use std::fs;

use config::{Checked, Severity};

const LB: &str = "frontends: { web: { bind: 192.0.2.100:80, backend: nginx } }\nbackends: { nginx: { servers: { a: a:80 } } }\n";

fn vrrp(more: &str) -> String {
    format!("instances:\n  web:\n    virtual_router_id: 51\n    virtual_addresses: 192.0.2.100/24\n{more}")
}

/// What is said about files together, one line a remark.
fn said_about(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("one.key"), [b'1'; 32]).unwrap();
    fs::write(directory.path().join("two.key"), [b'2'; 32]).unwrap();
    let checked: Vec<Checked> = files
        .iter()
        .map(|(name, text)| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            Checked::load(&path).unwrap_or_else(|invalid| panic!("{invalid}"))
        })
        .collect();
    let prefix = format!("{}/", directory.path().display());
    config::compare(&checked).iter().map(|remark| remark.to_string().replace(&prefix, "")).collect()
}

fn pair(one: &str, two: &str) -> Vec<String> {
    said_about(&[("lb1.yaml", &vrrp(one)), ("lb2.yaml", &vrrp(two))])
}

#[test]
fn what_people_are_shown_has_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vrrp.yaml");
    fs::write(&path, vrrp("    version: 2\n    authentication: { pass: tellme }\n")).unwrap();
    let shown = Checked::load(&path).unwrap().effective_yaml();
    assert!(shown.contains("pass:") && !shown.contains("tellme"), "{shown}");
    fs::write(&path, &shown).unwrap();
    assert_eq!(Checked::load(&path).unwrap().effective_yaml(), shown, "it is a file still");
}

#[test]
fn two_backups_do_not_take_over_at_the_same_moment() {
    let said = |two: &str| pair("    priority: 100\n", two).join("\n");
    assert!(said("    priority: 95\n").contains("has priority 95, but 100 in lb1.yaml"));
    for well in ["    priority: 90\n", "    priority: 110\n"] {
        assert!(!said(well).contains("has priority"), "{}", said(well));
    }
}

#[test]
fn lbd_waits_for_whoever_takes_the_address() {
    let two = |more: &str| vrrp(&format!("    priority: 90\n    advert_interval: 2s\n{more}"));
    let said = |lb: &str, more: &str| {
        said_about(&[
            ("lb1.yaml", &vrrp("    advert_interval: 2s\n")),
            ("lb2.yaml", &two(more)),
            ("lb.yaml", lb),
        ])
        .join("\n")
    };
    let strict = "    strict: true\n";
    let patient = ["lbd: { handover_timeout: 3s }\n", LB].concat();
    assert!(said(LB, strict).contains("lbd waits 1s by lb.yaml"), "{}", said(LB, strict));
    assert!(!said(LB, "").contains("lbd waits"));
    assert!(!said(&patient, strict).contains("lbd waits"), "{}", said(&patient, strict));
    // Nobody knows of a successor whose file is not given.
    let alone = |more: &str| said_about(&[("lb1.yaml", &vrrp(more)), ("lb.yaml", LB)]).join("\n");
    let slow = "    strict: true\n    advert_interval: 2s\n";
    assert!(alone(slow).contains("may be taken over as late as 1992ms"), "{}", alone(slow));
    assert_eq!(alone("    advert_interval: 2s\n"), "");
}

#[test]
fn a_good_pair_fits_together() {
    let one = vrrp("    priority: 250\n    preempt: false\n    track: [lbd, { backend: nginx }]\n");
    let two = vrrp("    priority: 240\n    preempt: false\n    track: [lbd, { backend: nginx }]\n");
    assert_eq!(said_about(&[("lb1.yaml", &one), ("lb.yaml", LB), ("lb2.yaml", &two)]), Vec::<String>::new());
}

#[test]
fn the_weight_that_people_copy_is_found() {
    let node = |priority| {
        format!("    version: 2\n    priority: {priority}\n    track: [{{ lbd: {{}}, weight: 2 }}]\n")
    };
    assert_eq!(
        pair(&node(100), &node(90)),
        [
            "lb1.yaml:7:32: warning: instance \"web\" tracks \"lbd\" with weight 2: when that fails, 102 becomes 100, which still \
          beats 92 of lb2.yaml: the address never moves\n  help: leave the weight out, so that a failure gives the address up \
          at once; or use weight: -20"
        ]
    );
}

#[test]
fn weights_are_judged_by_what_the_others_do() {
    let node = |priority: u8, preempt: &str, weight: i16| {
        format!(
            "    priority: {priority}\n    preempt: {preempt}\n    track: [lbd, {{ backend: nginx, weight: {weight} }}]\n"
        )
    };
    let count = |one: &str, two: &str| pair(one, two).len();
    assert_eq!(count(&node(100, "true", -20), &node(90, "true", -20)), 0);
    assert_eq!(count(&node(100, "true", -20), &node(90, "30s", -20)), 0);
    assert_eq!(count(&node(100, "true", 20), &node(90, "true", 20)), 0);
    assert!(
        pair(&node(100, "false", -20), &node(90, "false", -20))[0].contains("lb2.yaml has preempt: false")
    );
    assert!(
        pair(&node(100, "true", -10), &node(90, "true", -20))[0]
            .contains("100 becomes 90, which still beats 90")
    );
    // Two trackers that move the address together are no mistake.
    let both =
        "    priority: 100\n    track: [lbd, { backend: a, weight: -6 }, { backend: b, weight: -6 }]\n";
    assert_eq!(count(both, "    priority: 90\n"), 0);
}

#[test]
fn what_has_to_be_the_same_is_compared() {
    let hmac = |file: &str, id: u8, accept: &str| {
        format!(
            "    priority: 90\n    authentication: {{ hmac: {{ key_file: {file}, key_id: {id}, accept: {{ {accept} }} }} }}\n"
        )
    };
    let hmac_one = hmac("one.key", 1, "").replace("90", "100");
    for (one, two, wanted) in [
        ("", "    priority: 90\n    version: 2\n", "has version 2, but 3 in lb1.yaml"),
        ("", "", "warning: instance \"web\" has priority 100, as it has in lb1.yaml"),
        (
            "",
            "    priority: 90\n    timing: fast\n",
            "warning: instance \"web\" sends adverts every 80ms, but every 1s in lb1.yaml",
        ),
        (
            "    version: 2\n",
            "    version: 2\n    priority: 90\n    advert_interval: 2s\n",
            "error: instance \"web\" sends adverts every 2s",
        ),
        (
            "    excluded_addresses: 192.0.2.7\n",
            "    priority: 90\n",
            "lacks 192.0.2.7, which lb1.yaml has in excluded_addresses",
        ),
        (
            "",
            "    priority: 90\n    unicast: { peers: 192.0.2.11 }\n",
            "sends by unicast, but by multicast in lb1.yaml",
        ),
        (
            "    unicast: { peers: 192.0.2.12, source: 192.0.2.11 }\n",
            "    priority: 90\n    unicast: { peers: 192.0.2.13 }\n",
            "does not list 192.0.2.11, from which lb1.yaml sends",
        ),
        (
            "    unicast: { peers: 192.0.2.12 }\n",
            "    priority: 90\n    unicast: { peers: 192.0.2.12 }\n",
            "lists 192.0.2.12 alone, and so does lb1.yaml",
        ),
        (
            "    version: 2\n    authentication: { pass: a }\n",
            "    version: 2\n    priority: 90\n    authentication: { pass: b }\n",
            "has another password than in lb1.yaml",
        ),
        ("", &hmac("one.key", 1, ""), "has authentication hmac, but none in lb1.yaml"),
        (&hmac_one, &hmac("two.key", 1, ""), "has another key 1 than in lb1.yaml"),
        (&hmac_one, &hmac("two.key", 2, "1: one.key"), "signs with key 2, which lb1.yaml does not accept"),
        (&hmac_one, &hmac("two.key", 2, ""), "signs with key 2, which lb1.yaml does not accept"),
    ] {
        let said = pair(one, two);
        assert_eq!(said.len(), 1, "{one}{two}: {said:#?}");
        assert!(said[0].contains(wanted), "{wanted}: {said:#?}");
    }
    let mode = |file: &str, mode: &str| {
        hmac("one.key", 1, "").replace("accept: {  }", &format!("mode: {mode}")).replace("90", file)
    };
    for (one, two, wanted) in [
        (
            mode("100", "receive_only"),
            mode("90", "require"),
            "believes none that does not sign, and lb1.yaml does not",
        ),
        (
            mode("100", "require"),
            mode("90", "receive_only"),
            "does not sign (mode: receive_only), but lb1.yaml believes",
        ),
        (String::new(), mode("90", "send"), "has authentication hmac, but none in lb1.yaml"),
    ] {
        let said = pair(&one, &two);
        assert!(said.iter().any(|said| said.contains(wanted)), "{wanted}: {said:#?}");
    }
    for (one, two) in [
        (String::new(), mode("90", "receive_only")),
        (mode("100", "receive_only"), mode("90", "send")),
        (mode("100", "send"), mode("90", "require")),
    ] {
        let said = pair(&one, &two);
        assert!(
            said.iter().all(|said| said.contains("warning") && said.contains("protects against nothing yet")),
            "{said:#?}"
        );
    }
    let rotating = hmac("one.key", 1, "2: two.key").replace("90", "100");
    assert_eq!(
        pair(&rotating, &hmac("two.key", 2, "1: one.key")),
        Vec::<String>::new(),
        "keys are being replaced"
    );
}

#[test]
fn instances_are_matched_by_name_or_by_id() {
    let one = vrrp("");
    let two = vrrp("    priority: 90\n");
    let said = said_about(&[("lb1.yaml", &one), ("lb2.yaml", &two.replace("51", "52"))]);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with(
            "lb2.yaml:3:24: error: instance \"web\" has virtual_router_id 52, but 51 in lb1.yaml"
        )
    );
    let said = said_about(&[
        ("lb1.yaml", &one),
        ("lb2.yaml", &two.replace("web", "www").replace(".100/24", ".101/24")),
    ]);
    assert!(
        said[0].contains("lacks 192.0.2.100, which lb1.yaml has, and has 192.0.2.101, which lb1.yaml lacks"),
        "{said:#?}"
    );
    let said =
        said_about(&[("lb1.yaml", &one), ("lb2.yaml", &two.replace("web", "www").replace("51", "52"))]);
    assert_eq!(said.iter().filter(|remark| remark.contains("is in this file alone")).count(), 2, "{said:#?}");
}

#[test]
fn what_is_tracked_has_to_exist_in_the_lb_yaml() {
    let node = vrrp("    track: [lbd, { backend: ngnix }]\n");
    let said = said_about(&[("vrrp.yaml", &node), ("lb.yaml", LB)]);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with(
        "vrrp.yaml:5:29: error: instance \"web\" tracks backend \"ngnix\", which lb.yaml does not have"
    ));
    assert!(said[0].contains("did you mean \"nginx\"?"));
    let said = said_about(&[("vrrp.yaml", &(vrrp("") + "admin: { bind: 0.0.0.0:8404 }\n")), ("lb.yaml", LB)]);
    assert!(
        said[0].starts_with("vrrp.yaml:5:16: error: vrrpd listens on 0.0.0.0:8404, but lb.yaml has"),
        "{said:#?}"
    );
}

#[test]
fn somebody_has_to_listen_on_the_virtual_addresses() {
    let node = vrrp("    track: [lbd]\n");
    for (bind, fits) in
        [("192.0.2.100:80", true), ("0.0.0.0:80", true), ("'[::]:80'", false), ("192.0.2.101:80", false)]
    {
        let said = said_about(&[("vrrp.yaml", &node), ("lb.yaml", &LB.replace("192.0.2.100:80", bind))]);
        let expected = "vrrp.yaml:4:24: warning: instance \"web\" has 192.0.2.100, on which no frontend of lb.yaml listens";
        assert_eq!(said.len(), usize::from(!fits), "{bind}: {said:?}");
        assert!(said.iter().all(|said| said.starts_with(expected)), "{bind}: {said:?}");
    }
}

#[test]
fn the_kind_of_a_file_is_told_by_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("some.yaml");
    for (text, wanted) in [
        ("", "it needs frontends and backends (lb.yaml), or instances or anycast (vrrp.yaml)"),
        ("admin: {}\n", "this is no configuration of ours"),
        ("- a\n", "this is no configuration of ours"),
        ("instnces: {}\n", "did you mean \"instances\"?"),
        ("admin: {}\nbackend: {}\n", "did you mean \"backends\"?"),
        ("vrrpd: {}\n", "lacks \"instances\""),
    ] {
        fs::write(&path, text).unwrap();
        let invalid = Checked::load(&path).unwrap_err();
        assert!(invalid.to_string().contains(wanted), "{text}: {invalid}");
        assert!(invalid.diagnostics.iter().any(|one| one.severity == Severity::Error));
    }
}
