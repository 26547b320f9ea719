//! lbd

fn main() {}
