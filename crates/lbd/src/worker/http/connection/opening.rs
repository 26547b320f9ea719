//! What a server is sent first.

use edit::{Context, RequestEditor};

use crate::worker::Worker;
use crate::worker::failure::Failure;
use crate::worker::net::buffer::{Buffer, Lent, Pool};
use crate::worker::net::send;

/// A request's head, and what has arrived of its body behind it: one write, and still there for another attempt.
pub(super) struct Opening<'a> {
    /// The head, and what follows it where that is little.
    head: Lent<'a, Vec<u8>>,
    head_len: usize,
    /// Both, where that is much.
    large: Option<Lent<'a, Buffer>>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(worker: &'a Worker, mut head: Lent<'a, Vec<u8>>, early: &[u8]) -> Self {
        let head_len = head.len();
        let large = mapped(&worker.responses, &head, early);
        if large.is_none() {
            head.extend_from_slice(early);
        }
        Self { head, head_len, large }
    }

    /// The same with its head edited.
    pub(super) fn edited(
        &self,
        worker: &'a Worker,
        editor: &RequestEditor,
        context: &Context<'_>,
    ) -> Result<Self, Failure> {
        let mut head = worker.heads.lend();
        editor.apply(context, &mut head)?;
        Ok(Self::new(worker, head, self.bytes().get(self.head_len..).unwrap_or_default()))
    }

    pub(super) fn head(&self) -> &[u8] {
        self.head.get(..self.head_len).unwrap_or_default()
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.large.as_ref().map_or(&self.head[..], |large| large.filled())
    }
}

/// A head and what follows it, where that is much: the heap would keep for long what it grew by.
fn mapped<'a>(pool: &'a Pool<Buffer>, head: &[u8], body: &[u8]) -> Option<Lent<'a, Buffer>> {
    let mut whole = (body.len() > send::COPIED).then(|| pool.lend())?;
    (whole.append(head) && whole.append(body)).then_some(whole)
}
