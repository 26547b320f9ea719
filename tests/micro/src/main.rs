//! Does one thing so many times: `tandem-micro NAME TIMES`. `scripts/bench-micro` counts the instructions of two runs, and so
//! of one time. Without arguments the names are listed.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use balance::{
    AdminState, Algorithm, BackendView, Balancer, Belongs, Health, Key, Seconds, ServerView, Sticky,
    StickyLimits, Throttle, Tick, Tried, Weight,
};
use edit::{Context, FieldEdits, PathEdits, Place, RequestEditor, RequestEdits, ResponseEditor, Template};
use http1::{
    Body, BodyReader, ClientSide, Forward, Limits, Method, RequestParser, ResponseLimits, ResponseParser,
    Version, cookies,
};
use route::{ClientHello, Conditions, HostPattern, Path, PathPattern, Request, Route, Table};
use vrrp::packet::{Advert, ChecksumForm, Decoded, Endpoints, Protection, encode};
use vrrp::{AdvertInterval, Priority, VirtualRouterId};

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";
const BROWSER: &[u8] = b"GET /assets/app.css?v=17 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
Accept: text/css,*/*;q=0.1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: style\r\n\
Referer: http://www.example.com/\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=all\r\nIf-None-Match: \"64a1f0c2-1f4\"\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 20:56:24 GMT\r\n\
Content-Type: text/plain\r\nContent-Length: 100\r\nConnection: keep-alive\r\nETag: \"64a1f0c2-64\"\r\n\r\n";

/// A name, and what makes the thing to do again and again.
type Work = (String, Box<dyn Fn() -> Box<dyn FnMut()>>);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let works = works();
    let Some(name) = arguments.next() else {
        works.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let times: u32 = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let Some((_, make)) = works.iter().find(|(known, _)| *known == name) else {
        eprintln!("tandem-micro: nothing is called {name}");
        std::process::exit(2);
    };
    let mut work = make();
    (0..times).for_each(|_| work());
}

fn works() -> Vec<Work> {
    let mut works: Vec<Work> = Vec::new();
    let mut add = |name: &str, make: Box<dyn Fn() -> Box<dyn FnMut()>>| works.push((name.to_owned(), make));
    add("http1/request_parse/small", Box::new(|| request_parse(SMALL)));
    add("http1/request_parse/browser", Box::new(|| request_parse(BROWSER)));
    add("http1/request_write/small", Box::new(|| request_write(SMALL)));
    add("http1/request_write/browser", Box::new(|| request_write(BROWSER)));
    add("http1/response_parse", Box::new(response_parse));
    add("http1/response_write", Box::new(response_write));
    add("http1/body_chunks", Box::new(body_chunks));
    for algorithm in [Algorithm::Roundrobin, Algorithm::Leastconn, Algorithm::Source, Algorithm::Random] {
        for servers in [10, 100, 1000] {
            add(&format!("balance/{algorithm}/{servers}"), Box::new(move || pick(algorithm, servers)));
        }
    }
    add("balance/key", Box::new(key));
    add("balance/sticky_read", Box::new(sticky_read));
    add("balance/sticky_write", Box::new(sticky_write));
    add("http1/cookies", Box::new(find_cookie));
    add("edit/request", Box::new(edit_request));
    add("edit/response", Box::new(edit_response));
    for hosts in [10, 10_000] {
        add(&format!("route/hosts/{hosts}"), Box::new(move || route(hosts, 1)));
    }
    for paths in [10, 1000] {
        add(&format!("route/paths/{paths}"), Box::new(move || route(1, paths)));
    }
    add("route/client_hello", Box::new(client_hello));
    for version in [proxy_protocol::Version::V1, proxy_protocol::Version::V2] {
        let name = format!("{version:?}").to_lowercase();
        add(&format!("proxy_protocol/decode_{name}"), Box::new(move || proxy_decode(version)));
        add(&format!("proxy_protocol/encode_{name}"), Box::new(move || proxy_encode(version)));
    }
    add("vrrp/decode", Box::new(vrrp_decode));
    add("vrrp/encode", Box::new(vrrp_encode));
    works
}

const LIMITS: Limits = Limits { request_line: 8192, head: 16384, fields: 100 };
const RESPONSE_LIMITS: ResponseLimits = ResponseLimits { head: 16384, fields: 100 };

fn request_parse(bytes: &'static [u8]) -> Box<dyn FnMut()> {
    let mut parser = RequestParser::new(LIMITS);
    Box::new(move || drop(black_box(parser.parse(black_box(bytes)))))
}

fn request_write(bytes: &'static [u8]) -> Box<dyn FnMut()> {
    let head = RequestParser::new(LIMITS).parse(bytes).expect("it is right").expect("it is whole");
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        let forward = Forward { client: "192.0.2.17", ..Forward::new("app") };
        out.clear();
        head.write(black_box(bytes), &forward, &mut out);
        black_box(&out);
    })
}

fn response_parse() -> Box<dyn FnMut()> {
    let mut parser = ResponseParser::new(RESPONSE_LIMITS);
    Box::new(move || drop(black_box(parser.parse(black_box(RESPONSE), Method::Get))))
}

fn response_write() -> Box<dyn FnMut()> {
    let head = ResponseParser::new(RESPONSE_LIMITS).parse(RESPONSE, Method::Get);
    let head = head.expect("it is right").expect("it is whole");
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        let side = ClientSide { version: Version::Http11, persistent: true, chunked: false, upgrade: false };
        out.clear();
        head.write(black_box(RESPONSE), &side, &mut out);
        black_box(&out);
    })
}

/// Eight chunks of 1 KiB in one step.
fn body_chunks() -> Box<dyn FnMut()> {
    let mut bytes =
        [format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(8), "0\r\n\r\n".to_owned()].concat().into_bytes();
    Box::new(move || {
        let step = BodyReader::new(Body::Chunked).step(black_box(&mut bytes));
        assert!(step.is_ok_and(|step| step.done));
    })
}

/// A request from its choice to its end.
fn pick(algorithm: Algorithm, servers: u16) -> Box<dyn FnMut()> {
    let server = |number: u16| ServerView {
        name: format!("server{number}").into(),
        address: Some(([127, 0, 0, 1], 80).into()),
        weight: Weight::new(1 + number % 4).unwrap_or_default(),
        throttle: Throttle::NONE,
        admin: AdminState::Ready,
        health: Health::Up,
        backup: None,
        stands_by: false,
    };
    let view = BackendView::new(algorithm, (0..servers).map(server).collect());
    let mut balancer = Balancer::new(Arc::new(view), 0);
    let mut client = 0_u32;
    Box::new(move || {
        client = client.wrapping_add(0x9e37_79b9);
        let address = IpAddr::V4(Ipv4Addr::from_bits(client));
        if let Some(id) = balancer.pick(Key::Client(address), &Tried::default(), Tick::default()) {
            balancer.begin(id);
            balancer.succeeded(id);
            balancer.end(black_box(id));
        }
    })
}

/// What a server is chosen by with `balance: hash`, of a host's length.
fn key() -> Box<dyn FnMut()> {
    Box::new(|| {
        black_box(Key::of(black_box(b"www.example.com").iter().copied()));
    })
}

/// Cookie values with dates and their signature, for ten servers.
fn sticky() -> (Sticky, Seconds) {
    let names: Vec<String> = (0..10).map(|number| format!("server{number}")).collect();
    let limits = StickyLimits { idle: Some(3600), life: Some(86400) };
    (
        Sticky::new(b"a secret of both nodes", "app", names.iter().map(String::as_str), limits),
        Seconds(1_800_000_000),
    )
}

fn sticky_read() -> Box<dyn FnMut()> {
    let (sticky, now) = sticky();
    let mut value = Vec::new();
    sticky.write(7, Belongs::Nowhere, now, &mut value);
    Box::new(move || {
        let belongs = sticky.read(std::iter::once(black_box(&value[..])), now);
        assert!(matches!(belongs, Belongs::To(session) if session.place == 7));
    })
}

fn sticky_write() -> Box<dyn FnMut()> {
    let (sticky, now) = sticky();
    let mut value = Vec::with_capacity(128);
    Box::new(move || {
        value.clear();
        black_box(sticky.write(black_box(7), Belongs::Nowhere, now, &mut value));
    })
}

/// A cookie among a browser's fields.
fn find_cookie() -> Box<dyn FnMut()> {
    Box::new(|| assert_eq!(cookies(black_box(BROWSER), b"consent").next(), Some(&b"all"[..])))
}

fn field(name: &str, value: &str) -> (edit::FieldName, Template) {
    let value = Template::parse(value, Place::Field, None).expect("it is right");
    (edit::FieldName::parse(name).expect("it is right"), value)
}

/// A prefix less, a field less, and two more of which one has placeholders.
fn edit_request() -> Box<dyn FnMut()> {
    let edits = RequestEdits {
        fields: FieldEdits {
            remove: vec![edit::FieldNames::parse("Referer").expect("it is right")],
            set: vec![field("X-Site", "main"), field("X-Client", "{client.ip}:{client.port}")],
            ..FieldEdits::default()
        },
        host: None,
        path: PathEdits {
            strip_prefix: Some(route::PathPrefix::parse("/assets").expect("it is right")),
            ..PathEdits::default()
        },
    };
    let editor = RequestEditor::new([&edits]);
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        let context =
            Context { client_ip: "192.0.2.17", client_port: "50000", ..Context::of(black_box(BROWSER)) };
        assert!(editor.apply(&context, &mut out).is_ok());
        black_box(&out);
    })
}

/// A field less, and one more.
fn edit_response() -> Box<dyn FnMut()> {
    let edits = FieldEdits {
        remove: vec![edit::FieldNames::parse("Server").expect("it is right")],
        set: vec![field("Strict-Transport-Security", "max-age=31536000")],
        ..FieldEdits::default()
    };
    let editor = ResponseEditor::new([&edits]);
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        assert!(editor.apply(black_box(RESPONSE), &Context::of(BROWSER), &mut out).is_ok());
        black_box(&out);
    })
}

fn introduction() -> proxy_protocol::Header {
    proxy_protocol::Header::Proxied {
        source: ([192, 0, 2, 17], 50000).into(),
        destination: ([192, 0, 2, 80], 443).into(),
    }
}

fn proxy_encode(version: proxy_protocol::Version) -> Box<dyn FnMut()> {
    let mut out = Vec::with_capacity(256);
    Box::new(move || {
        out.clear();
        black_box(introduction()).encode(version, &mut out);
        black_box(&out);
    })
}

fn proxy_decode(version: proxy_protocol::Version) -> Box<dyn FnMut()> {
    let mut bytes = Vec::new();
    introduction().encode(version, &mut bytes);
    Box::new(move || assert!(matches!(proxy_protocol::decode(black_box(&bytes)), Ok(Some(_)))))
}

/// The choice of one of so many routes, each for a host and a path.
fn route(hosts: usize, paths: usize) -> Box<dyn FnMut()> {
    let route = |number: usize| Route {
        when: Conditions {
            host: HostPattern::parse(&format!("www.site{}.example", number / paths)).into_iter().collect(),
            path: PathPattern::parse(&format!("/service{}/*", number % paths)).into_iter().collect(),
            ..Conditions::default()
        },
        not: Vec::new(),
    };
    let routes: Vec<Route> = (0..hosts * paths).map(route).collect();
    let table = Table::new(&routes).expect("it is not too large");
    let (host, path) =
        (format!("www.site{}.example", hosts / 2), format!("/service{}/index.html", paths / 2));
    Box::new(move || {
        let mut scratch = Vec::new();
        let path = Path::read(black_box(path.as_bytes()), &mut scratch).expect("it is plain");
        let host = Some(black_box(host.as_bytes()));
        let request = Request { host, path, method: b"GET", ..Request::from_source([192, 0, 2, 1].into()) };
        assert!(black_box(table.choose(&request)).is_some());
    })
}

fn client_hello() -> Box<dyn FnMut()> {
    let bytes = include_bytes!("../../fuzz/corpus/client_hello/one-record");
    Box::new(move || {
        black_box(ClientHello::read(black_box(bytes)));
    })
}

fn endpoints() -> Endpoints {
    Endpoints { source: [192, 0, 2, 11].into(), destination: [224, 0, 0, 18].into() }
}

fn advert() -> Advert {
    let version = vrrp::Version::V3;
    Advert {
        version,
        virtual_router_id: VirtualRouterId::new(51).expect("it is in range"),
        priority: Priority::DEFAULT,
        interval: AdvertInterval::new(version, Duration::from_secs(1)).expect("it is in range"),
        addresses: vec![[192, 0, 2, 100].into(), [192, 0, 2, 101].into()],
    }
}

fn vrrp_encode() -> Box<dyn FnMut()> {
    let advert = advert();
    Box::new(move || {
        drop(black_box(encode(
            black_box(&advert),
            endpoints(),
            ChecksumForm::PseudoHeader,
            Protection::None,
        )));
    })
}

fn vrrp_decode() -> Box<dyn FnMut()> {
    let packet = encode(&advert(), endpoints(), ChecksumForm::PseudoHeader, Protection::None);
    let packet = packet.expect("it can be sent");
    Box::new(move || drop(black_box(Decoded::read(black_box(&packet), endpoints()))))
}
