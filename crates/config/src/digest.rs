//! A short name for what a configuration means, by which daemons tell whether they run the same one.

/// FNV-1a of 64 bits: a name, not a proof. The hashes of the standard library may change with its releases.
pub(crate) fn digest(effective: &str) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = effective.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_digest_is_about_what_is_meant() {
        let file = |more: &str| {
            let text = format!(
                "frontends: {{ web: {{ bind: [\"127.0.0.1:80\"], backend: b }} }}\n{more}backends:\n  b: {{ servers: {{ a: \"127.0.0.1:81\" }} }}\n"
            );
            crate::parse("lb.yaml", &text).unwrap().digest
        };
        assert_eq!(file(""), file("# a remark\nlbd: { stop_timeout: 30s }\n"));
        assert_ne!(file(""), file("lbd: { stop_timeout: 31s }\n"));
        assert_eq!(super::digest("a"), "af63dc4c8601ec8c", "the published value");
    }
}
