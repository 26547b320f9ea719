//! Any bytes as what a client sends and what servers answer, carried the way lbd does it: one request after the other on one
//! server connection, each with its response. The strict reader finds in what the server got the same requests with the
//! same bodies, in what the client got the same responses, and nothing more; however the bytes arrive.
//!
//! The first byte chooses how the bytes arrive. [`MARK`] stands between the client's bytes and the servers'.

use http1::{
    Body, BodyReader, CHUNK_END, ClientSide, LAST_CHUNK, RequestHead, RequestParser, ResponseHead,
    ResponseParser, Version, begin_chunk,
};

use super::pieces::Pieces;
use super::strict::{self, End, Request, Response};
use super::{http1_request, http1_response};

/// Two bytes that no head holds as a name or a target.
const MARK: &[u8] = b"\xfe\xff";

pub(crate) fn run(bytes: &[u8]) {
    let Some((&pieces, bytes)) = bytes.split_first() else { return };
    let mark = bytes.windows(MARK.len()).position(|window| window == MARK).unwrap_or(bytes.len());
    let (client, servers) = bytes.split_at(mark);
    let servers = servers.strip_prefix(MARK).unwrap_or_default();
    let whole = Exchange::carry(client, servers, Pieces::WHOLE);
    whole.check();
    for pieces in Pieces::others(pieces) {
        let other = Exchange::carry(client, servers, pieces);
        // Before a fault more may have gone when bytes came slowly: what did is still a part of the same.
        other.check();
        assert_eq!(other.requests.len(), whole.requests.len(), "{pieces:?}");
        if !whole.broken {
            assert_eq!(other.to_server, whole.to_server, "{pieces:?}");
            assert_eq!(other.responses, whole.responses, "{pieces:?}");
            // What had no length has a chunk for each piece.
            assert!(whole.coded || other.to_client == whole.to_client, "{pieces:?}");
        }
    }
}

/// Both sides of a proxy, and what it believes to have carried.
#[derive(Default)]
struct Exchange {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    requests: Vec<Request>,
    responses: Vec<Response>,
    methods: Vec<String>,
    switched: bool,
    /// A body without a length became chunks.
    coded: bool,
    /// A body turned out to be none.
    broken: bool,
}

/// A stream of bytes that arrive in pieces.
struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    pieces: Pieces,
}

impl<'a> Stream<'a> {
    fn new(bytes: &'a [u8], pieces: Pieces) -> Self {
        Self { bytes, at: 0, end: 0, pieces }
    }

    fn there(&self) -> &'a [u8] {
        &self.bytes[self.at..self.end]
    }

    /// Waits for more. False when there is none.
    fn fill(&mut self) -> bool {
        let end = self.pieces.after(self.end, self.bytes.len());
        std::mem::replace(&mut self.end, end) < end
    }
}

impl Exchange {
    fn carry(client: &[u8], servers: &[u8], pieces: Pieces) -> Self {
        let mut exchange = Self::default();
        let mut client = Stream::new(client, pieces);
        let mut server = Stream::new(servers, pieces);
        loop {
            let mut parser = RequestParser::new(http1_request::LIMITS);
            let head = loop {
                match parser.parse(client.there()) {
                    Ok(Some(head)) => break head,
                    Ok(None) if client.fill() => {}
                    Ok(None) | Err(_) => return exchange,
                }
            };
            if !exchange.request(&head, &mut client) || !exchange.response(&head, &mut server) {
                return exchange;
            }
        }
    }

    /// Carries a request. False when its body did not end well.
    fn request(&mut self, head: &RequestHead, client: &mut Stream<'_>) -> bool {
        let received = client.there();
        let written = http1_request::written(head, received, &http1_request::forward());
        self.to_server.extend_from_slice(&written);
        client.at += head.len;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = text(&written);
        self.methods.push(text(head.method_span.of(received)));
        self.requests.push(Request {
            method: text(head.method_span.of(received)),
            target: line.split(' ').nth(1).unwrap_or_default().to_owned(),
            host: head.host.map_or_else(|| "server".to_owned(), |host| text(host.of(received))),
            fields: Vec::new(),
            body: Vec::new(),
            complete: false,
        });
        let Some(request) = self.requests.last_mut() else { return false };
        let whole = pass(
            BodyReader::new(head.body),
            head.body,
            client,
            &mut self.to_server,
            &mut request.body,
            false,
        );
        request.complete = whole == Ok(true);
        self.broken |= whole.is_err();
        request.complete
    }

    /// Carries the responses to a request. False when the client's connection takes no other request.
    fn response(&mut self, request: &RequestHead, server: &mut Stream<'_>) -> bool {
        let mut parser = ResponseParser::new(http1_response::LIMITS);
        loop {
            let head = match parser.parse(server.there(), request.method) {
                Ok(Some(head)) => head,
                Ok(None) if server.fill() => continue,
                Ok(None) | Err(_) => return false,
            };
            if head.is_interim() && request.version == Version::Http10 {
                server.at += head.len;
                continue;
            }
            if head.is_switching() && !request.upgrade {
                return false;
            }
            let stripped = request.version == Version::Http10 && head.body == Body::Chunked;
            let chunked = request.version == Version::Http11 && head.body == Body::UntilClose;
            let unframed = stripped || head.body == Body::UntilClose && !chunked;
            let persistent = head.is_interim() || (request.persistent && !unframed);
            let mut out = Vec::new();
            let side =
                ClientSide { version: request.version, persistent, chunked, upgrade: head.is_switching() };
            head.write(server.there(), &side, &mut out);
            self.to_client.extend_from_slice(&out);
            server.at += head.len;
            self.coded |= chunked;
            let last = !self.body(&head, stripped, chunked, server) || !persistent || head.is_switching();
            self.switched |= head.is_switching();
            if last || !head.is_interim() {
                return !last;
            }
        }
    }

    /// Carries a response's body. False when it did not end well.
    fn body(&mut self, head: &ResponseHead, stripped: bool, chunked: bool, server: &mut Stream<'_>) -> bool {
        let reader = if stripped { BodyReader::decoded(head.body) } else { BodyReader::new(head.body) };
        let mut content = Vec::new();
        let whole = pass(reader, head.body, server, &mut self.to_client, &mut content, chunked);
        self.broken |= whole.is_err();
        // A body that the connection's end would end: the client's is reset if it is cut.
        let complete = whole == Ok(true) || head.body == Body::UntilClose || stripped;
        let fields = Vec::new();
        self.responses.push(Response { status: head.status, fields, body: content, complete });
        whole == Ok(true)
    }

    /// Whether both sides read the same.
    fn check(&self) {
        let (mut requests, end) = strict::requests(&self.to_server);
        requests.iter_mut().for_each(|request| request.fields.clear());
        assert_eq!(requests, self.requests, "the server reads something else");
        let whole = self.requests.last().is_none_or(|request| request.complete);
        assert_eq!(end, if whole { End::Clean } else { End::Incomplete });

        let methods: Vec<&str> = self.methods.iter().map(String::as_str).collect();
        let (mut responses, end) = strict::responses(&self.to_client, &methods);
        responses.iter_mut().for_each(|response| response.fields.clear());
        assert_eq!(responses, self.responses, "the client reads something else");
        let whole = self.responses.last().is_none_or(|response| response.complete);
        assert_eq!(
            end,
            match (whole, self.switched) {
                (_, true) => End::Switched,
                (true, _) => End::Clean,
                (false, _) => End::Incomplete,
            }
        );
    }
}

/// Passes a body on, and keeps its content. Whether it ended.
fn pass(
    mut reader: BodyReader,
    body: Body,
    from: &mut Stream<'_>,
    to: &mut Vec<u8>,
    content: &mut Vec<u8>,
    chunked: bool,
) -> Result<bool, ()> {
    let mut decoder = BodyReader::decoded(body);
    let mut taken = Vec::new();
    while !reader.is_done() {
        let received = from.there();
        let mut buffer = received.to_vec();
        let step = reader.step(&mut buffer).map_err(|_| ())?;
        if chunked && step.forward > 0 {
            begin_chunk(step.forward, to);
        }
        to.extend_from_slice(&buffer[..step.forward]);
        if chunked && step.forward > 0 {
            to.extend_from_slice(CHUNK_END);
        }
        taken.extend_from_slice(&received[..step.consumed]);
        from.at += step.consumed;
        // What was found good for passing on is good for being read.
        while !decoder.is_done() && !taken.is_empty() {
            let step = decoder.step(&mut taken).expect("the same bytes have the same fault");
            content.extend_from_slice(&taken[..step.forward]);
            taken.drain(..step.consumed);
            if step.consumed == 0 {
                break;
            }
        }
        if step.consumed == 0 && !step.done && !from.fill() {
            let whole = reader.end_of_stream().is_ok();
            if chunked && whole {
                to.extend_from_slice(LAST_CHUNK);
            }
            return Ok(whole);
        }
    }
    Ok(true)
}
