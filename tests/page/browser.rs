//! A real browser.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use testkit::{PATIENCE, Process, Stack, wait_until};

/// A headless chromium behind its driver, both gone with the test.
pub(crate) struct Browser {
    pub(crate) client: Client,
    address: SocketAddr,
    _driver: Process,
    dir: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It outlives a driver that is killed, as at the end of a test that failed. Nobody else has its directory.
        let own = self.dir.path().join("profile");
        let _ = Command::new("pkill").arg("-KILL").arg("-f").arg("--").arg(&own).status();
    }
}

impl Browser {
    pub(crate) async fn start(stack: &Stack) -> Self {
        let browser = Self::blank(json!({})).await;
        browser.goto(&format!("http://{}/", stack.config.admin)).await;
        browser
    }

    /// A browser of a telephone's width, which a window on a desktop cannot have.
    pub(crate) async fn start_narrow(stack: &Stack, width: u32) -> Self {
        let metrics = json!({ "width": width, "height": 800, "pixelRatio": 2.0, "mobile": true });
        let browser = Self::blank(json!({ "deviceMetrics": metrics })).await;
        browser.goto(&format!("http://{}/", stack.config.admin)).await;
        browser
    }

    /// One that shows nothing yet.
    pub(crate) async fn blank(device: Value) -> Self {
        Self::launch(&[], device).await
    }

    /// One that takes whoever has the key of a certificate for who he says he is, and finds all hosts at one address.
    pub(crate) async fn trusting(certificate: &Path, address: SocketAddr) -> Self {
        let hash = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform der |
            openssl dgst -sha256 -binary | base64";
        let hash = Command::new("sh").args(["-c", hash]).arg(certificate).output().unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        let arguments = [
            format!("--ignore-certificate-errors-spki-list={}", hash.trim()),
            format!("--host-resolver-rules=MAP * {address}"),
        ];
        Self::launch(&arguments, json!({})).await
    }

    async fn launch(more: &[String], device: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        let driver = Process::spawn("chromedriver", command, dir.path());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("chromedriver listens", || std::net::TcpStream::connect(address).is_ok());
        let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
        // Chromium's own sandbox does not work for root.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &profile];
        let arguments: Vec<&str> = arguments.into_iter().chain(more.iter().map(String::as_str)).collect();
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
        Self { client, address, _driver: driver, dir }
    }

    /// Loads a page. Chromium gives up what it loads where an interface of the host comes or goes, as those of other tests do.
    pub(crate) async fn goto(&self, url: &str) {
        const NOT_OURS: &str = "ERR_NETWORK_CHANGED";
        for _ in 0..20 {
            match self.client.goto(url).await {
                Err(error) if error.to_string().contains(NOT_OURS) => {}
                Err(error) => panic!("{url}: {error}"),
                Ok(()) if self.text().await.contains(NOT_OURS) => {}
                Ok(()) => return,
            }
        }
        panic!("{url}: the network changes all the time");
    }

    /// The text of the page as it stands.
    pub(crate) async fn text(&self) -> String {
        self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    /// The text of a server's row.
    pub(crate) async fn server(&self, name: &str) -> String {
        let script =
            "const headed = row => row.querySelector('th')?.firstChild?.textContent.trim() === arguments[0];
            return [...document.querySelectorAll('tr')].find(headed)?.textContent ?? '';";
        let found = self.client.execute(script, vec![json!(name)]).await.unwrap();
        found.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a server's part of the page holds a word.
    pub(crate) async fn wait_for(&self, server: &str, word: &str) {
        let wait = async {
            while !self.server(server).await.contains(word) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("the page never said {word} of {server}:\n{}", self.text().await);
        }
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    pub(crate) async fn number(&self, script: &str) -> i64 {
        self.run(script).await.as_i64().unwrap_or_else(|| panic!("{script}"))
    }

    /// A window of that size, in a light or a dark room.
    pub(crate) async fn resize(&self, width: u32, height: u32, dark: bool) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features).await;
    }

    /// What the protocol of drivers has no words for, said in Chromium's own.
    async fn devtools(&self, command: &str, params: &Value) {
        let session = self.client.session_id().await.unwrap().expect("a session");
        let body = json!({ "cmd": command, "params": params }).to_string();
        let mut driver = testkit::Client::connect(self.address);
        driver.send(format!(
            "POST /session/{session}/goog/cdp/execute HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        ));
        let response = driver.response();
        assert_eq!(response.status, 200, "{command}: {}", response.text());
    }

    /// A picture of the whole page, for people to look at; written where `TANDEM_SCREENSHOTS` says, if it does.
    pub(crate) async fn photograph(&self, name: &str, width: u32, dark: bool) {
        let Some(directory) = std::env::var_os("TANDEM_SCREENSHOTS") else { return };
        let height = self.number("return document.documentElement.scrollHeight").await;
        self.resize(width, u32::try_from(height).expect("a page's height"), dark).await;
        let picture = self.client.screenshot().await.unwrap();
        std::fs::write(Path::new(&directory).join(format!("{name}.png")), picture).unwrap();
    }
}

/// A port that was free a moment ago: chromedriver listens on 127.0.0.1 alone, and asks for a number.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
