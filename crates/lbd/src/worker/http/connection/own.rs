//! Requests that lbd answers itself, as its routes say: without a server, and without giving the connection up.

use http1::{BodyReader, Method, RequestFault, Version};

use super::account::Account;
use super::{After, Connection, Request};
use crate::worker::failure::Failure;
use crate::worker::http::answer::Own;
use crate::worker::net::buffer::Buffer;
use crate::worker::net::send;

impl Connection {
    /// Answers a request that no server gets.
    pub(super) async fn answer_itself(&mut self, request: &Request, own: &Own) -> After {
        let account = Account { own: Some(own.termination()), ..Account::default() };
        let result = self.send_own(request, own, &account).await;
        let (after, failure) = match result {
            Ok(after) => (after, None),
            Err(failure) => (self.answer_failure(failure, request, &account).await, Some(failure)),
        };
        self.settle(&request.arrived, None, &account, failure);
        self.give_empty_input();
        after
    }

    async fn send_own(&mut self, request: &Request, own: &Own, account: &Account) -> Result<After, Failure> {
        let head = &request.head;
        let worker = self.worker.clone();
        let mut out = worker.heads.lend();
        let received = self.input.as_ref().map_or(&[][..], Buffer::filled);
        if !own.write_head(head, received, self.scheme, &mut out) {
            return Err(Failure::Request(RequestFault::HostMissing));
        }
        let has_come = self.take_whole(request, account)?;
        let keep = has_come && head.persistent && !worker.is_leaving() && self.frontend.takes_requests();

        out.extend_from_slice(match (keep, head.version) {
            (true, Version::Http11) => &b"\r\n"[..],
            (true, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
            (false, _) => b"Connection: close\r\n\r\n",
        });
        let body = if head.method == Method::Head { &b""[..] } else { own.body() };
        account.meter.add_out(out.len() + body.len());
        account.meter.status.set(Some(own.status()));

        self.presence.deadline().set(self.frontend.rules().timeouts.client);
        let client = &mut self.client.writer();
        let sent =
            self.presence.deadline().guard(send::head_and_body(client, &mut out, body, b"", || {})).await;
        match sent {
            Ok(Ok(())) if keep => Ok(After::Reuse),
            Ok(Ok(())) if !has_come => Ok(After::Linger),
            Ok(Ok(())) if head.persistent => Ok(After::Farewell),
            Ok(Ok(())) => Ok(After::Close),
            Ok(Err(_)) => Err(Failure::ClientReset),
            Err(_) => Err(Failure::ClientStalled),
        }
    }

    /// Takes the request out of what was received. Whether all of it is there: what is not is not waited for.
    fn take_whole(&mut self, request: &Request, account: &Account) -> Result<bool, Failure> {
        let head = &request.head;
        let Some(input) = self.input.as_mut() else { return Err(Failure::ClientClosed) };
        let mut body = BodyReader::new(head.body);
        let step = body.step(&mut input.filled_mut()[head.len..]).map_err(Failure::RequestBody)?;
        let taken = head.len + step.consumed;
        account.meter.bytes_in.set(taken as u64);
        input.consume(taken);
        Ok(step.done)
    }
}
