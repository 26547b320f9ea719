//! curl, and what programs print.

use std::net::SocketAddr;
use std::process::Command;

use crate::authority::Authority;

/// curl that asks somebody by HTTP/2, by prior knowledge.
pub fn curl_http2(address: SocketAddr, path: &str) -> Command {
    let mut command = curl(&format!("http://{address}{path}"));
    command.arg("--http2-prior-knowledge");
    command
}

/// curl that asks app.example, of which it knows the authority and where it is.
pub fn curl_secured(authority: &Authority, address: SocketAddr, path: &str) -> Command {
    let mut command = curl(&format!("https://app.example{path}"));
    command.arg("--cacert").arg(authority.ca_file()).args(["--connect-to", &format!("::{address}")]);
    command
}

fn curl(url: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", url]);
    command
}

/// What a program writes to its standard output.
///
/// # Panics
/// When it fails.
pub fn stdout(mut command: Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The same, which is text.
///
/// # Panics
/// When it fails, or it is none.
pub fn text(command: Command) -> String {
    String::from_utf8(stdout(command)).expect("it prints text")
}
