//! HTTP: a client's connection, its requests, and their responses.

pub(super) mod answer;
pub(super) mod connection;
pub(super) mod desk;
pub(super) mod edits;
pub(super) mod exchange;
pub(super) mod ids;
pub(super) mod key;
pub(super) mod linger;
pub(super) mod turns;
