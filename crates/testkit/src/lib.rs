//! Development only: what the tests stand on.
