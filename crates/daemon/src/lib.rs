//! What every Tandem daemon shares.
