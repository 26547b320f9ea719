//! What a TLS client says first: the server that it wants, without which no route can be chosen.

use std::future::poll_fn;
use std::net::IpAddr;

use route::{CLIENT_HELLO_MAX, ClientHello, Request, ServerName};

use crate::worker::Worker;
use crate::worker::failure::Failure;
use crate::worker::frontend::Frontend;
use crate::worker::net::buffer::{Buffer, Lent};
use crate::worker::net::io::Io;
use crate::worker::presence::Presence;
use crate::worker::routes::{Routes, Target};

/// What a session begins with.
#[derive(Debug, Default)]
pub(crate) struct Hello {
    /// All that was read of it. The server gets it as it is.
    pub(crate) bytes: Buffer,
    /// Boxed: it has room for the longest, and few sessions have one.
    pub(crate) name: Option<Box<ServerName>>,
}

impl Hello {
    /// One that nobody has looked at.
    pub(crate) fn unread(bytes: Option<Buffer>) -> Self {
        Self { bytes: bytes.unwrap_or_default(), name: None }
    }

    /// Reads what the client says first, for a bounded time, until it is known which server it names, or that it names none.
    ///
    /// No buffer is held before it says something. `early` has what it has said already.
    pub(crate) async fn read(
        worker: &Worker,
        frontend: &Frontend,
        presence: &Presence,
        client: &mut Io,
        early: Option<Buffer>,
    ) -> Result<Self, Failure> {
        let (pool, deadline) = (&worker.requests, presence.deadline());
        deadline.set(frontend.rules().timeouts.client_hello);
        let first = async {
            match early {
                Some(early) => Ok(early),
                None => poll_fn(|cx| pool.poll_read(cx, &mut client.reader())).await.map(Lent::keep),
            }
        };
        let mut bytes = match deadline.guard(first).await {
            // Perhaps the server is to speak first.
            Err(_) => return Ok(Self::default()),
            Ok(Ok(first)) if !first.is_empty() => first,
            Ok(Ok(_) | Err(_)) => return Err(Failure::ClientClosed),
        };
        loop {
            let needed = match ClientHello::read(bytes.filled()) {
                ClientHello::Name(name) => return Ok(Self { bytes, name: Some(Box::new(name)) }),
                ClientHello::Nameless => return Ok(Self { bytes, name: None }),
                ClientHello::More(needed) => needed,
            };
            debug_assert!(needed <= CLIENT_HELLO_MAX);
            while bytes.filled().len() < needed {
                match deadline.guard(bytes.fill(&mut client.reader())).await {
                    Ok(Ok(n)) if n > 0 => {}
                    Ok(Err(_)) => return Err(Failure::ClientClosed),
                    // Too slow; or it has ended its side, and may still be answered.
                    Ok(Ok(_)) | Err(_) => return Ok(Self { bytes, name: None }),
                }
            }
        }
    }

    /// What becomes of the session.
    pub(super) fn target(&self, routes: &Routes, source: IpAddr) -> Target {
        let host = self.name.as_ref().map(|name| name.as_bytes());
        routes.of_session(&Request { host, ..Request::from_source(source) })
    }
}
