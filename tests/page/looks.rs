//! How the pages look: at every width, in light and dark, in every state that a site can be in.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use testkit::{
    Authority, CertificateKey, Network, PATIENCE, Stack, VrrpNode, get, is_root, needs, skip, text_command,
    wait_until,
};

use crate::browser::Browser;

/// A large window, small ones, and a telephone.
const WIDTHS: [u32; 4] = [1600, 1000, 900, 390];

impl Browser {
    /// What the page says first: its class, and its text, which is also the window's title.
    async fn headline(&self) -> (String, String) {
        let said =
            self.run("const h = document.querySelector('h1'); return [h.className, h.textContent]").await;
        let [class, text] = [0, 1].map(|at| said[at].as_str().unwrap_or_default().to_owned());
        (class, text)
    }

    /// Waits until the page says something first, in that tone.
    async fn wait_for_headline(&self, tone: &str, words: &str) {
        let wait = async {
            loop {
                let (class, text) = self.headline().await;
                if class == tone && text.contains(words) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{tone} {words:?} was not said, but {:?}", self.headline().await);
        }
        let title = self.run("return document.title").await;
        assert!(title.as_str().is_some_and(|title| title.contains(words)), "{title}");
    }

    /// Looks at the page at every width, in light and in dark.
    async fn inspect(&self, state: &str) {
        for (width, dark) in WIDTHS.iter().flat_map(|width| [(*width, false), (*width, true)]) {
            self.resize(width, 900, dark).await;
            let wrong = self.run(include_str!("looks.js")).await;
            self.photograph(&format!("{state}-{width}-{}", if dark { "dark" } else { "light" }), width, dark)
                .await;
            assert_eq!(wrong, json!([]), "{state} at {width}, dark: {dark}");
        }
    }

    async fn show(&self, address: SocketAddr) {
        self.goto(&format!("http://{address}/")).await;
    }
}

#[tokio::test]
async fn the_pages_of_a_site_look_well_in_every_state() {
    needs!("chromium", "chromedriver");
    let mut stack = Stack::builder().backend("sticky: { cookie: SRV, key: 0123456789abcdef }").start();
    let browser = Browser::blank(json!({})).await;
    let (lbd, healthd) = (stack.config.admin, stack.config.healthd_admin);
    let both = async |state: &str, of_lbd: (&str, &str), of_healthd: (&str, &str)| {
        for (address, daemon, (tone, words)) in [(lbd, "lbd", of_lbd), (healthd, "healthd", of_healthd)] {
            browser.show(address).await;
            browser.wait_for_headline(tone, words).await;
            browser.inspect(&format!("{daemon}-{state}")).await;
        }
    };
    for path in ["/", "/missing", "/"] {
        stack.get(path);
    }
    both("well", ("good", "3 of 3 servers usable"), ("good", "no server of 3 is down")).await;

    stack.tandemctl_ok(&["drain", "app/s1"]);
    both("draining", ("paused", "1 in drain"), ("paused", "no server of 3 is down, 1 in drain or maint"))
        .await;
    stack.tandemctl_ok(&["ready", "app/s1"]);

    stack.nginx[1].stop();
    both("one-down", ("warning", "1 of 3 servers DOWN"), ("warning", "1 of 3 servers DOWN")).await;
    browser.show(lbd).await;
    browser.resize(390, 900, false).await;
    telephone_begins_with(&browser, "s2").await;

    stack.healthd.kill();
    browser.show(lbd).await;
    browser.wait_for_headline("warning", "1 of 3 servers DOWN, on verdicts").await;
    browser.inspect("lbd-healthd-dead").await;
    stack.healthd.start();

    for server in [0, 2] {
        stack.nginx[server].stop();
    }
    both("all-down", ("bad", "no usable server, clients get 503"), ("bad", "all 3 servers DOWN")).await;

    stack.config.server("nowhere", "nowhere.invalid:80");
    stack.reload();
    stack.wait_for_status("nowhere", "DOWN");
    both("no-address", ("bad", "no usable server"), ("bad", "DOWN")).await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn certificates_look_well_whatever_is_left_to_them() {
    needs!("chromium", "chromedriver");
    let authority = Authority::new();
    let names: Vec<String> = (0..9)
        .map(|n| format!("a-host-with-a-long-name-{n}.of-a-department.of-a-large-organisation.example"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let date = Command::new("date").args(["-u", "-d", "6 days", "+%Y %m %d"]).output().unwrap().stdout;
    let date = String::from_utf8(date).unwrap();
    let date: Vec<u16> = date.split_whitespace().map(|part| part.parse().unwrap()).collect();
    let soon = (i32::from(date[0]), u8::try_from(date[1]).unwrap(), u8::try_from(date[2]).unwrap());
    let files = [("good", None), ("soon", Some(soon)), ("over", Some((2020, 1, 1)))].map(|(name, end)| {
        let file = format!("{name}-with-a-name-that-does-not-end-before-it-is-rather-long.pem");
        let names = if name == "good" { &["app.example"][..] } else { &names[..] };
        format!("\"{}\"", authority.issue_until(&file, names, CertificateKey::Ecdsa, end).display())
    });
    let mut stack = Stack::builder().servers(1).unchecked().start();
    let browser = Browser::blank(json!({})).await;
    for (number, (tone, status)) in
        [("good", "days left"), ("warning", "5 days left"), ("bad", "expired")].into_iter().enumerate()
    {
        stack.config.tls = format!("{{ certificates: [{}] }}", files[..=number].join(", "));
        stack.write_config();
        assert!(stack.command("reload").contains("reloaded"));
        browser.show(stack.config.admin).await;
        let first = browser.run("const row = document.querySelector('.certificates tbody tr'); return [row.dataset.tone, row.innerText]").await;
        assert_eq!(first[0], tone, "{first}");
        assert!(first[1].as_str().is_some_and(|text| text.contains(status)), "{status}: {first}");
        let banner = browser.number("return document.querySelectorAll('main > .banner.bad').length").await;
        assert_eq!(banner, i64::from(tone == "bad"));
        browser.inspect(&format!("lbd-certificates-{tone}")).await;
    }
    browser.client.clone().close().await.unwrap();
}

/// What is DOWN comes first, with its reason; figures of the others are folded until they are asked for.
async fn telephone_begins_with(browser: &Browser, server: &str) {
    let first =
        "const rows = [...document.querySelectorAll('tr[data-tone]')].filter(row => row.checkVisibility());
        rows.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top);
        return rows[0].innerText";
    let first = browser.run(first).await;
    let first = first.as_str().unwrap_or_default();
    assert!(first.starts_with(server) && first.contains("Connection refused"), "{first:?} comes first");
    let shown = "return [...document.querySelectorAll('td[data-label=Traffic]')].filter(cell => cell.checkVisibility()).length";
    assert_eq!(browser.number(shown).await, 0, "the rest is folded");
    browser.run("document.querySelector('label[for=all]').click()").await;
    assert!(browser.number(shown).await >= 3, "and unfolds");
    let wrong = browser.run(include_str!("looks.js")).await;
    assert_eq!(wrong, json!([]), "unfolded");
}

/// Shows a page that only another network can reach.
fn show(html: Arc<Mutex<String>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), html) = (stream, html.lock().unwrap().clone()) else { continue };
            _ = stream.read(&mut [0; 4096]);
            let head = format!("Content-Type: text/html; charset=utf-8\r\nContent-Length: {}", html.len());
            _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\nConnection: close\r\n\r\n{html}");
        }
    });
    address
}

#[tokio::test]
async fn the_page_of_a_router_looks_well_and_does_not_hide_a_second_master() {
    needs!("chromium", "chromedriver");
    if !is_root() {
        skip!("namespaces need root");
    }
    let network = Network::new(24);
    // Routers that speak different versions believe nothing of each other.
    let (good, failing) = ("interface: eth0", "gateway: 10.9.0.250");
    let lines = |version: u8, priority: u8, tracker: &str| {
        format!(
            "virtual_router_id: 51\nversion: {version}\npriority: {priority}\nvirtual_addresses: [10.9.0.100/24]\n\
             advert_interval: 1s\nprobe: off\ntrack: [{{ {tracker}, weight: -10 }}]"
        )
    };
    let first = VrrpNode::start(network.host("lb1", Ipv4Addr::new(10, 9, 0, 1)), &lines(3, 200, good));
    first.wait_for_state("master");
    let page = |node: &VrrpNode| {
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, 8407).into();
        node.host.inside(|| get(address, "/").text())
    };
    let html = Arc::new(Mutex::new(page(&first)));
    let browser = Browser::blank(json!({})).await;
    browser.show(show(html.clone())).await;
    browser.wait_for_headline("good", "web is MASTER").await;
    browser.inspect("vrrpd-well").await;

    first.configure(&lines(3, 200, failing));
    text_command(&first.vrrpd.socket(), "reload");
    wait_until("the page tells of the tracker", || {
        let told = page(&first);
        let found = told.contains("web is MASTER, but tracker");
        *html.lock().unwrap() = told;
        found
    });
    browser.wait_for_headline("warning", "web is MASTER, but tracker").await;
    browser.inspect("vrrpd-tracker-fails").await;

    let second = VrrpNode::start(network.host("lb2", Ipv4Addr::new(10, 9, 0, 2)), &lines(2, 100, failing));
    second.wait_for_state("master");
    for (node, other) in [(&first, Ipv4Addr::new(10, 9, 0, 2)), (&second, Ipv4Addr::new(10, 9, 0, 1))] {
        let words =
            format!("web is MASTER, and so is {}, whose adverts are not believed", IpAddr::from(other));
        wait_until("the page tells of the other master", || {
            let told = page(node);
            let found = told.contains(&words);
            *html.lock().unwrap() = told;
            found
        });
        browser.wait_for_headline("bad", &words).await;
        browser.inspect(&format!("vrrpd-two-masters-{}", node.host.name())).await;
    }

    let mut first = first;
    first.host.run("ip", &["link", "set", "eth0", "down"]);
    first.wait_for_state("fault");
    *html.lock().unwrap() = page(&first);
    browser.wait_for_headline("bad", "web is FAULT").await;
    browser.inspect("vrrpd-fault").await;
    first.vrrpd.stop();
    browser.client.clone().close().await.unwrap();
}
