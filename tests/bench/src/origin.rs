//! The servers behind the proxies: one nginx for all, on any number of addresses.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use testkit::{Addresses, Process, pattern, wait_until};

use crate::cpu::Processors;
use crate::load::this_program;
use crate::program;

const PORT: u16 = 8000;

/// The running servers.
#[derive(Debug)]
pub(crate) struct Origin {
    _nginx: Process,
    _echo: Process,
    /// Where connections are upgraded.
    pub(crate) echo: SocketAddr,
}

impl Origin {
    pub(crate) fn start(addresses: &Addresses, dir: &Path, processors: Processors) -> anyhow::Result<Self> {
        let files = dir.join("files");
        fs::create_dir(&files)?;
        for (name, length) in [("100", 100), ("16k", 16 << 10), ("1m", 1 << 20)] {
            fs::write(files.join(name), pattern(length, 1))?;
        }
        let (prefix, files) = (dir.display(), files.display());
        // The address behind /upload reads a body to its end before it answers, as an application does.
        let http = format!(
            "    default_type application/octet-stream;
    sendfile on; tcp_nopush on; open_file_cache max=100; open_file_cache_valid 1h;
    keepalive_timeout 1h; keepalive_requests 1000000000; client_body_buffer_size 64k;
    upstream sink {{ server unix:{prefix}/sink; keepalive 64; }}
    server {{
        listen 0.0.0.0:{PORT} backlog=4096;
        root {files};
        location = /upload {{
            proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection \"\";
        }}
    }}
    server {{ listen unix:{prefix}/sink; location / {{ return 200 \"taken\"; }} }}
"
        );
        let command = program::nginx(18_000, &http, None, dir, processors.load)?;
        let nginx = Process::spawn("origin", command, dir);
        let echo = addresses.socket(2, PORT + 1);
        let mut command = this_program(processors.load)?;
        command.args(["echo", &echo.to_string()]);
        let echo_process = Process::spawn("echo", command, dir);
        for address in [server(0), echo] {
            wait_until("the origin listens", || std::net::TcpStream::connect(address).is_ok());
        }
        Ok(Self { _nginx: nginx, _echo: echo_process, echo })
    }
}

/// The address of a server by its number: all lead to the same nginx.
pub(crate) fn server(number: usize) -> SocketAddr {
    // From 1: an address that ends in 0 is a network.
    let number = u16::try_from(number + 1).unwrap_or(u16::MAX);
    let [third, fourth] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 200, third, fourth), PORT))
}
