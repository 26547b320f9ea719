//! Why an address cannot be listened on, in words for whoever has written it into the file.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

/// Whether an interface of this machine has an address now.
pub fn is_ours(ip: IpAddr) -> bool {
    let bound = UdpSocket::bind((ip, 0));
    !bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// What the system has refused: where the file has the address, what it is for, why it cannot be had, and what to do.
pub fn refused(file: &Path, purpose: &str, address: SocketAddr, error: &io::Error) -> String {
    let place = config::bound_at(file, address);
    let place =
        place.map_or_else(String::new, |(line, column)| format!("{}:{line}:{column}: ", file.display()));
    format!("{place}{purpose}: cannot listen on {address}: {}", reason(address, error))
}

fn reason(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrNotAvailable => format!(
            "no interface of this machine has the address {}; give one that \"ip address\" shows, or {} for all",
            address.ip(),
            if address.is_ipv4() { "0.0.0.0" } else { "[::]" }
        ),
        ErrorKind::AddrInUse => match holder(address) {
            Some(holder) => format!("{holder} listens there already"),
            None => "another program listens there already; \"ss -ltnp\", as root, says which".to_owned(),
        },
        ErrorKind::PermissionDenied if address.port() < 1024 => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Who listens on an address, as far as this process may see it.
fn holder(address: SocketAddr) -> Option<String> {
    let sockets: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/net/{table}")).ok())
        .flat_map(|table| table.lines().filter_map(|line| listener(line, address)).collect::<Vec<_>>())
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.into_iter().find_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let has_it = |descriptor: std::fs::DirEntry| {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            sockets.iter().any(|socket| target.as_os_str() == socket.as_str())
        };
        let mut descriptors = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        descriptors.any(has_it).then(|| {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} (process {id})", name.trim())
        })
    })
}

/// The socket of a line of the kernel's table, if it listens where nobody else may then listen on this address.
fn listener(line: &str, wanted: SocketAddr) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace();
    let listening = kernel_address(words.nth(1)?)?;
    let (state, inode) = (words.nth(1)?, words.nth(5)?);
    let same_ip =
        listening.ip() == wanted.ip() || listening.ip().is_unspecified() || wanted.ip().is_unspecified();
    (state == LISTEN && listening.port() == wanted.port() && same_ip).then(|| format!("socket:[{inode}]"))
}

/// An address as the kernel writes it: words of 32 bits in this machine's order, and a port (proc_pid_net(5)).
pub fn kernel_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (part, bytes) in bytes.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(part * 8)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_holds_an_address_is_found() {
        let me = format!("(process {})", std::process::id());
        for (bind, wanted) in
            [("127.0.0.1:0", None), ("127.0.0.1:0", Some("0.0.0.0")), ("0.0.0.0:0", Some("127.0.0.1"))]
        {
            let listener = TcpListener::bind(bind).unwrap();
            let mut address = listener.local_addr().unwrap();
            if let Some(ip) = wanted {
                address.set_ip(ip.parse().unwrap());
            }
            let told = reason(address, &ErrorKind::AddrInUse.into());
            assert!(told.contains(&me) && told.ends_with("listens there already"), "{told}");
            drop(listener);
            assert_eq!(holder(address), None);
        }
    }

    #[test]
    fn an_address_of_another_machine_is_explained() {
        let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let error = TcpListener::bind(address).unwrap_err();
        let told = reason(address, &error);
        assert!(told.starts_with("no interface of this machine has the address 192.0.2.1;"), "{told}");
    }

    #[test]
    fn addresses_of_the_kernel() {
        let lines = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let socket = |wanted: &str| listener(lines, wanted.parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!(socket("127.0.0.1:8080").as_deref(), Some("socket:[4711]"));
            assert_eq!(socket("127.0.0.2:8080"), None);
            assert_eq!(socket("127.0.0.1:8081"), None);
        }
    }
}
