//! Where a request goes, by the routes of its frontend.

use config::Scheme;
use http1::RequestHead;
use route::{Path, Table};

use super::account::Account;
use super::{After, Connection, Request};
use crate::worker::failure::Failure;
use crate::worker::net::buffer::Buffer;
use crate::worker::routes::Target;

impl Connection {
    /// Answers one request.
    pub(super) async fn answer(&mut self, request: Request) -> After {
        self.frontend.counters().requests.inc();
        match self.target(&request.head) {
            Ok(Target::Backend(backend, edits)) => self.answer_from(backend, edits.as_deref(), request).await,
            Ok(Target::Own(own)) => self.answer_itself(&request, &own).await,
            Err(failure) => self.refuse(failure, &request).await,
        }
    }

    fn target(&mut self, head: &RequestHead) -> Result<Target, Failure> {
        let routes = self.frontend.routes();
        let received = self.input.as_ref().map_or(&[][..], Buffer::filled);
        routes.name_request(head.field_lines(received), &self.worker.ids, &mut self.request_id);
        let chosen = routes.table().map(|table| self.choose(table, head)).transpose()?;
        Ok(routes.take(chosen.flatten()))
    }

    fn choose(&self, table: &Table, head: &RequestHead) -> Result<Option<usize>, Failure> {
        let Some(input) = &self.input else { return Err(Failure::ClientClosed) };
        let head_bytes = input.filled();
        // Only a path that is written in an unusual way needs room of its own.
        let mut scratch = self.worker.heads.lend();
        let path = match table.needs_path() {
            true => Path::read(head.path(head_bytes), &mut scratch).map_err(|_| Failure::AmbiguousPath)?,
            false => Path::default(),
        };
        Ok(table.choose(&route::Request {
            source: self.presence.client().ip(),
            tls: self.scheme == Scheme::Https,
            host: head.host.map(|host| host.of(head_bytes)),
            method: head.method_span.of(head_bytes),
            path,
            query: head.query(head_bytes).unwrap_or_default(),
            fields: head.field_lines(head_bytes),
        }))
    }

    /// Refuses a request that has no backend.
    async fn refuse(&mut self, failure: Failure, request: &Request) -> After {
        let account = Account::default();
        account.meter.bytes_in.set(request.head.len as u64);
        let after = self.answer_failure(failure, request, &account).await;
        self.settle(&request.arrived, None, &account, Some(failure));
        after
    }
}
