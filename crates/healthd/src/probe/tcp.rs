//! The TCP check: whether the server accepts a connection, which is closed at once.

use health::CheckCode;

use super::{Finding, Line};

pub(super) async fn probe(line: Line) -> Finding {
    match line.connect(Vec::new()).await {
        Ok(connected) => {
            connected.finish_opening();
            Finding::new(CheckCode::L4Ok, "connected")
        }
        Err(finding) => finding,
    }
}
