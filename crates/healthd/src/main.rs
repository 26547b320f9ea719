//! healthd: active health checks for lbd.

fn main() {}
