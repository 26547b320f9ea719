//! What people see in a browser: the stats page, and a site that keeps them with one server.

use std::process::Command;
use std::time::Duration;

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use testkit::{PATIENCE, Process, Stack, needs, wait_until};

/// A headless chromium behind its driver, both gone with the test.
struct Browser {
    client: Client,
    _driver: Process,
    _dir: tempfile::TempDir,
}

impl Browser {
    async fn start(stack: &Stack) -> Self {
        Self::start_with(stack, json!({})).await
    }

    /// A browser of a telephone's width, which a window on a desktop cannot have.
    async fn start_narrow(stack: &Stack, width: u32) -> Self {
        let metrics = json!({ "width": width, "height": 800, "pixelRatio": 2.0, "mobile": true });
        Self::start_with(stack, json!({ "deviceMetrics": metrics })).await
    }

    async fn start_with(stack: &Stack, device: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        let driver = Process::spawn("chromedriver", command, dir.path());
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("chromedriver listens", || std::net::TcpStream::connect(address).is_ok());
        let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
        // Chromium's own sandbox does not work for root.
        let arguments =
            json!(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", profile]);
        let mut options = json!({ "args": arguments });
        if device != json!({}) {
            options["mobileEmulation"] = device;
        }
        let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{address}"))
            .await
            .unwrap_or_else(|error| panic!("no browser: {error}\n{}", driver.stderr()));
        client.goto(&format!("http://{}/", stack.config.admin)).await.unwrap();
        Self { client, _driver: driver, _dir: dir }
    }

    /// The text of the page as it stands.
    async fn text(&self) -> String {
        self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    /// The text of a server's row.
    async fn server(&self, name: &str) -> String {
        let script =
            "const headed = row => row.querySelector('th')?.firstChild?.textContent.trim() === arguments[0];
            return [...document.querySelectorAll('tr')].find(headed)?.textContent ?? '';";
        let found = self.client.execute(script, vec![json!(name)]).await.unwrap();
        found.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a server's part of the page holds a word.
    async fn wait_for(&self, server: &str, word: &str) {
        let wait = async {
            while !self.server(server).await.contains(word) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("the page never said {word} of {server}:\n{}", self.text().await);
        }
    }

    async fn number(&self, script: &str) -> i64 {
        self.client.execute(script, Vec::new()).await.unwrap().as_i64().unwrap_or_else(|| panic!("{script}"))
    }
}

/// A port that was free a moment ago: chromedriver listens on 127.0.0.1 alone, and asks for a number.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_page_shows_servers_and_follows_them_by_itself() {
    needs!("chromium", "chromedriver");
    let mut stack = Stack::start();
    let browser = Browser::start(&stack).await;
    let text = browser.text().await;
    for word in ["app", "web", "s1", "s2", "s3", "UP"] {
        assert!(text.contains(word), "the page leaves out {word}:\n{text}");
    }
    for server in ["s1", "s2", "s3"] {
        browser.wait_for(server, "UP").await;
    }
    // A mark that a reload of the page would wipe out.
    browser.client.execute("window.neverReloaded = 1", Vec::new()).await.unwrap();
    stack.nginx[1].stop();
    browser.wait_for("s2", "DOWN").await;
    assert!(browser.server("s1").await.contains("UP"));
    stack.nginx[1].restart();
    browser.wait_for("s2", "UP").await;
    assert_eq!(browser.number("return window.neverReloaded || 0").await, 1, "the page refreshed in place");
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn the_page_fits_a_narrow_window() {
    needs!("chromium", "chromedriver");
    let stack = Stack::start();
    let browser = Browser::start_narrow(&stack, 360).await;
    assert_eq!(
        browser.number("return window.innerWidth").await,
        360,
        "the page is laid out for a wide window"
    );
    let wide = browser.number("return document.documentElement.scrollWidth").await;
    assert!(wide <= 360, "the page is {wide} wide and has to be scrolled sideways");
    for server in ["s1", "s2", "s3"] {
        browser.wait_for(server, "UP").await;
    }
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn the_page_needs_nobody_else() {
    needs!("chromium", "chromedriver");
    let stack = Stack::start();
    let browser = Browser::start(&stack).await;
    let script = "return performance.getEntriesByType('resource')
        .filter(e => new URL(e.name).host !== location.host).length";
    assert_eq!(browser.number(script).await, 0, "assets from elsewhere");
    let script = "return [...document.querySelectorAll('[src], link[href]')]
        .map(e => new URL(e.src || e.href, location))
        .filter(url => url.protocol !== 'data:' && url.host !== location.host).length";
    assert_eq!(browser.number(script).await, 0, "references to elsewhere");
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_browser_stays_with_its_server() {
    needs!("chromedriver", "chromium");
    let mut stack = Stack::builder().backend("sticky: { cookie: SRV, key: 0123456789abcdef }").start();
    let browser = Browser::start(&stack).await;
    let site = format!("http://{}/", stack.web());
    let instance = async || {
        browser.client.goto(&site).await.unwrap();
        let text = browser.text().await;
        text.split("Instance ")
            .nth(1)
            .and_then(|rest| rest.chars().next())
            .unwrap_or_else(|| panic!("{text}"))
    };
    let home = instance().await;
    let cookie = browser.client.get_named_cookie("SRV").await.unwrap();
    assert!(cookie.http_only().unwrap_or_default() && cookie.value().len() == 16, "{cookie}");
    for _ in 0..6 {
        assert_eq!(instance().await, home);
    }
    stack.config.backend += "\nbalance: leastconn";
    stack.reload();
    for _ in 0..6 {
        browser.client.refresh().await.unwrap();
        assert_eq!(instance().await, home);
    }
    stack.tandemctl_ok(&["maint", &format!("app/s{home}")]);
    let next = instance().await;
    assert_ne!(next, home);
    assert_eq!(instance().await, next);
}
