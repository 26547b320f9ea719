//! Files of TLS to servers that change while their configuration stays.

use std::path::Path;
use std::sync::Arc;

use super::files::Remark;
use super::{ServerTls, Stamp, read_servers};
use crate::LbConfig;
use crate::files::directory;

/// What the files of TLS to servers were like when somebody looked last.
#[derive(Debug, Default)]
pub struct ServerFiles {
    seen: Option<(Arc<LbConfig>, Stamp)>,
    /// What was last wrong with them.
    wrong: Vec<String>,
}

/// What has changed since then.
#[derive(Debug, Default)]
pub struct Renewal {
    /// The configuration with what its files say now, if that is something else.
    pub config: Option<LbConfig>,
    /// What is doubtful about what is new, a line each.
    pub doubts: Vec<String>,
    /// What cannot be used, and stays as it was in the configuration, a line each; none that were told before.
    pub wrong: Vec<String>,
}

impl ServerFiles {
    /// Looks at the files of a configuration, beside the `lb.yaml` that it was read from, at this moment in seconds since 1970. Those
    /// of a backend that cannot be used hold up no other backend's.
    pub fn look(&mut self, config: &Arc<LbConfig>, file: &Path, now: i64) -> Renewal {
        let directory = directory(file);
        // Before they are read: what changes meanwhile is seen the next time.
        let stamp = Stamp::of_servers(config, &directory);
        if self.seen.as_ref().is_some_and(|(of, seen)| Arc::ptr_eq(of, config) && *seen == stamp) {
            return Renewal::default();
        }
        self.seen = Some((Arc::clone(config), stamp));
        let mut renewal = Renewal::default();
        let mut known: Vec<(Arc<ServerTls>, Arc<ServerTls>)> = Vec::new();
        let mut renewed = LbConfig::clone(config);
        for tls in renewed.backends.iter_mut().filter_map(|backend| backend.tls.as_mut()) {
            match known.iter().find(|(before, _)| Arc::ptr_eq(before, tls)) {
                Some((_, now)) => *tls = Arc::clone(now),
                None => {
                    let before = Arc::clone(tls);
                    *tls = reread(&before, &directory, now, &mut renewal);
                    known.push((before, Arc::clone(tls)));
                }
            }
        }
        if known.iter().any(|(before, now)| !Arc::ptr_eq(before, now)) {
            renewal.config = Some(renewed);
        }
        let before = std::mem::replace(&mut self.wrong, renewal.wrong.clone());
        renewal.wrong.retain(|line| !before.contains(line));
        renewal
    }
}

fn reread(before: &Arc<ServerTls>, directory: &Path, now: i64, renewal: &mut Renewal) -> Arc<ServerTls> {
    match read_servers(before, directory, now) {
        Ok((servers, _)) if before.servers.as_deref() == Some(&servers) => Arc::clone(before),
        Ok((servers, doubts)) => {
            renewal.doubts.extend(doubts.into_iter().map(Remark::into_line));
            Arc::new(ServerTls { servers: Some(Arc::new(servers)), ..ServerTls::clone(before) })
        }
        Err(faults) => {
            renewal.wrong.extend(faults.into_iter().map(Remark::into_line));
            Arc::clone(before)
        }
    }
}
