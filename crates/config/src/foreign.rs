//! HAProxy's and keepalived's files and words: whoever comes from there is told what they are here.

use Here::{In, Key, Top, Words};

use crate::keys::Subject;
use crate::yaml::Mark;

/// What a word of another program is here.
#[derive(Clone, Copy, Debug)]
enum Here {
    /// A key, as the list of keys has it.
    Key(&'static str),
    /// Something else, in words.
    Words(&'static str),
    /// Something else, of a section at the top of the file.
    Top(&'static str),
    /// Something else, in one section alone: elsewhere it is a word of ours, or nobody's.
    In(&'static str, &'static str),
}

/// What somebody else's word is here, in words for the section at `home`; and the key of that section that it is, if it is one.
pub(crate) fn meaning(subject: Subject, home: &str, word: &str) -> Option<(String, Option<&'static str>)> {
    let (program, words) = match subject {
        Subject::Lb => ("HAProxy", HAPROXY),
        Subject::Vrrp => ("keepalived", KEEPALIVED),
    };
    let word = word.strip_prefix("option ").unwrap_or(word);
    let folded = word.replace('-', "_").to_ascii_lowercase();
    let meant = |here: &Here| match here {
        Key(path) => match path.rsplit_once('.') {
            Some((section, key)) if section == home => Some((format!("\"{key}\" here"), Some(key))),
            _ => Some((format!("{path} here"), None)),
        },
        Words(words) => Some(((*words).to_owned(), None)),
        Top(words) if home.is_empty() => Some(((*words).to_owned(), None)),
        In(section, words) if *section == home => Some(((*words).to_owned(), None)),
        Top(_) | In(..) => None,
    };
    // What a word is in one section stands before what it is elsewhere.
    let (meaning, key) =
        words.iter().filter(|(known, _)| *known == folded).find_map(|(_, here)| meant(here))?;
    Some((format!("{program}'s {word} is {meaning}"), key))
}

/// Whose file a text is instead of YAML, by its first line that says so; and where our documents have the words of both.
pub(crate) fn file_of(text: &str) -> Option<(Mark, &'static str)> {
    const HAPROXY: &str = "this is a haproxy.cfg; docs/configuration.md, \"For those who know HAProxy\", says what its words are here";
    const KEEPALIVED: &str = "this is a keepalived.conf; docs/production.md, \"Coming from keepalived\", says what its words are here";
    text.lines().enumerate().find_map(|(index, line)| {
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        let told = match (line.starts_with(char::is_whitespace), words.as_slice()) {
            (false, ["global" | "defaults"] | ["defaults" | "frontend" | "backend" | "listen", _]) => HAPROXY,
            (
                false,
                ["global_defs" | "vrrp_instance" | "vrrp_script" | "vrrp_sync_group" | "virtual_server", ..],
            ) if line.trim_end().ends_with('{') => KEEPALIVED,
            _ => return None,
        };
        Some((Mark { line: index + 1, column: 1 }, told))
    })
}

const TLS: &str = "frontends.NAME.bind.tls";
const BACKEND: &str = "backends.NAME";
const BACKEND_TLS: &str = "backends.NAME.tls";
const SERVER: &str = "backends.NAME.servers.NAME";
const CHECK_TLS: &str =
    "not there: a check asks for what requests ask for; \"over_tls\" of it has it speak TLS, or not";
const CIPHERS: &str = "not there: those of TLS 1.3 are spoken, and of TLS 1.2 those with forward secrecy";
const PATHS: &str = "not there; paths start at the directory of this file";

const HAPROXY: &[(&str, Here)] = &[
    ("abortonclose", Key("backends.NAME.abort_on_close")),
    ("accept_proxy", Key("frontends.NAME.accept_proxy")),
    ("accepted_payload_size", Words("not there; answers that do not fit are asked for by TCP")),
    ("acl", Key("frontends.NAME.routes")),
    ("allbackups", Words("\"use: all\" of backends.NAME.backups")),
    ("alpn", In(SERVER, "\"alpn\" of the backend's tls")),
    ("ca_base", Top(PATHS)),
    ("ca_file", In(BACKEND_TLS, "\"server_ca\" here")),
    ("ca_file", In(SERVER, "\"server_ca\" of the backend's tls")),
    ("ca_file", In(TLS, "\"client_ca\" here, and \"check.tls.ca_file\" in backends")),
    ("check_alpn", Words(CHECK_TLS)),
    ("check_send_proxy", Key("backends.NAME.check.send_proxy")),
    ("check_sni", Words(CHECK_TLS)),
    ("check_ssl", Key("backends.NAME.check.over_tls")),
    ("ciphers", Words(CIPHERS)),
    ("ciphersuites", Words(CIPHERS)),
    ("cookie", Key("backends.NAME.sticky")),
    ("crl_file", In(BACKEND_TLS, "\"server_crl\" here")),
    ("crl_file", In(SERVER, "\"server_crl\" of the backend's tls")),
    ("crl_file", Key("frontends.NAME.bind.tls.client_crl")),
    ("crt", In(BACKEND_TLS, "\"certificate\" here")),
    ("crt", In(SERVER, "\"certificate\" of the backend's tls")),
    ("crt", Key("frontends.NAME.bind.tls.certificates")),
    ("crt_base", Top(PATHS)),
    ("crt_list", Words("\"certificates\" of frontends.NAME.bind.tls, each chosen by the names in it")),
    ("default_backend", Key("frontends.NAME.backend")),
    ("default_server", Words("not there; options stand at the backend or at each server")),
    ("defaults", Top("not there; an anchor (&) and aliases (*) share what is the same")),
    ("disabled", Words("\"state: maint\" of a server")),
    ("downinter", Key("backends.NAME.check.down_interval")),
    ("errorfile", Key("frontends.NAME.errors")),
    ("fastinter", Key("backends.NAME.check.fast_interval")),
    ("force_tlsv12", Words("not there; \"min_version\" of frontends.NAME.bind.tls is the oldest version")),
    ("force_tlsv13", Words("\"min_version: 1.3\" of frontends.NAME.bind.tls")),
    ("forwardfor", Key("frontends.NAME.forwarded_for")),
    ("hard_stop_after", Key("lbd.stop_timeout")),
    ("hash_balance_factor", Key("backends.NAME.balance.factor")),
    ("hold_nx", Key("resolvers.hold")),
    ("hold_obsolete", Key("backends.NAME.servers.discover.hold")),
    ("hold_valid", Key("resolvers.max_ttl")),
    ("http_check", Key("backends.NAME.check.http")),
    ("http_keep_alive", Key("frontends.NAME.timeouts.keep_alive")),
    (
        "http_request",
        Words("\"request\" for fields and paths, and \"routes\" for what is denied or redirected"),
    ),
    ("http_response", Key("frontends.NAME.response")),
    ("httpchk", Key("backends.NAME.check.http")),
    ("httplog", Words("\"access_log: httplog\" of a frontend")),
    ("inter", Key("backends.NAME.check.interval")),
    ("key", In(TLS, "in the same file as its certificate, or in *.key beside it")),
    ("listen", Top("a frontend and a backend")),
    ("maxqueue", Key("backends.NAME.queue.max")),
    ("monitor_uri", Key("frontends.NAME.routes.respond")),
    ("mysql_check", Key("backends.NAME.check.mysql")),
    ("nameserver", Key("resolvers.nameservers")),
    ("nbthread", Key("lbd.workers")),
    ("no_check_ssl", Words("\"over_tls: off\" of a check")),
    ("no_tls_tickets", Words("not there; sessions are always resumed by tickets")),
    ("no_tlsv12", Words("\"min_version: 1.3\" of frontends.NAME.bind.tls")),
    ("parse_resolv_conf", Words("the default: without resolvers.nameservers those of the system are asked")),
    ("pgsql_check", Key("backends.NAME.check.postgres")),
    ("redis_check", Key("backends.NAME.check.redis")),
    ("redispatch", Words("always on")),
    (
        "resolve_opts",
        Words("not there; \"max\" and \"hold\" of backends.NAME.servers.discover bound what answers may do"),
    ),
    ("resolve_prefer", Words("not there; both families of addresses are used")),
    ("resolve_retries", Key("resolvers.timeout")),
    ("send_proxy", Key("backends.NAME.send_proxy")),
    ("send_proxy_v2", Words("\"send_proxy: v2\" of a backend or server")),
    ("server_template", Key("backends.NAME.servers.discover")),
    ("slowstart", Key("backends.NAME.slow_start")),
    ("smtpchk", Key("backends.NAME.check.smtp")),
    ("sni", In(BACKEND_TLS, "\"server_name\" here")),
    ("sni", In(SERVER, "\"server_name\" here")),
    ("ssl", In(BACKEND, "\"tls: {}\" here")),
    ("ssl", In(SERVER, "\"tls: {}\" of the backend")),
    ("ssl", Key("frontends.NAME.bind.tls")),
    ("ssl_default_bind_ciphers", Words(CIPHERS)),
    ("ssl_default_bind_ciphersuites", Words(CIPHERS)),
    ("ssl_default_bind_options", Words("\"min_version\" of frontends.NAME.bind.tls")),
    ("ssl_fc", Key("frontends.NAME.routes.tls")),
    ("ssl_max_ver", Words("not there; \"min_version\" of frontends.NAME.bind.tls is the oldest version")),
    ("ssl_min_ver", In(BACKEND_TLS, "\"min_version\" here")),
    ("ssl_min_ver", Key("frontends.NAME.bind.tls.min_version")),
    ("ssl_server_verify", Words("\"verify\" of backends.NAME.tls")),
    ("stats", Key("admin")),
    ("tcp_check", Key("backends.NAME.check.tcp")),
    ("tcplog", Words("\"access_log: tcplog\" of a frontend")),
    ("timeout_resolve", Key("resolvers.min_ttl")),
    ("timeout_retry", Key("resolvers.timeout")),
    ("tls_ticket_keys", Key("frontends.NAME.bind.tls.ticket_keys")),
    ("unique_id_header", Key("frontends.NAME.request_id.field")),
    ("use_backend", Key("frontends.NAME.routes")),
    ("userlist", Key("admin.users")),
    ("verify", In(TLS, "\"client_certificate\" here: required or optional, beside client_ca")),
    ("verify", In(SERVER, "\"verify\" of the backend's tls")),
    ("verifyhost", Words("\"server_name\" of backends.NAME.tls, or of a server")),
];

const KEEPALIVED: &[(&str, Here)] = &[
    ("advert_int", Key("instances.NAME.advert_interval")),
    ("auth_pass", Key("instances.NAME.authentication.pass")),
    ("auth_type", Words("authentication with \"pass\" or \"hmac\"")),
    ("garp_interval", Key("instances.NAME.gratuitous.interval")),
    ("garp_master_delay", Key("instances.NAME.gratuitous.delay")),
    ("garp_master_refresh", Key("instances.NAME.gratuitous.refresh")),
    ("garp_master_repeat", Key("instances.NAME.gratuitous.repeat")),
    ("nopreempt", Words("\"preempt: false\"")),
    ("notify_backup", Key("instances.NAME.notify")),
    ("notify_fault", Key("instances.NAME.notify")),
    ("notify_master", Key("instances.NAME.notify")),
    ("notify_stop", Key("instances.NAME.notify")),
    ("preempt_delay", Words("\"preempt\" with a duration, such as \"preempt: 30s\"")),
    ("state", Words("not there: priorities decide, and every node starts as a backup")),
    ("track_interface", Words("\"track: [lbd, { interface: eth1 }]\"")),
    ("track_process", Words("\"track: [lbd]\", the default")),
    ("track_script", Words("\"track: [lbd, { command: [/usr/local/bin/check] }]\"")),
    ("unicast_peer", Key("instances.NAME.unicast.peers")),
    ("unicast_src_ip", Key("instances.NAME.unicast.source")),
    ("use_vmac", Words("not there: addresses move, MAC addresses do not")),
    ("virtual_ipaddress", Key("instances.NAME.virtual_addresses")),
    ("virtual_ipaddress_excluded", Key("instances.NAME.excluded_addresses")),
    ("vrrp_instance", Key("instances")),
    ("vrrp_no_swap", Key("vrrpd.lock_memory")),
    ("vrrp_rt_priority", Key("vrrpd.realtime")),
    ("vrrp_script", Words("a command in \"track\" of an instance")),
    ("vrrp_skip_check_adv_addr", Key("instances.NAME.address_mismatch")),
    ("vrrp_strict", Key("instances.NAME.strict")),
    ("vrrp_sync_group", Words("one instance with several addresses")),
    ("vrrp_version", Key("instances.NAME.version")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_words_are_given_is_one() {
        for (subject, words) in [(Subject::Lb, HAPROXY), (Subject::Vrrp, KEEPALIVED)] {
            for (word, here) in words {
                if let Key(path) = here {
                    assert!(subject.keys().iter().any(|key| key.path == *path), "{word}: {path}");
                }
            }
            assert!(words.is_sorted_by_key(|(word, _)| *word));
        }
    }

    #[test]
    fn words_are_told_for_where_they_stand() {
        let told = |home, word| meaning(Subject::Lb, home, word).map(|(told, _)| told);
        let inter = "HAProxy's inter is \"interval\" here";
        assert_eq!(told("backends.NAME.check", "inter").as_deref(), Some(inter));
        let inter = "HAProxy's inter is backends.NAME.check.interval here";
        assert_eq!(told("backends.NAME.servers.NAME", "inter").as_deref(), Some(inter));
        let check = "HAProxy's httpchk is backends.NAME.check.http here";
        assert_eq!(told("backends.NAME", "option httpchk").as_deref(), Some(check));
        assert_eq!(told("frontends.NAME", "backend"), None);
    }

    #[test]
    fn files_of_others_are_known_by_their_sections() {
        let line = |text| file_of(text).map(|(mark, told)| (mark.line, told.split(';').next().unwrap()));
        assert_eq!(line("# x\nglobal\n  daemon\n"), Some((2, "this is a haproxy.cfg")));
        assert_eq!(line("frontend web\n  bind :80\n"), Some((1, "this is a haproxy.cfg")));
        assert_eq!(line("vrrp_instance VI_1 {\n}\n"), Some((1, "this is a keepalived.conf")));
        for ours in ["frontends:\n  global:\n", "hello", "a: |\n  global\n", "backend:\n", "frontend : {}\n"]
        {
            assert_eq!(line(ours), None, "{ours}");
        }
    }
}
