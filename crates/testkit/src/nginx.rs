//! Debian's nginx as a backend server.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::wait::wait_until;
use crate::{Netns, pattern};

/// A real nginx on an address of its own, with its files in a directory of its own.
///
/// It serves:
/// - `/` and everything not named here: `NGINX Instance N`;
/// - `/health`: `OK`;
/// - `/files/NAME`: files made by [`Nginx::file`], with Content-Length; `/chunked/NAME`: the same, chunked;
///   `/slow/NAME`: the same at 16 KiB a second;
/// - `/upload/NAME`: takes a `PUT` of up to 64 MiB; [`Nginx::uploaded`] has what arrived;
/// - `/headers`: the fields of the request that a proxy adds or removes, one a line;
/// - `/tls`: what was agreed in the TLS handshake, and the number of the connection and of the request on it, one a line;
/// - `/proxy`: what a PROXY header has said, and the number of the request on its connection;
/// - `/status/CODE` for 204, 304 and 500: that status.
#[derive(Debug)]
pub struct Nginx {
    instance: usize,
    address: SocketAddr,
    prefix: TempDir,
    namespace: Option<String>,
    /// Whether each connection has to begin with a PROXY header.
    introduced: bool,
    /// What it speaks TLS with, if it does.
    tls: Option<NginxTls>,
    process: Option<Process>,
}

/// What an nginx speaks TLS with.
#[derive(Clone, Debug)]
pub struct NginxTls {
    /// The file of its certificate and key.
    pub certificate: PathBuf,
    /// The file of the authority whose certificates clients have to have, if they have to.
    pub client_ca: Option<PathBuf>,
    /// The versions of TLS that it speaks.
    pub versions: &'static str,
}

impl NginxTls {
    /// With a certificate, and no questions about that of clients.
    pub fn new(certificate: PathBuf) -> Self {
        Self { certificate, client_ca: None, versions: "TLSv1.2 TLSv1.3" }
    }
}

impl Nginx {
    /// Starts instance number `instance` on an address, and waits until it accepts connections.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    pub fn start(instance: usize, address: SocketAddr) -> Self {
        let mut nginx = Self::prepare(instance, address, None);
        nginx.restart();
        nginx
    }

    /// Starts it where each connection has to begin with a PROXY header.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    pub fn start_introduced(instance: usize, address: SocketAddr) -> Self {
        let mut nginx = Self { introduced: true, ..Self::prepare(instance, address, None) };
        nginx.restart();
        nginx
    }

    /// Starts it where each connection has TLS.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    pub fn start_secured(instance: usize, address: SocketAddr, tls: NginxTls) -> Self {
        let mut nginx = Self { tls: Some(tls), ..Self::prepare(instance, address, None) };
        nginx.restart();
        nginx
    }

    /// Starts it where each connection begins with a PROXY header, and then has TLS.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    pub fn start_introduced_and_secured(instance: usize, address: SocketAddr, tls: NginxTls) -> Self {
        let plain = Self::prepare(instance, address, None);
        let mut nginx = Self { introduced: true, tls: Some(tls), ..plain };
        nginx.restart();
        nginx
    }

    /// Starts it inside a network namespace, and waits until it listens.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    pub fn start_in(namespace: &Netns, instance: usize, address: SocketAddr) -> Self {
        let mut nginx = Self::prepare(instance, address, Some(namespace.name().to_owned()));
        nginx.restart();
        nginx
    }

    fn prepare(instance: usize, address: SocketAddr, namespace: Option<String>) -> Self {
        let prefix =
            tempfile::Builder::new().prefix("tandem-nginx-").tempdir().expect("a temporary directory");
        for dir in ["files", "upload", "tmp"] {
            fs::create_dir(prefix.path().join(dir)).expect("an own directory");
        }
        Self { instance, address, prefix, namespace, introduced: false, tls: None, process: None }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its page says.
    pub fn page(&self) -> String {
        format!("NGINX Instance {}", self.instance)
    }

    /// Makes a file of `len` bytes, served under `/files/NAME`, `/chunked/NAME` and `/slow/NAME`, and returns its bytes.
    pub fn file(&self, name: &str, len: usize) -> Vec<u8> {
        let bytes = pattern(len, self.instance as u64);
        fs::write(self.files().join(name), &bytes).expect("an own file");
        bytes
    }

    /// The directory of the files under `/files/`, `/chunked/` and `/slow/`.
    pub fn files(&self) -> PathBuf {
        self.prefix.path().join("files")
    }

    /// What arrived by `PUT /upload/NAME`, if anything did.
    pub fn uploaded(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.prefix.path().join("upload").join(name)).ok()
    }

    /// The request lines that it has answered, health checks excepted.
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.prefix.path().join("access.log")).unwrap_or_default();
        log.lines().filter(|line| !line.contains(" /health ")).map(str::to_owned).collect()
    }

    /// Stops it at once (SIGTERM): idle connections are closed, new ones refused.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM);
            process.wait();
        }
    }

    /// Kills it (SIGKILL): its connections are reset, whatever was under way on them.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on its address, and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let config = self.prefix.path().join("nginx.conf");
        fs::write(&config, self.config()).expect("an own file");
        let mut command = match &self.namespace {
            Some(name) => Netns::command_in(name, "/usr/sbin/nginx"),
            None => Command::new("/usr/sbin/nginx"),
        };
        command.arg("-p").arg(self.prefix.path()).arg("-c").arg(&config).args(["-e", "stderr"]);
        let name = format!("nginx{}", self.instance);
        self.process = Some(Process::spawn(&name, command, self.prefix.path()));
        let pid_file = self.prefix.path().join("nginx.pid");
        wait_until(&format!("{name} listens on {}", self.address), || {
            let process = self.process.as_mut().expect("it was just started");
            assert!(process.exited().is_none(), "{name} ended at once: {}", process.stderr());
            // From outside a namespace its file is all there is to see; nginx writes it once it listens.
            let written =
                fs::read_to_string(&pid_file).is_ok_and(|pid| pid.trim() == process.pid().to_string());
            written && (self.namespace.is_some() || accepts(self.address))
        });
    }

    /// Stops it, and starts it on another address: what a restarted container does.
    pub fn restart_on(&mut self, address: SocketAddr) {
        self.stop();
        self.address = address;
        self.restart();
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("nginx runs").pid()
    }

    fn config(&self) -> String {
        let PathTexts { prefix, files, upload, tmp } = PathTexts::of(&self.prefix);
        let (address, page) = (self.address, self.page());
        let proxy = if self.introduced { " proxy_protocol" } else { "" };
        let (ssl, tls) = match &self.tls {
            None => ("", String::new()),
            Some(NginxTls { certificate, client_ca, versions }) => {
                let file = certificate.display();
                let clients = client_ca
                    .as_ref()
                    .map(|ca| format!("ssl_client_certificate {}; ssl_verify_client on;", ca.display()));
                let clients = clients.unwrap_or_default();
                (
                    " ssl",
                    format!(
                        "ssl_protocols {versions}; ssl_certificate {file}; ssl_certificate_key {file}; {clients}"
                    ),
                )
            }
        };
        // Root's workers would change to another user, who may not read the test's directory.
        let user = if crate::is_root() { "user root;" } else { "" };
        format!(
            r#"{user}
daemon off; master_process off; worker_processes 1;
pid {prefix}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    log_format requests '$request_method $request_uri $status';
    access_log {prefix}/access.log requests;
    client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; fastcgi_temp_path {tmp}/fastcgi;
    uwsgi_temp_path {tmp}/uwsgi; scgi_temp_path {tmp}/scgi;
    keepalive_timeout 75s; keepalive_requests 1000000;
    client_max_body_size 64m;
    default_type text/plain;
    server {{
        listen {address}{proxy}{ssl};
        {tls}
        location / {{ return 200 "{page}\n"; }}
        location = /health {{ return 200 "OK\n"; }}
        location /files/ {{ alias {files}/; }}
        # Server-side includes make the length unknown, and so the body chunked.
        location /chunked/ {{ alias {files}/; ssi on; ssi_types *; ssi_min_file_chunk 64k; }}
        location /slow/ {{ alias {files}/; limit_rate 16k; }}
        location /upload/ {{ alias {upload}/; dav_methods PUT; }}
        location = /headers {{
            return 200 "method=$request_method\nhost=$http_host\nx-forwarded-for=$http_x_forwarded_for\nx-forwarded-proto=$http_x_forwarded_proto\nconnection=$http_connection\nkeep-alive=$http_keep_alive\nte=$http_te\nproxy-connection=$http_proxy_connection\nx-hop=$http_x_hop\nx-end=$http_x_end\ncookie=$http_cookie\n";
        }}
        location = /tls {{
            return 200 "name=$ssl_server_name\nreused=$ssl_session_reused\nconnection=$connection\nrequest=$connection_requests\nclient=$ssl_client_verify\nprotocol=$ssl_protocol\nalpn=$ssl_alpn_protocol\n";
        }}
        location = /proxy {{
            return 200 "from=$proxy_protocol_addr $proxy_protocol_port\nto=$proxy_protocol_server_addr $proxy_protocol_server_port\nrequest=$connection_requests\n";
        }}
        location = /status/204 {{ return 204; }}
        location = /status/304 {{ return 304; }}
        location = /status/500 {{ return 500 "broken on purpose\n"; }}
    }}
}}
"#
        )
    }
}

struct PathTexts {
    prefix: String,
    files: String,
    upload: String,
    tmp: String,
}

impl PathTexts {
    fn of(prefix: &TempDir) -> Self {
        let text = |path: PathBuf| path.display().to_string();
        let path = prefix.path();
        Self {
            prefix: text(path.to_owned()),
            files: text(path.join("files")),
            upload: text(path.join("upload")),
            tmp: text(path.join("tmp")),
        }
    }
}

fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
