//! Many handshakes at once: they make each other wait, and nobody's requests.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Authority, TlsClient, client_hello, raise_descriptors, tls_config, wait_until};

use super::with_tls;

const FLOOD: u32 = 600;

/// How many have been answered.
fn answered(clients: &[TcpStream]) -> u32 {
    let answered = clients.iter().filter(|client| client.peek(&mut [0]).is_ok_and(|n| n > 0));
    answered.map(|_| 1).sum()
}

#[test]
fn a_flood_of_handshakes_holds_up_no_request() {
    raise_descriptors();
    let authority = Authority::new();
    let lbd = Arc::new(AtomicI32::new(0));
    let stopped = lbd.clone();
    // The server stops the clock when a request gets there: it is lbd's work until then that counts.
    let (stack, server) = with_tls(&authority, "")
        .config(|config, _| config.lbd = "workers: 1".to_owned())
        .start_before(move |peer| {
            loop {
                peer.read_request()?;
                match stopped.load(Ordering::SeqCst) {
                    0 => {}
                    lbd => kill(Pid::from_raw(lbd), Signal::SIGSTOP).unwrap(),
                }
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            }
        });
    let pid = Pid::from_raw(stack.lbd.pid().try_into().unwrap());
    let config = tls_config(&authority, None);
    let mut client = TlsClient::connect(stack.web(), &config);
    assert_eq!(client.get("/", "").1, "ok");
    lbd.store(pid.as_raw(), Ordering::SeqCst);

    let mut clients: Vec<_> = (0..FLOOD).map(|_| TcpStream::connect(stack.web()).unwrap()).collect();
    let accepted = "tandem_frontend_connections_total{proxy=\"web\"}";
    wait_until("all are accepted", || stack.metric(accepted).is_some_and(|count| count > f64::from(FLOOD)));
    // All of them speak, and the request comes last, before lbd looks.
    kill(pid, Signal::SIGSTOP).unwrap();
    let hello = client_hello(&config);
    for client in &mut clients {
        client.set_nonblocking(true).unwrap();
        client.write_all(&hello).unwrap();
    }
    client.write_all(b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n").unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    wait_until("the request has reached its server", || server.requests().len() == 2);
    wait_until("lbd is stopped", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        status.rsplit(") ").next().unwrap().starts_with('T')
    });
    let before = answered(&clients);
    println!("{before} handshakes of {FLOOD} went on before the request");
    assert!(2 * before < FLOOD, "{before} of {FLOOD} went before");
    lbd.store(0, Ordering::SeqCst);
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(client.response().1, "ok");
    wait_until("everybody is answered", || answered(&clients) == FLOOD);
}
