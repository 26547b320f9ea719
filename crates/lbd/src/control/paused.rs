//! Tells healthd which servers operators have taken out, so that nobody who looks there takes them for a fault.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use balance::AdminState;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use wire::client::{Client, ClientError};
use wire::{Request, ServerAdminState};

use crate::control::verdicts::ServerKey;

/// The servers that are not `ready`.
pub type Paused = BTreeMap<ServerKey, AdminState>;

/// How often healthd is told again: it forgets what it has not heard for three times as long.
const EVERY: Duration = Duration::from_secs(1);
/// So many servers with the longest of names fit into a line.
const AT_ONCE: usize = 256;

/// Tells the healthd of that socket for as long as there is something to tell.
pub async fn tell(healthd: PathBuf, mut paused: watch::Receiver<Paused>) {
    while paused.wait_for(|paused| !paused.is_empty()).await.is_ok() {
        if let Err(error) = follow(&healthd, &mut paused).await {
            tracing::debug!(%error, "cannot tell healthd which servers are in drain or maint");
            sleep(EVERY).await;
        }
    }
}

/// Tells one healthd, until no server is paused and it knows so.
async fn follow(healthd: &Path, paused: &mut watch::Receiver<Paused>) -> Result<(), ClientError> {
    let mut client = Client::connect(healthd, "lbd").await?;
    let mut told = Paused::new();
    loop {
        let now = paused.borrow_and_update().clone();
        for servers in news(&told, &now).chunks(AT_ONCE) {
            client.request(Request::AdminStates { servers: servers.to_vec() }).await?;
        }
        if now.is_empty() {
            return Ok(());
        }
        told = now;
        // Told again in any case: after this time, or since something has changed.
        let _ = timeout(EVERY, paused.changed()).await;
    }
}

/// All that are paused, and those that were and are ready again.
fn news(told: &Paused, now: &Paused) -> Vec<ServerAdminState> {
    let ready = told.keys().filter(|key| !now.contains_key(*key)).map(|key| (key, &AdminState::Ready));
    let server = |((backend, server), state): (&ServerKey, &AdminState)| ServerAdminState {
        backend: backend.clone(),
        server: server.clone(),
        state: *state,
    };
    now.iter().chain(ready).map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ready_again_is_told_once_and_who_is_not_again_and_again() {
        let paused = |servers: &[(&str, AdminState)]| -> Paused {
            servers.iter().map(|(server, state)| (("b".to_owned(), (*server).to_owned()), *state)).collect()
        };
        let told = |before: &Paused, now: &Paused| -> Vec<(String, AdminState)> {
            news(before, now).into_iter().map(|told| (told.server, told.state)).collect()
        };
        let both = paused(&[("s", AdminState::Drain), ("t", AdminState::Maint)]);
        let one = paused(&[("t", AdminState::Maint)]);
        assert_eq!(
            told(&both, &one),
            [("t".to_owned(), AdminState::Maint), ("s".to_owned(), AdminState::Ready)]
        );
        assert_eq!(told(&one, &one), [("t".to_owned(), AdminState::Maint)]);
        assert_eq!(told(&one, &Paused::new()), [("t".to_owned(), AdminState::Ready)]);
    }

    #[test]
    fn as_many_as_are_told_at_once_fit_into_a_line() {
        let name = "x".repeat(64);
        let server = ServerAdminState { backend: name.clone(), server: name, state: AdminState::Maint };
        let request = Request::AdminStates { servers: vec![server; AT_ONCE] };
        let line = wire::codec::encode(&wire::ClientLine::Request { id: u64::MAX, request }).unwrap();
        assert!(line.len() <= wire::codec::MAX_LINE, "{}", line.len());
    }
}
