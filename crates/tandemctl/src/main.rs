//! tandemctl

fn main() {}
