//! A server that wants a PROXY header.

use config::{Check, CheckProxy, CheckTls, ExpectedStatus, HttpProbe, Probe, ServerAddress, ServerCheck};
use health::CheckCode::{self, L7Ok, L7Rsp};
use health::Timing;
use healthd::probe::{Probed, Prober, Target};
use proxy_protocol::Version;
use testkit::{Addresses, Nginx, needs};

use crate::haproxy::Haproxy;

#[test]
fn nginx_is_found_well_by_those_who_introduce_themselves_alone() {
    needs!("haproxy");
    let addresses = Addresses::claim();
    let nginx = Nginx::start_introduced(1, addresses.socket(11, 8080));
    let address = nginx.address();
    let haproxy = |server: &str| format!("option httpchk GET /health\n SERVER {server}");
    let lines =
        ["", "send-proxy", "send-proxy-v2", "send-proxy port 8080", "send-proxy port 8080 check-send-proxy"]
            .map(haproxy);
    let names = ["none", "v1", "v2", "port", "always"];
    let checks: Vec<_> = names.into_iter().zip(lines.iter().map(String::as_str)).collect();
    let haproxy = Haproxy::start(address, &checks);

    let check = Check {
        probe: Probe::Http(HttpProbe {
            method: "GET".to_owned(),
            path: "/health".to_owned(),
            host: None,
            headers: Vec::new(),
            expect: ExpectedStatus(vec![200..=200]),
            body: None,
        }),
        timing: Timing::default(),
        port: None,
        send_proxy: CheckProxy::Auto,
        over_tls: CheckTls::Auto,
    };
    let prober = Prober::new(&check).unwrap();
    let server = ServerAddress { host: config::Host::Ip(address.ip()), port: address.port() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let finds = |proxy: Option<Version>, code: CheckCode| {
        let target = Target::new(&server, None, &ServerCheck::default()).introduced(proxy);
        match runtime.block_on(prober.run(&target, address)) {
            Probed::Server(result) => assert_eq!(result.code, code, "{proxy:?}: {result:?}"),
            Probed::Starved(result) => panic!("out of resources: {result:?}"),
        }
    };
    finds(None, L7Rsp);
    finds(Some(Version::V1), L7Ok);
    finds(Some(Version::V2), L7Ok);
    for (name, code) in
        [("none", "L7RSP"), ("v1", "L7OK"), ("v2", "L7OK"), ("port", "L7RSP"), ("always", "L7OK")]
    {
        haproxy.finds(name, code);
    }
}
