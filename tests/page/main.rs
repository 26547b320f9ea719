//! What people see in a browser: the pages of the daemons, a site that keeps them with one server, and one by HTTPS.

mod browser;
mod looks;

use browser::Browser;
use testkit::{Authority, CertificateKey, EchoServer, SERVER_PORT, Stack, needs, wait_until};

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
async fn the_page_fits_a_telephone() {
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
        browser.goto(&site).await;
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
    let counted = |cookie: &str| {
        let series = format!("tandem_backend_sticky_requests_total{{proxy=\"app\",cookie=\"{cookie}\"}}");
        stack.metric(&series).unwrap_or_default()
    };
    wait_until("all requests are counted", || counted("dead") >= 1.0 && counted("followed") >= 13.0);
    assert!(counted("absent") >= 1.0);
    browser.goto(&format!("http://{}/", stack.config.admin)).await;
    let text = browser.text().await;
    assert!(text.contains("sticky: ") && text.contains(" followed, 0 renewed, "), "{text}");
}

#[tokio::test]
async fn a_browser_that_comes_by_tls_speaks_http_2() {
    needs!("chromedriver", "chromium", "openssl");
    let authority = Authority::new();
    let file = authority.issue("app.pem", &["app.example"], CertificateKey::Ecdsa);
    let tls = format!("{{ certificates: [\"{}\"] }}", file.display());
    let stack = Stack::builder().unchecked().config(|config, _| config.tls = tls).start();
    let browser = Browser::trusting(&file, stack.web()).await;
    browser.goto("https://app.example/").await;
    let text = browser.text().await;
    assert!(text.contains("NGINX Instance"), "{text}");
    let protocol = "return performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(browser.run(protocol).await, "h2");
    let many =
        "return Promise.all([...Array(50).keys()].map(n => fetch('/?' + n).then(answer => answer.text())))
        .then(texts => texts.filter(text => text.includes('NGINX Instance')).length)";
    assert_eq!(browser.run(many).await, 50);
    wait_until("they are in the log", || {
        let log = stack.lbd.stdout();
        (0..50).all(|n| log.contains(&format!("\"GET /?{n} HTTP/2.0\""))) && log.contains(" web~ app/")
    });
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_browsers_websocket_is_a_stream() {
    needs!("chromedriver", "chromium", "openssl");
    let authority = Authority::new();
    let file = authority.issue("app.pem", &["app.example"], CertificateKey::Ecdsa);
    let stack = Stack::builder().servers(0).unchecked().config(|config, addresses| {
        config.tls = format!("{{ certificates: [\"{}\"] }}", file.display());
        config.frontend = "routes: [ { path: /, respond: { status: 200, body: here } } ]".to_owned();
        config.server("ws", addresses.socket(100, SERVER_PORT));
    });
    let stack = stack.start();
    let _server = EchoServer::start(stack.addresses.socket(100, SERVER_PORT));
    let browser = Browser::trusting(&file, stack.web()).await;
    browser.goto("https://app.example/").await;
    let echo = "return new Promise(done => {
        const socket = new WebSocket('wss://app.example/echo');
        socket.onopen = () => socket.send('x'.repeat(100000));
        socket.onmessage = message => { done(message.data.length); socket.close(); };
        socket.onerror = () => done('no socket');
    })";
    assert_eq!(browser.run(echo).await, 100_000);
    wait_until("it is in the log", || {
        stack.lbd.stdout().lines().any(|line| line.contains("/echo HTTP/2.0\"") && line.contains(" 101 "))
    });
    browser.client.clone().close().await.unwrap();
}
