//! What a TLS listener presents: certificates and keys from PEM files, chosen by the name that a client asks for; and by which
//! authorities it knows clients, or servers are known.
//!
//! Files come as bytes and the time as a number. What cannot be used is told as a [`Fault`], all of a set at once; what can be used,
//! and probably is not what was meant, as a [`Doubt`].

mod certificate;
mod client;
mod clients;
mod distinguished_name;
mod pem;
mod reason;
mod remark;
mod revocations;
mod servers;
mod staple;
mod store;

pub use certificate::{Certificate, KeyType, Source, holds_key, key_names};
pub use client::ClientCertificate;
pub use clients::Clients;
pub use pem::Pem;
pub use reason::{Expiry, expiry, reason};
pub use remark::{Doubt, DoubtKind, Fault, FaultKind, day};
pub use servers::{Servers, Trust, server_name};
pub use staple::{Staple, StapleFault, StapleFile, staple_name};
pub use store::Store;
