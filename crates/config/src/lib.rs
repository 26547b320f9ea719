//! `lb.yaml` and `vrrp.yaml`: their model, defaults, validation and lints, for each file and across the files of nodes.
//!
//! A text becomes a tree in which every key and value knows its line and column (`yaml`); typed readers (`read`) turn it
//! into the model, section by section (`lb`), and report everything that is wrong instead of stopping at the first. A key
//! is known because a reader asks for it, so that the list of keys, the unknown-key errors and the documentation agree.

mod access;
mod anycast;
mod balancing;
mod bound;
mod check;
mod checked;
mod diagnostic;
mod digest;
mod discover;
mod edits;
mod effective;
mod environment;
mod file;
mod files;
mod foreign;
mod instance;
mod keys;
mod lb;
mod model;
mod nearest;
mod read;
mod routes;
mod scalar;
mod secret;
mod sticky;
mod tls;
mod veil;
mod yaml;

pub use access::{Access, OpenPath};
pub use anycast::Anycast;
pub use balancing::{Balance, HashKey};
pub use bound::bound_at;
pub use check::*;
pub use checked::{Checked, Content};
pub use diagnostic::{Diagnostic, Invalid, Severity};
pub use discover::{Discover, Member, Source};
pub use edits::{Edits, RequestId};
pub use effective::effective_yaml;
pub use file::{
    KeyFile, Loaded, load, load_for_checks, load_members, load_vrrp, parse, parse_members, parse_vrrp,
};
pub use instance::*;
pub use keys::{Key, keys, vrrp_keys};
pub use model::*;
pub use nearest::nearest;
pub use routes::{Action, Page, Redirect, Respond, Route, Routes, Scheme};
pub use secret::{Secret, SecretBytes};
pub use sticky::{SameSite, Sticky};
pub use tls::{
    ClientCertificates, Renewal, Reread, ServerFiles, ServerTls, Stamp, TicketKeys, Tls, TlsVersion,
};
