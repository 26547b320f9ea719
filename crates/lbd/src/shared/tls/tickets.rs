//! Tickets: sessions that clients keep, sealed with keys that several nodes may have (RFC 8446 4.6.1, RFC 5077).
//!
//! Whoever has the key can resume the session: the other node after a failover, or the next lbd after a restart. Of each key there is a
//! key for every ticket, so that two nodes never use the same nonce twice. A ticket is for one policy about clients' certificates: a
//! session is not resumed where its client would have had to show another one.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

/// How long clients may keep a ticket.
const LIFETIME_SECS: u32 = 12 * 60 * 60;
/// What a key is known by in its tickets.
const NAME: usize = 16;
const SALT: usize = 32;

/// The keys of a listener's tickets.
pub(super) struct Tickets {
    /// The first seals, each opens.
    keys: Vec<Key>,
    /// What is agreed on with each ticket beside its bytes.
    policy: [u8; 32],
}

struct Key {
    name: [u8; NAME],
    secret: Prk,
}

impl Tickets {
    /// With these secrets, for one policy. Without any, no tickets are made.
    pub(super) fn new<'s>(secrets: impl IntoIterator<Item = &'s [u8]>, policy: [u8; 32]) -> Self {
        Self { keys: secrets.into_iter().filter_map(Key::new).collect(), policy }
    }

    /// The header of a ticket is the name of its key, and the salt of its own.
    fn cipher(&self, key: &Key, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let info = [&b"tandem ticket"[..], salt, &self.policy];
        let okm = key.secret.expand(&info, &AES_256_GCM).ok()?;
        let mut nonce = [0; NONCE_LEN];
        key.secret.expand(&[b"tandem nonce", salt], Len(NONCE_LEN)).ok()?.fill(&mut nonce).ok()?;
        Some((LessSafeKey::new(UnboundKey::from(okm)), Nonce::assume_unique_for_key(nonce)))
    }
}

/// How many bytes a key is expanded to.
struct Len(usize);

impl aws_lc_rs::hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    fn new(secret: &[u8]) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, b"tandem session tickets").extract(secret);
        let mut name = [0; NAME];
        secret.expand(&[b"tandem name"], Len(NAME)).ok()?.fill(&mut name).ok()?;
        Some(Self { name, secret })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_SECS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut salt = [0; SALT];
        rand::fill(&mut salt).ok()?;
        let (cipher, nonce) = self.cipher(key, &salt)?;
        let mut ticket = Vec::with_capacity(NAME + SALT + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&salt);
        ticket.extend_from_slice(plain);
        let (header, sealed) = ticket.split_at_mut(NAME + SALT);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(header), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (header, sealed) = ticket.split_at_checked(NAME + SALT)?;
        let (name, salt) = header.split_at(NAME);
        // A name is no secret: it stands in every ticket.
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let (cipher, nonce) = self.cipher(key, salt)?;
        let mut opened = sealed.to_vec();
        let len = cipher.open_in_place(nonce, Aad::from(header), &mut opened).ok()?.len();
        opened.truncate(len);
        Some(opened)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = &[1; 32];
    const NEW: &[u8] = &[2; 32];

    fn tickets(secrets: &[&[u8]]) -> Tickets {
        Tickets::new(secrets.iter().copied(), [0; 32])
    }

    #[test]
    fn a_ticket_of_one_node_is_opened_by_the_other() {
        let ticket = tickets(&[OLD]).encrypt(b"a session").unwrap();
        assert_eq!(tickets(&[OLD]).decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(tickets(&[NEW]).decrypt(&ticket), None);
    }

    #[test]
    fn keys_are_rotated_without_losing_a_session() {
        // The next key is known to both nodes before the first of them seals with it.
        let (before, between, after) = (tickets(&[OLD, NEW]), tickets(&[NEW, OLD]), tickets(&[NEW]));
        let by = |seals: &Tickets, opens: &Tickets| opens.decrypt(&seals.encrypt(b"s").unwrap()).is_some();
        assert!(by(&before, &between) && by(&between, &before) && by(&between, &after));
        assert!(!by(&before, &after), "the old key is forgotten");
    }

    #[test]
    fn no_two_tickets_are_alike_and_none_is_opened_that_was_changed() {
        let tickets = tickets(&[OLD, NEW]);
        let ticket = tickets.encrypt(b"a session").unwrap();
        assert_ne!(ticket, tickets.encrypt(b"a session").unwrap());
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "byte {at}");
        }
        for len in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_session_is_not_resumed_under_another_policy() {
        let (anybody, known) = (Tickets::new([OLD], [0; 32]), Tickets::new([OLD], [1; 32]));
        assert_eq!(known.decrypt(&anybody.encrypt(b"s").unwrap()), None);
    }

    #[test]
    fn without_keys_there_are_no_tickets() {
        let none = tickets(&[]);
        assert!(!none.enabled() && none.encrypt(b"s").is_none() && none.decrypt(&[0; 100]).is_none());
    }
}
