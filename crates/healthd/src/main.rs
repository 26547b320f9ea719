//! healthd

fn main() {}
