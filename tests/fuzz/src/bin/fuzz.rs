//! libFuzzer around the target that `FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let known = tandem_fuzz::TARGETS.iter().find(|(known, _)| *known == name);
    known.map(|(_, target)| *target).expect("FUZZ_TARGET names a target")
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
