//! The programs that a `vrrp.yaml` names, judged by whoever is to run them.

use std::path::Path;

use crate::{Checked, Command, Content, Diagnostic, Severity, TrackTarget, Tracker};

impl Checked {
    /// An error for each program that may not be run. `judge` tells of one why not, and what to do. Only the node itself can do
    /// that.
    pub fn refused_programs(&self, judge: impl Fn(&Path) -> Result<(), (String, String)>) -> Vec<Diagnostic> {
        let Content::Vrrp(config) = &self.content else { return Vec::new() };
        let mut refused = Vec::new();
        let mut look = |path: &[&str], command: &Command| {
            let Some(program) = command.argv.first() else { return };
            if let Err((why, help)) = judge(Path::new(program)) {
                let message = format!("{program} is not run: {why}");
                refused.push(self.remark(Severity::Error, path, message, &help));
            }
        };
        let instances =
            config.instances.iter().map(|one| (["instances", &one.name], &one.track, &one.notify));
        let services = config.anycast.iter().map(|one| (["anycast", &one.name], &one.track, &one.notify));
        for (owner, track, notify) in instances.chain(services) {
            for (index, Tracker { target, .. }) in track.iter().enumerate() {
                if let TrackTarget::Command { command, .. } = target {
                    look(&[&owner[..], &["track", &index.to_string(), "command"]].concat(), command);
                }
            }
            if let Some(notify) = notify {
                look(&[&owner[..], &["notify", "command"]].concat(), &notify.command);
            }
        }
        refused
    }
}
