//! `vrrp.yaml`: what it means, and what is said of mistakes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use config::{Checked, KeyFile, Loaded, TrackTarget, VrrpConfig, parse_vrrp};
use vrrp::{Authentication, Preemption, Version, Weight};

fn parse(text: &str) -> Result<Loaded<VrrpConfig>, String> {
    let key = |bytes: &[u8]| Ok(KeyFile { bytes: bytes.to_vec(), exposed: false });
    let files = |name: &str| match name {
        "key" => key(b"0123456789abcdef0123456789abcdef\n"),
        "short" => key(b"too short"),
        _ => Err(format!("{name}: there is no such file")),
    };
    parse_vrrp("vrrp.yaml", text, &files).map_err(|invalid| invalid.to_string())
}

#[test]
fn the_smallest_file_has_safe_defaults() {
    let text = "instances: { web: { virtual_router_id: 51, virtual_addresses: 192.0.2.100/24 } }";
    let loaded = parse(text).unwrap();
    assert_eq!(loaded.warnings, []);
    let web = &loaded.config.instances[0];
    assert_eq!((web.version, web.priority.get(), web.virtual_router_id.get()), (Version::V3, 100, 51));
    assert_eq!(web.interval.duration(), Duration::from_secs(1));
    assert_eq!(web.preemption, Preemption::After(Duration::ZERO));
    assert_eq!(web.addresses[0].to_string(), "192.0.2.100/24");
    assert_eq!(web.authentication, Authentication::None);
    assert_eq!(web.track.len(), 1, "a dead lbd gives the address up");
    assert_eq!((web.track[0].name.as_str(), web.track[0].weight), ("lbd", Weight::Fault));
    assert_eq!(loaded.config.vrrpd.admin.to_string(), "127.0.0.1:8407");
}

#[test]
fn everything_can_be_said() {
    let text = r#"
instances:
  web:
    interface: eth0
    virtual_router_id: 51
    priority: 250
    virtual_addresses: [192.0.2.100/24, 192.0.2.101]
    excluded_addresses: ["2001:db8::100/64"]
    preempt: 30s
    timing: fast
    strict: yes
    unicast: { peers: [192.0.2.12], source: 192.0.2.11, min_ttl: 254 }
    authentication: { hmac: { key_file: key, key_id: 2, accept: { 1: key }, window: off } }
    checksum: message_only
    address_mismatch: discard
    gratuitous: { repeat: 3, interval: 50ms, delay: off, refresh: 60s }
    probe: off
    notify: { command: [/usr/local/bin/moved, "--loud"], timeout: 5s }
    track:
      - lbd
      - { backend: nginx, weight: -20 }
      - { interface: eth1 }
      - { command: [/bin/true], interval: 5s, timeout: 1s, rise: 1, fall: 3, weight: 10, name: disk }
      - { gateway: default }
admin: { bind: 0.0.0.0:8407 }
vrrpd: { realtime: 50, lock_memory: true }
"#;
    let config = parse(text).unwrap().config;
    let web = &config.instances[0];
    assert_eq!(web.interval.duration(), Duration::from_millis(80));
    let names: Vec<&str> = web.track.iter().map(|tracker| tracker.name.as_str()).collect();
    assert_eq!(names, ["lbd", "backend nginx", "interface eth1", "disk", "gateway default"]);
    assert_eq!(web.track[0].target, TrackTarget::Lbd { hung_after: Duration::from_millis(110) });
    assert_eq!(web.track[1].weight, Weight::WhileFailing(20));
    assert_eq!(web.preemption, Preemption::After(Duration::from_secs(30)));
    assert!(matches!(web.authentication, Authentication::Hmac { window: None, .. }));
    assert_eq!(web.gratuitous.delay, None);
    assert_eq!(web.notify.as_ref().unwrap().command.argv.len(), 2);
    assert_eq!(config.vrrpd.realtime, Some(50));
}

// RFC 9568 section 5.2.4: "VRRP Routers backing up a Virtual Router MUST use priority values between 1-254 (decimal)."
#[test]
fn mistakes_are_explained_where_they_are() {
    let instance = |more: &str| {
        format!(
            "instances:\n  web:\n    virtual_router_id: 51\n    virtual_addresses: 192.0.2.100/24\n    {more}\n"
        )
    };
    for (more, wanted) in [
        (
            "prority: 100",
            "vrrp.yaml:5:5: error: unknown key \"prority\" in instance \"web\"; did you mean \"priority\"?",
        ),
        ("priority: 255", "expected a number from 1 to 254"),
        ("version: 2\n    advert_interval: 250ms", "does not fit VRRPv2"),
        ("version: 2\n    timing: fast", "does not fit VRRPv2"),
        ("unicast: { peers: [] }", "always be master"),
        ("unicast: { peers: [2001:db8::1] }", "not of the family"),
        ("version: 2\n    authentication: { pass: \"123456789\" }", "1 to 8 bytes"),
        ("authentication: { pass: \"1234\" }", "VRRPv3 does not carry"),
        ("authentication: { hmac: { key_file: none } }", "the key file none: there is no such file"),
        ("authentication: { hmac: { key_file: short } }", "32 to 64"),
        ("authentication: {}", "neither pass nor hmac"),
        ("track: [lbb]", "did you mean \"lbd\"?"),
        ("track: [{ weight: 2 }]", "names none of"),
        ("track: [{ lbd: {}, backend: b }]", "names several things"),
        ("track: [lbd, lbd]", "a second time"),
        ("track: [{ command: [true] }]", "absolute path"),
        ("track: [{ command: [/bin/true], interval: 1s, timeout: 2s }]", "longer than its interval"),
        ("track: [{ lbd: {}, weight: 254 }]", "expected a number from -253 to 253"),
        ("preempt: maybe", "a duration is a whole number"),
        ("excluded_addresses: 192.0.2.100", "among virtual_addresses too"),
        ("interface: a/b", "1 to 15 characters"),
        ("servers: {}", "unknown key \"servers\""),
    ] {
        let error = parse(&instance(more)).unwrap_err();
        assert!(error.contains(wanted), "{more}: {error}");
        assert_eq!(error.matches("error:").count(), 1, "{more}: {error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let error =
        parse("instances: { web: { virtual_router_id: 0, virtual_addresses: [] } }\nadmn: {}").unwrap_err();
    assert_eq!(error.matches("error:").count(), 3, "{error}");
}

#[test]
fn two_instances_do_not_share_a_virtual_router_id() {
    let text = "instances:\n  a: { virtual_router_id: 51, virtual_addresses: 192.0.2.1 }\n  \
                b: { virtual_router_id: 51, virtual_addresses: 192.0.2.2 }\n";
    assert!(parse(text).unwrap_err().contains("of instance \"a\""));
}

#[test]
fn a_password_in_a_file_for_everybody_is_warned_of() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "instances:\n  web:\n    version: 2\n    virtual_router_id: 51\n    virtual_addresses: [192.0.2.100/24]\n    \
                authentication: { pass: \"1234\" }\n";
    std::fs::write(file.path(), text).unwrap();
    let warnings = |mode| {
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        let told = Checked::load(file.path()).unwrap().warnings;
        told.into_iter().filter(|one| one.message.contains("password")).collect::<Vec<_>>()
    };
    for mode in [0o644, 0o660] {
        let told = warnings(mode);
        assert_eq!(told.len(), 1, "{mode:o}");
        assert_eq!((told[0].line, told[0].help.as_deref().unwrap().contains("chmod 640")), (6, true));
    }
    assert_eq!(warnings(0o640), []);
}
