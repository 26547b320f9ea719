//! What every Tandem daemon shares.

pub mod page;
