//! `drain`, `ready`, `maint`, `weight` and `maxconn`: an operator's wish for one server.

use std::io::Write;
use std::time::Duration;

use balance::{AdminState, Weight};
use wire::{Answer, Request, RowKind, StatRow};

use crate::failure::Failure;
use crate::node::{Connection, Node};

/// Puts a server into a state, and prints what lbd says it did. What is still with it after that time is ended, if one is given.
pub(crate) async fn set_state(
    node: &Node,
    server: &str,
    state: AdminState,
    close_after: Option<Duration>,
) -> Result<(), Failure> {
    set(node, server, Wish { state: Some(state), close_after, ..Wish::default() }).await
}

/// Ends what is with a server at once.
pub(crate) async fn shut_down(node: &Node, path: &str) -> Result<(), Failure> {
    let (backend, server) = resolve(&mut node.connect("lbd").await?, path).await?;
    tell(node, &format!("shutdown sessions server {backend}/{server}")).await
}

/// Ends one client connection.
pub(crate) async fn shut_down_session(node: &Node, id: &str) -> Result<(), Failure> {
    tell(node, &format!("shutdown session {id}")).await
}

async fn tell(node: &Node, command: &str) -> Result<(), Failure> {
    match node.text("lbd", command).await?.trim() {
        "" => Ok(()),
        refusal => Err(Failure::Refused(refusal.to_owned())),
    }
}

/// Gives a server a weight, and prints what lbd says it did.
pub(crate) async fn set_weight(node: &Node, server: &str, weight: Weight) -> Result<(), Failure> {
    set(node, server, Wish { weight: Some(weight), ..Wish::default() }).await
}

/// Limits a server's requests at once, and prints what lbd says it did.
pub(crate) async fn set_maxconn(node: &Node, server: &str, maxconn: u32) -> Result<(), Failure> {
    set(node, server, Wish { maxconn: Some(maxconn), ..Wish::default() }).await
}

/// What is to change of a server.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    state: Option<AdminState>,
    weight: Option<Weight>,
    maxconn: Option<u32>,
    close_after: Option<Duration>,
}

async fn set(node: &Node, path: &str, wish: Wish) -> Result<(), Failure> {
    let mut lbd = node.connect("lbd").await?;
    let (backend, server) = resolve(&mut lbd, path).await?;
    let Wish { state, weight, maxconn, close_after } = wish;
    let close_after_ms = close_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    match lbd.ask(Request::SetServer { backend, server, state, weight, maxconn, close_after_ms }).await? {
        Answer::Done(done) => Ok(writeln!(std::io::stdout(), "{done}")?),
        other => Err(lbd.unexpected(&other)),
    }
}

/// The backend and the server that a path names, or a name alone.
async fn resolve(lbd: &mut Connection, path: &str) -> Result<(String, String), Failure> {
    match path.split_once('/') {
        Some((backend, server)) => Ok((backend.to_owned(), server.to_owned())),
        None => find(path, &lbd.rows().await?).map_err(Failure::Refused),
    }
}

/// The backend of the only server of that name.
fn find(server: &str, rows: &[StatRow]) -> Result<(String, String), String> {
    let servers = || rows.iter().filter(|row| row.kind == RowKind::Server);
    let backends: Vec<&str> =
        servers().filter(|row| row.name == server).map(|row| row.proxy.as_str()).collect();
    match backends.as_slice() {
        [backend] => Ok(((*backend).to_owned(), server.to_owned())),
        [] => {
            let hint = match config::nearest(server, servers().map(|row| row.name.as_str())) {
                Some(near) => format!(" (did you mean `{near}`?)"),
                None => String::new(),
            };
            let known: Vec<String> = servers().map(|row| format!("{}/{}", row.proxy, row.name)).collect();
            Err(format!("no backend has a server `{server}`{hint}; there are: {}", known.join(", ")))
        }
        several => {
            let paths: Vec<String> = several.iter().map(|backend| format!("`{backend}/{server}`")).collect();
            Err(format!("several backends have a server `{server}`: say {}", paths.join(" or ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(proxy: &str, name: &str) -> StatRow {
        StatRow { kind: RowKind::Server, proxy: proxy.into(), name: name.into(), ..StatRow::default() }
    }

    #[test]
    fn a_name_alone_is_enough_where_it_is_the_only_one() {
        let rows = [row("a", "one"), row("a", "both"), row("b", "both")];
        assert_eq!(find("one", &rows), Ok(("a".into(), "one".into())));
        assert_eq!(
            find("both", &rows),
            Err("several backends have a server `both`: say `a/both` or `b/both`".into())
        );
        let unknown = find("onne", &rows).unwrap_err();
        assert_eq!(
            unknown,
            "no backend has a server `onne` (did you mean `one`?); there are: a/one, a/both, b/both"
        );
    }
}
