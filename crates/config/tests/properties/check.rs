//! Checks.

use super::{host_name, milliseconds, proxy};
use config::{
    Check, CheckProxy, CheckTls, ExpectedBody, ExpectedStatus, HttpProbe, Pattern, Probe, TlsProbe,
};
use health::Timing;
use health::dialogue::{RedisRole, Step};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::select;
use proptest::{option, prop_oneof};

pub(super) fn check() -> impl Strategy<Value = Check> {
    let interval = || milliseconds(10..=60 * 60 * 1000);
    let timing =
        (interval(), interval(), interval(), milliseconds(10..=10 * 60 * 1000), 1..=100_u32, 1..=100_u32)
            .prop_map(|(interval, fast_interval, down_interval, timeout, rise, fall)| Timing {
                interval,
                fast_interval,
                down_interval,
                timeout,
                rise,
                fall,
            });
    let probe = prop_oneof![http_probe().prop_map(Probe::Http), other_probe()];
    let send_proxy = prop_oneof![
        Just(CheckProxy::Auto),
        proxy().prop_map(|version| version.map_or(CheckProxy::Off, CheckProxy::Always))
    ];
    (probe, timing, option::of(1..=u16::MAX), send_proxy, select(CheckTls::ALL.to_vec())).prop_map(
        |(probe, timing, port, send_proxy, over_tls)| Check { probe, timing, port, send_proxy, over_tls },
    )
}

fn http_probe() -> impl Strategy<Value = HttpProbe> {
    let headers =
        vec(("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}", "([!-~]([ -~]{0,40}[!-~])?)?"), 0..4).prop_map(|headers| {
            let numbered = headers
                .into_iter()
                .enumerate()
                .map(|(index, (name, value))| (format!("{name}-x{index}"), value));
            numbered.collect()
        });
    let status = (100..=599_u16, 100..=599_u16).prop_map(|(a, b)| a.min(b)..=a.max(b));
    (
        "[A-Z]{1,10}",
        "/[!-\"$-~]{0,20}",
        option::of("[a-z0-9.:\\[\\]-]{1,20}"),
        headers,
        vec(status, 1..4),
        option::of(expected_body()),
    )
        .prop_filter("CONNECT is refused", |(method, ..)| method != "CONNECT")
        .prop_map(|(method, path, host, headers, expect, body)| HttpProbe {
            method,
            path,
            host,
            headers,
            expect: ExpectedStatus(expect),
            body,
        })
}

fn expected_body() -> impl Strategy<Value = ExpectedBody> {
    let pattern = "[a-z.*+?^$]{1,10}".prop_filter_map("it is a pattern", |text| Pattern::new(&text).ok());
    prop_oneof![".{1,40}".prop_map(ExpectedBody::Contains), pattern.prop_map(ExpectedBody::Matches)]
}

fn other_probe() -> impl Strategy<Value = Probe> {
    let word = || "[ -~]{1,20}";
    let bytes = || vec(any::<u8>(), 1..20);
    let step = prop_oneof![bytes().prop_map(Step::Send), bytes().prop_map(Step::Expect)];
    let steps = (vec(step, 0..5), bytes()).prop_map(|(mut steps, last)| {
        steps.push(Step::Expect(last));
        Probe::Steps(steps)
    });
    let role = select(vec![None, Some(RedisRole::Master), Some(RedisRole::Replica)]);
    let host = host_name;
    let tls = (option::of(host()), option::of("/[!-~]{1,20}"));
    prop_oneof![
        Just(Probe::Tcp),
        steps,
        option::of(word()).prop_map(|user| Probe::Mysql { user }),
        (word(), option::of(word())).prop_map(|(user, database)| Probe::Postgres { user, database }),
        role.prop_map(|role| Probe::Redis { role }),
        host().prop_map(|domain| Probe::Smtp { domain }),
        tls.prop_map(|(name, ca_file)| Probe::Tls(TlsProbe { name, ca_file: ca_file.map(Into::into) })),
    ]
}
