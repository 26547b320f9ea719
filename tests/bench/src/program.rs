//! How each program is run: its configuration goes into a file of its directory, and the command that reads it is bound to a
//! processor.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use testkit::Program;

use crate::cpu::pinned;

/// A line of a configuration for each server.
pub(crate) fn lines(servers: &[SocketAddr], line: impl Fn(usize, SocketAddr) -> String) -> String {
    servers.iter().enumerate().map(|(number, address)| line(number, *address) + "\n").collect()
}

/// HAProxy in the foreground.
pub(crate) fn haproxy(config: &str, dir: &Path, processor: usize) -> anyhow::Result<Command> {
    let path = dir.join("haproxy.cfg");
    fs::write(&path, config)?;
    let mut command = pinned(processor, "haproxy");
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

/// Debian's module that carries bytes, a package of its own.
pub(crate) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// nginx as one process that writes nothing but into its directory. `http` and `stream` are what stands in those sections.
pub(crate) fn nginx(
    connections: u32,
    http: &str,
    stream: Option<&str>,
    dir: &Path,
    processor: usize,
) -> anyhow::Result<Command> {
    let prefix = dir.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {prefix}/{kind};"))
        .join(" ");
    let (load, stream) = match stream {
        Some(stream) => (format!("load_module {NGINX_STREAM};\n"), format!("stream {{\n{stream}}}\n")),
        None => <(String, String)>::default(),
    };
    let config = format!(
        "{load}user root; daemon off; master_process off; pid {prefix}/nginx.pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off; {temporary}
{http}}}
{stream}"
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, config)?;
    let mut command = pinned(processor, "/usr/sbin/nginx");
    command.arg("-p").arg(dir).arg("-c").arg(&path).args(["-e", "stderr"]);
    Ok(command)
}

/// A daemon of Tandem. Those of one directory have one `lb.yaml`.
pub(crate) fn tandem(program: &Path, config: &str, dir: &Path, processor: usize) -> anyhow::Result<Command> {
    let path = dir.join("lb.yaml");
    fs::write(&path, config)?;
    let mut command = pinned(processor, program.to_str().context("a path that is no text")?);
    command.arg("--config").arg(path).arg("--run-dir").arg(dir);
    Ok(command)
}

/// The program of an earlier state of the sources, which `scripts/bench` builds.
pub(crate) fn before(daemon: Program) -> anyhow::Result<PathBuf> {
    let dir = std::env::var_os("TANDEM_BEFORE_DIR")
        .context("no earlier state to compare with: make bench BEFORE=COMMIT builds one")?;
    Ok(Path::new(&dir).join(daemon.name()))
}
