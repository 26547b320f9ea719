//! Who was found, for the next healthd: it has servers to check, and to tell of, before it has asked anybody.

use std::collections::BTreeMap;
use std::path::Path;

use config::Member;
use daemon::kept_file;

/// The file.
pub(crate) const FILE: &str = "healthd.members";

/// Who was found, by backend and name.
pub(crate) type KeptMembers = BTreeMap<String, BTreeMap<String, wire::Member>>;

/// What an earlier healthd has found. A file that cannot be understood tells of nobody, and the log of it.
pub(crate) fn load(dir: &Path) -> KeptMembers {
    let kept = kept_file::read(&dir.join(FILE));
    kept.map(Option::unwrap_or_default).unwrap_or_else(|error| {
        tracing::warn!("servers that were found before are not known: {error:#}");
        KeptMembers::default()
    })
}

/// Members as they are told.
pub(crate) fn told(members: &[Member]) -> BTreeMap<String, wire::Member> {
    members.iter().map(|member| (member.name.clone(), wire::Member::of(member))).collect()
}

/// The same as members. One that makes no sense is none.
pub(crate) fn members(kept: BTreeMap<String, wire::Member>) -> Vec<Member> {
    kept.iter().filter_map(|(name, member)| member.named(name)).collect()
}
