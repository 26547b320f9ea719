//! The page in a real browser: whether its policy admits its own script and style sheet, and whether it refreshes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use daemon::page::CONTENT_SECURITY_POLICY;
use wire::Info;

use super::{HealthdLink, View, render};
use crate::view::sample;

/// Serves the page for ever; its generation is the number of the request.
fn serve(listener: TcpListener) {
    for (generation, stream) in (1..).zip(listener.incoming()) {
        let info = Info { generation, ..sample::info() };
        let html = render(&View {
            info: &info,
            rows: &sample::rows(),
            routes: &sample::routes(),
            certificates: &sample::certificates(),
            healthd: HealthdLink::Connected,
            now: 1_790_000_000,
        });
        // A browser that goes away in between is no concern of this test.
        _ = stream.and_then(|stream| answer(stream, &html));
    }
}

fn answer(mut stream: TcpStream, html: &str) -> std::io::Result<()> {
    let mut head = [0; 4096];
    _ = stream.read(&mut head)?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Content-Security-Policy: {CONTENT_SECURITY_POLICY}\r\nConnection: close\r\n\r\n{html}",
        html.len()
    )
}

#[test]
fn the_page_refreshes_itself_under_its_own_policy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(|| serve(listener));
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args(["60", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--enable-logging=stderr", "--virtual-time-budget=10000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", &url])
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(dom.contains(">nginx1<"), "{dom}\n{log}");
    assert!(!log.contains("Content Security Policy"), "{log}");
    assert!(!dom.contains("generation <b>1</b>"), "the page was not refreshed: {log}");
    assert!(dom.contains("generation <b>"), "{dom}");
}
