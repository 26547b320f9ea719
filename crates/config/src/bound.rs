//! Where a file has an address to listen on: for what only the system can say about it.

use std::net::SocketAddr;
use std::path::Path;

use crate::read::Report;
use crate::yaml::{Kind, Mark, Node};
use crate::{file, scalar};

/// The line and column of an address to listen on in a configuration file of either kind; none if that has it nowhere.
pub fn bound_at(file: &Path, address: SocketAddr) -> Option<(usize, usize)> {
    let (text, _) = file::text(file).ok()?;
    let tree = file::tree(&text, &Report::new("", None))?;
    let Mark { line, column } = find(&tree, false, address)?;
    Some((line, column))
}

/// Where it stands as a value of `bind`, if this is one, or below.
fn find(node: &Node, is_bind: bool, address: SocketAddr) -> Option<Mark> {
    match &node.kind {
        Kind::Scalar(text) => {
            let is_it = is_bind && scalar::listen_address(text).is_ok_and(|found| found == address);
            is_it.then_some(node.at)
        }
        Kind::List(items) => items.iter().find_map(|item| find(item, is_bind, address)),
        Kind::Map(entries) => {
            let is_bind = |key: &str| key == "bind" || is_bind && key == "address";
            entries.iter().find_map(|entry| find(&entry.value, is_bind(&entry.key), address))
        }
        Kind::Null | Kind::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn addresses_are_found_where_something_listens() {
        let text = "
frontends:
  web: { bind: [\"[::]:80\", 0.0.0.0:80, { address: 0.0.0.0:443 }], backend: b }
backends: { b: { servers: { s: 127.0.0.1:8404 } } }
admin: { bind: 127.0.0.1:8404 }
";
        let tree = yaml::tree(text, &Report::new("", None)).unwrap();
        let found =
            |address: &str| find(&tree, false, address.parse().unwrap()).map(|mark| (mark.line, mark.column));
        assert_eq!(found("[::]:80"), Some((3, 17)));
        assert_eq!(found("0.0.0.0:80"), Some((3, 28)));
        assert_eq!(found("0.0.0.0:443"), Some((3, 51)));
        assert_eq!(found("127.0.0.1:8404"), Some((5, 16)));
        assert_eq!(found("127.0.0.1:80"), None);
    }
}
