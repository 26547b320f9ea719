//! Routes and requests of any kind: a choice is the first route that fits (which the table itself asserts), one that is said to be
//! never reached is never chosen, and nothing panics. And any bytes as a ClientHello.
//!
//! A line is a part of a route or a request, by its first byte; see `Reader::line`.

use route::{
    ClientHello, Conditions, FieldPattern, HostPattern, Network, Path, PathPattern, Request, Route, Table,
};

pub(crate) fn choose(bytes: &[u8]) {
    let mut reader = Reader::default();
    for line in bytes.split(|&byte| byte == b'\n').take(200) {
        if let Some((kind, text)) = line.split_first() {
            reader.line(*kind, text);
        }
    }
    let Reader { routes, requests, .. } = reader;
    let Ok(table) = Table::new(&routes) else { return };
    let unreached = table.unreached();
    for (host, target) in requests {
        let (path, query) = match target.iter().position(|&byte| byte == b'?') {
            Some(mark) => (&target[..mark], &target[mark + 1..]),
            None => (&target[..], &b""[..]),
        };
        let mut scratch = Vec::new();
        let Ok(path) = Path::read(path, &mut scratch) else { continue };
        let request = Request {
            tls: query.is_empty(),
            host: (!host.is_empty()).then_some(&host[..]),
            method: b"GET",
            path,
            query,
            fields: b"X-A: 1\r\nx-b: c, d\r\n",
            ..Request::from_source([192, 0, 2, 1].into())
        };
        let chosen = table.choose(&request);
        assert!(!unreached.iter().any(|one| Some(one.route) == chosen), "{unreached:?} {request:?}");
    }
}

#[derive(Default)]
struct Reader {
    routes: Vec<Route>,
    requests: Vec<(Vec<u8>, Vec<u8>)>,
    in_not: bool,
}

impl Reader {
    /// `r` begins a route, `n` a mapping of its `not`; `h`, `p`, `m`, `f`, `q`, `s`, `t` are conditions; `?` is a request's host and
    /// target.
    fn line(&mut self, kind: u8, text: &[u8]) {
        if kind == b'?' {
            let space = text.iter().position(|&byte| byte == b' ').unwrap_or(text.len());
            self.requests.push((text[..space].to_vec(), text[(space + 1).min(text.len())..].to_vec()));
            return;
        }
        let Ok(text) = std::str::from_utf8(text) else { return };
        if kind == b'r' || self.routes.is_empty() {
            self.routes.push(Route::default());
            self.in_not = false;
        }
        let Some(route) = self.routes.last_mut() else { return };
        if kind == b'n' {
            route.not.push(Conditions::default());
            self.in_not = true;
        }
        let conditions = match route.not.last_mut() {
            Some(not) if self.in_not => not,
            _ => &mut route.when,
        };
        let named = || {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), vec![FieldPattern::parse(value).ok()?]))
        };
        match kind {
            b'h' => conditions.host.extend(HostPattern::parse(text)),
            b'p' => conditions.path.extend(PathPattern::parse(text)),
            b'm' => conditions.method.push(text.to_owned()),
            b'f' => conditions.header.extend(named()),
            b'q' => conditions.query.extend(named()),
            b's' => conditions.source.extend(Network::parse(text)),
            b't' => conditions.tls = Some(text.is_empty()),
            _ => {}
        }
    }
}

pub(crate) fn client_hello(bytes: &[u8]) {
    let whole = ClientHello::read(bytes);
    for len in 0..bytes.len().min(600) {
        match ClientHello::read(&bytes[..len]) {
            ClientHello::More(needed) => assert!(needed > len),
            decided => assert_eq!(decided, whole, "more bytes change nothing"),
        }
    }
}
