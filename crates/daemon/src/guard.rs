//! Who is let in to the admin pages: names and passwords by HTTP's Basic scheme (RFC 7617).
//!
//! Checking a password takes a processor for some milliseconds: that is what its hash is for. So one thread does nothing else, has
//! a short queue, and rests for ten times as long after each wrong password: whoever guesses gets a tenth of a processor at most, and
//! others wait for nothing. A password that was right is remembered, by a hash that is quick, for as long as the users stay as
//! they are: those who are let in already never stand in that queue.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding};
use config::{Access, Secret};
use hmac::{Hmac, KeyInit, Mac};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha2::Sha256;
use tokio::sync::oneshot;

/// Passwords that wait for being checked.
const QUEUE: usize = 16;
/// How much longer than a wrong password took nothing is checked.
const REST: u32 = 10;
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(2);
/// The longest name and password together, in Base64: longer ones are wrong without being checked.
const CREDENTIALS_MAX: usize = 512;
/// How often wrong passwords are told of.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Lets people in to the admin pages, or not.
#[derive(Debug, Default)]
pub struct Guard {
    rules: Mutex<Arc<Rules>>,
    checks: OnceLock<Option<SyncSender<Check>>>,
}

#[derive(Debug, Default)]
struct Rules {
    access: Access,
    /// What is known of passwords that were right, by name.
    proven: Mutex<HashMap<String, [u8; 32]>>,
}

/// A password to be checked.
#[derive(Debug)]
struct Check {
    rules: Arc<Rules>,
    name: String,
    password: Vec<u8>,
    client: IpAddr,
    answer: oneshot::Sender<bool>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No name, or a wrong one, or a wrong password.
    Unknown,
    /// Too many passwords are being checked.
    Busy,
}

impl Guard {
    /// Takes these rules into force. What was proven under others is forgotten.
    pub fn admit(&self, access: &Access) {
        let mut rules = self.lock();
        if rules.access != *access {
            *rules = Arc::new(Rules { access: access.clone(), proven: Mutex::default() });
        }
    }

    /// Whether a client may see a path.
    pub(crate) async fn let_in(&self, path: &str, fields: &HeaderMap, client: IpAddr) -> Result<(), Refusal> {
        let rules = self.lock().clone();
        if rules.access.users.is_empty() || rules.access.open.iter().any(|open| open.path() == path) {
            return Ok(());
        }
        let (name, password) = fields
            .get(AUTHORIZATION)
            .and_then(|field| credentials(field.as_bytes()))
            .ok_or(Refusal::Unknown)?;
        if rules.is_proven(&name, &password) {
            return Ok(());
        }
        let (answer, is_right) = oneshot::channel();
        let check = Check { rules, name, password, client, answer };
        let checks = self.checks.get_or_init(start).as_ref().ok_or(Refusal::Busy)?;
        match checks.try_send(check) {
            Ok(()) if is_right.await.unwrap_or(false) => Ok(()),
            Ok(()) => Err(Refusal::Unknown),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Refusal::Busy),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Rules>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusal {
    /// What is answered.
    pub(crate) fn response(self) -> Response {
        match self {
            Self::Unknown => {
                let fields = [
                    (WWW_AUTHENTICATE, "Basic realm=\"Tandem\", charset=\"UTF-8\""),
                    (CACHE_CONTROL, "no-store"),
                ];
                (StatusCode::UNAUTHORIZED, fields, "a name and a password are needed here\n").into_response()
            }
            Self::Busy => {
                let text = "too many passwords are being checked; try again shortly\n";
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
            }
        }
    }
}

impl Rules {
    /// The hash of a user's password. Of a name that nobody has it is another user's: finding out takes as long.
    fn hash(&self, name: &str) -> Option<(&Secret, bool)> {
        let known = self.access.users.iter().find(|(user, _)| user == name);
        let other = || self.access.users.first().map(|(_, hash)| (hash, false));
        known.map(|(_, hash)| (hash, true)).or_else(other)
    }

    /// Whether it is the password that was right before. In constant time.
    fn is_proven(&self, name: &str, password: &[u8]) -> bool {
        let held = self.lock().get(name).copied();
        let hash = self.hash(name).filter(|(_, is_known)| *is_known);
        let digest = hash.and_then(|(hash, _)| keyed(hash, password));
        digest.zip(held).is_some_and(|(digest, held)| digest.verify_slice(&held).is_ok())
    }

    /// Whether it is the user's password. This takes its time.
    fn is_right(&self, name: &str, password: &[u8]) -> bool {
        let Some((hash, is_known)) = self.hash(name) else { return false };
        let is_right = ShaCrypt::default().verify_password(password, hash.expose()).is_ok() && is_known;
        if is_right && let Some(digest) = keyed(hash, password) {
            self.lock().insert(name.to_owned(), digest.finalize().into_bytes().into());
        }
        is_right
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, [u8; 32]>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quick hash of a password: it never leaves the process.
fn keyed(hash: &Secret, password: &[u8]) -> Option<Hmac<Sha256>> {
    let mut digest = Hmac::<Sha256>::new_from_slice(hash.expose().as_bytes()).ok()?;
    digest.update(password);
    Some(digest)
}

/// The name and the password of an Authorization field (RFC 7617 section 2).
fn credentials(field: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = field.split_at_checked(6)?;
    let text = rest.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"Basic ") || text.len() > CREDENTIALS_MAX {
        return None;
    }
    let mut room = [0; CREDENTIALS_MAX];
    let decoded = Base64::decode(text, &mut room).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

/// Starts the thread that checks passwords; none where the system refuses.
fn start() -> Option<SyncSender<Check>> {
    let (sender, checks) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new().name("passwords".into()).spawn(move || check_all(&checks));
    match thread {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "no thread to check passwords of the admin pages: nobody is let in");
            None
        }
    }
}

fn check_all(checks: &Receiver<Check>) {
    let (mut wrong, mut told) = (0_u64, None::<Instant>);
    while let Ok(Check { rules, name, password, client, answer }) = checks.recv() {
        // Whoever has left needs no answer.
        if answer.is_closed() {
            continue;
        }
        let begun = Instant::now();
        let is_right = rules.is_right(&name, &password);
        let took = begun.elapsed();
        // Whoever has left by now does not want to know.
        let _ = answer.send(is_right);
        if is_right {
            continue;
        }
        wrong += 1;
        if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            tracing::warn!(wrong, %client, "a wrong name or password for the admin pages");
            (wrong, told) = (0, Some(Instant::now()));
        }
        std::thread::sleep((took * REST).min(REST_MAX));
    }
}

#[cfg(test)]
mod tests {
    use config::OpenPath;

    use super::*;

    /// `openssl passwd -6 -salt tandem secret`, and `-5` with another password.
    const ALICE: &str =
        "$6$tandem$zYnT7JMMX9ABMpKB4IO4Zmm7xHw6w.orQaKoetSGubpHJUxynRaF8P0egDTT.97w4vmF/VnJkzos2C4RnLEu7/";
    const BOB: &str = "$5$x$3wl8r8RlELbJzLLaSsHFxfV/8NvuFvRPwE0OCNgyfJ2";
    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn guard() -> Guard {
        let guard = Guard::default();
        let users = [("alice", ALICE), ("bob", BOB)].map(|(name, hash)| (name.to_owned(), Secret::new(hash)));
        guard.admit(&Access { users: users.to_vec(), open: vec![OpenPath::Ready] });
        guard
    }

    fn fields(credentials: &str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let value = format!("basic {}", Base64::encode_string(credentials.as_bytes()));
        fields.insert(AUTHORIZATION, value.parse().unwrap());
        fields
    }

    #[tokio::test]
    async fn who_knows_the_password_is_let_in_and_nobody_else() {
        let guard = guard();
        assert_eq!(guard.let_in("/ready", &HeaderMap::new(), CLIENT).await, Ok(()));
        assert_eq!(guard.let_in("/", &HeaderMap::new(), CLIENT).await, Err(Refusal::Unknown));
        for (credentials, expected) in [
            ("alice:secret", Ok(())),
            ("alice:secret", Ok(())),
            ("bob:a:b \u{e4}", Ok(())),
            ("alice:Secret", Err(Refusal::Unknown)),
            ("alice:secret ", Err(Refusal::Unknown)),
            ("alice:", Err(Refusal::Unknown)),
            ("alice", Err(Refusal::Unknown)),
            ("bob:secret", Err(Refusal::Unknown)),
            ("carol:secret", Err(Refusal::Unknown)),
            (":secret", Err(Refusal::Unknown)),
            ("", Err(Refusal::Unknown)),
        ] {
            assert_eq!(guard.let_in("/", &fields(credentials), CLIENT).await, expected, "{credentials}");
        }
        for field in ["Basic", "Basic !", "Bearer YWxpY2U6c2VjcmV0", &format!("Basic {}", "YWFh".repeat(200))]
        {
            let mut fields = HeaderMap::new();
            fields.insert(AUTHORIZATION, field.parse().unwrap());
            assert_eq!(guard.let_in("/", &fields, CLIENT).await, Err(Refusal::Unknown), "{field}");
        }
    }

    #[tokio::test]
    async fn a_password_that_was_right_is_let_in_at_once_while_others_guess() {
        let guard = Arc::new(guard());
        assert_eq!(guard.let_in("/", &fields("alice:secret"), CLIENT).await, Ok(()));
        let guesses: Vec<_> = (0..200)
            .map(|number| {
                let guard = guard.clone();
                tokio::spawn(
                    async move { guard.let_in("/", &fields(&format!("alice:{number}")), CLIENT).await },
                )
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(guard.let_in("/", &fields("alice:secret"), CLIENT).await, Ok(()));
            tokio::task::yield_now().await;
        }
        let mut busy = 0;
        for guess in guesses {
            busy += usize::from(guess.await.unwrap().unwrap_err() == Refusal::Busy);
        }
        assert!(busy > 100, "few wait: {busy}");
    }

    #[tokio::test]
    async fn other_users_begin_anew() {
        let guard = guard();
        assert_eq!(guard.let_in("/", &fields("alice:secret"), CLIENT).await, Ok(()));
        let users = vec![("alice".to_owned(), Secret::new(BOB))];
        guard.admit(&Access { users, open: Vec::new() });
        assert_eq!(guard.let_in("/", &fields("alice:secret"), CLIENT).await, Err(Refusal::Unknown));
        assert_eq!(guard.let_in("/ready", &HeaderMap::new(), CLIENT).await, Err(Refusal::Unknown));
        guard.admit(&Access::default());
        assert_eq!(guard.let_in("/", &HeaderMap::new(), CLIENT).await, Ok(()));
    }
}
