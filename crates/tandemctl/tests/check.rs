//! `tandemctl check` on real files.

mod support;

use std::fs;

use support::Node;

const GOOD: &str = "\
frontends:
  web: { bind: [\"127.0.0.1:8080\"], backend: nginx }
backends:
  nginx:
    servers:
      nginx1: 127.0.0.1:8081
      nginx2: { address: 127.0.0.1:8082, weight: 3 }
";

#[test]
fn a_good_file_is_counted_out() {
    let node = Node::new();
    let file = node.run_dir().join("lb.yaml");
    fs::write(&file, GOOD).unwrap();
    let check = node.tandemctl(&["check", file.to_str().unwrap()]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(
        check.out.starts_with(&format!("{}: can be used: 1 frontend, 1 backend, 2 servers", file.display()))
    );
}

#[test]
fn the_effective_configuration_is_one_that_can_be_used() {
    let node = Node::new();
    let file = node.run_dir().join("lb.yaml");
    fs::write(&file, GOOD).unwrap();
    let effective = node.tandemctl(&["check", "--effective", file.to_str().unwrap()]);
    assert_eq!(effective.code, 0, "{effective:?}");
    assert!(effective.out.contains("fall: 3"), "defaults are filled in:\n{}", effective.out);
    fs::write(&file, &effective.out).unwrap();
    assert_eq!(node.tandemctl(&["check", file.to_str().unwrap()]).code, 0);
}

#[test]
fn what_came_by_variables_stays_behind_their_names_where_any_text_can_stand() {
    let node = Node::new();
    let file = node.run_dir().join("lb.yaml");
    let secret = "    check: { http: { headers: { Authorization: \"Bearer ${TOKEN}\", X-A: \"${ABSENT:-plain}\" } } }\n    \
                  request: { set: { X-Key: \"${TOKEN}\" } }\n    servers:";
    let text = GOOD.replace("    servers:", secret).replace("127.0.0.1:8080", "127.0.0.1:${PORT}");
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let environment = [("TOKEN", "s3cret"), ("PORT", "8088")];
    let effective = node.tandemctl_with(&environment, &["check", "--effective", path]);
    assert_eq!(effective.code, 0, "{effective:?}");
    assert!(!effective.out.contains("s3cret"), "{}", effective.out);
    for shown in ["Authorization: Bearer ${TOKEN}", "X-Key: ${TOKEN}", "X-A: plain", "127.0.0.1:8088"] {
        assert!(effective.out.contains(shown), "{shown} is missing:\n{}", effective.out);
    }
    fs::write(&file, &effective.out).unwrap();
    let again = node.tandemctl_with(&environment, &["check", "--effective", path]);
    assert_eq!(again.out, effective.out, "{}", again.err);
}

#[test]
fn a_file_of_authorities_that_checks_need_is_looked_at() {
    let node = Node::new();
    let (file, authorities) = (node.run_dir().join("lb.yaml"), node.run_dir().join("ca.pem"));
    let check = format!("    check: {{ tls: {{ ca_file: {} }} }}\n    servers:", authorities.display());
    fs::write(&file, GOOD.replace("    servers:", &check)).unwrap();
    for (content, wanted) in [(None, "there is no such file"), (Some("x"), "no certificate is in it")] {
        content.into_iter().for_each(|content| fs::write(&authorities, content).unwrap());
        let told = node.tandemctl(&["check", file.to_str().unwrap()]);
        assert_eq!(told.code, 78, "{told:?}");
        assert!(told.err.contains(wanted) && told.err.contains("lb.yaml:5:30: error:"), "{told:?}");
    }
    fs::write(&authorities, "-----BEGIN CERTIFICATE-----\n").unwrap();
    assert_eq!(node.tandemctl(&["check", file.to_str().unwrap()]).code, 0);
}

#[test]
fn every_mistake_is_shown_where_it_is() {
    let node = Node::new();
    let file = node.run_dir().join("lb.yaml");
    let bad =
        GOOD.replace("    servers:", "    ballance: roundrobin\n    check: { intervall: 2s }\n    servers:");
    fs::write(&file, bad).unwrap();
    let check = node.tandemctl(&["check", file.to_str().unwrap()]);
    assert_eq!((check.code, check.out.as_str()), (78, ""), "{check:?}");
    for wanted in [
        "lb.yaml:5:5: error:",
        "  5 |     ballance: roundrobin\n    |     ^\n",
        "did you mean \"balance\"?",
        "lb.yaml:6:14: error:",
    ] {
        assert!(check.err.contains(wanted), "{wanted} is missing:\n{}", check.err);
    }
}

#[test]
fn one_bad_file_among_good_ones_is_enough() {
    let node = Node::new();
    let (good, absent) = (node.run_dir().join("good.yaml"), node.run_dir().join("absent.yaml"));
    fs::write(&good, GOOD).unwrap();
    let check = node.tandemctl(&["check", good.to_str().unwrap(), absent.to_str().unwrap()]);
    assert_eq!(check.code, 78, "{check:?}");
    assert!(check.out.contains("can be used"), "{check:?}");
    assert!(check.err.contains("absent.yaml"), "{check:?}");
}

#[test]
fn a_pair_of_nodes_is_checked_with_its_load_balancer() {
    let node = Node::new();
    let vrrp = |priority: u8| {
        format!(
            "instances:\n  web:\n    virtual_router_id: 51\n    priority: {priority}\n    virtual_addresses: \
             192.0.2.100/24\n"
        )
    };
    let path = |name: &str| node.run_dir().join(name).to_str().unwrap().to_owned();
    let (lb1, lb2, lb) = (path("vrrp-lb1.yaml"), path("vrrp-lb2.yaml"), path("lb.yaml"));
    fs::write(&lb1, vrrp(250)).unwrap();
    fs::write(&lb2, vrrp(240)).unwrap();
    fs::write(&lb, GOOD.replace("127.0.0.1:8080", "0.0.0.0:8080")).unwrap();
    let check = node.tandemctl(&["check", &lb1, &lb2, &lb]);
    assert_eq!((check.code, check.err.as_str()), (0, ""), "{check:?}");
    assert!(check.out.contains("vrrp-lb1.yaml: can be used: 1 instance, 1 virtual address\n"), "{check:?}");
    assert!(check.out.ends_with("they fit together\n"), "{check:?}");

    fs::write(&lb, GOOD).unwrap();
    let check = node.tandemctl(&["check", &lb1, &lb2, &lb]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.err.contains("on which no frontend of"), "{check:?}");
    assert_eq!(
        counted(&check.out),
        check.err.matches(": warning: ").count(),
        "as many as are shown: {check:?}"
    );

    fs::write(&lb1, vrrp(250) + "    track: [{ lbd: {}, weight: -2 }]\n").unwrap();
    let check = node.tandemctl(&["check", &lb1, &lb2, &lb]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.err.contains("250 becomes 248, which still beats 240"), "{check:?}");

    fs::write(&lb2, vrrp(240).replace("51", "52")).unwrap();
    let check = node.tandemctl(&["check", &lb1, &lb2]);
    assert_eq!(check.code, 78, "{check:?}");
    assert!(check.err.contains("  3 |     virtual_router_id: 52\n"), "{check:?}");
    assert!(check.err.ends_with("these files cannot be used together\n"), "{check:?}");
}

/// The warnings that the summaries count.
fn counted(summaries: &str) -> usize {
    let parts = summaries.lines().flat_map(|line| line.split(", "));
    let counts = parts.filter_map(|part| part.strip_suffix(" warnings").or(part.strip_suffix(" warning")));
    counts.filter_map(|count| count.parse::<usize>().ok()).sum()
}
