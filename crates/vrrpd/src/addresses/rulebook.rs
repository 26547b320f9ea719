//! The rules that are in force, and how many connections they are for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::kept_file;
use tokio::sync::watch;

use super::Counts;
use crate::net::connections;
use crate::net::rules::{self, Part, Rule};

/// A file that is there while rules are, and has them. On a machine without, nobody asks the kernel for what it may not even have loaded.
const FILE: &str = "vrrpd.rules";
/// Between two counts.
const COUNTED: Duration = Duration::from_secs(1);
/// How long rules of a run that crashed stay, in which other nodes say again what they keep.
const ADOPTED: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Rulebook {
    path: PathBuf,
    /// None: nobody knows.
    in_force: Option<Vec<Rule>>,
    /// Those of a run that crashed. They stay until others have had time to say again what they keep.
    inherited: Vec<Rule>,
    /// What the kernel did not take. It is not asked again for the same.
    refused: Option<Vec<Rule>>,
    adopted_until: Instant,
    count_at: Option<Instant>,
    counts: watch::Sender<Arc<BTreeMap<IpAddr, u64>>>,
}

impl Rulebook {
    pub(super) fn open(run_dir: &Path) -> Self {
        let path = run_dir.join(FILE);
        let in_force = match kept_file::read::<Vec<Rule>>(&path) {
            Ok(rules) => Some(rules.unwrap_or_default()),
            Err(error) => {
                tracing::warn!("rules for packets are set anew: {error:#}");
                None
            }
        };
        Self {
            path,
            inherited: in_force.clone().unwrap_or_default(),
            in_force,
            refused: None,
            adopted_until: Instant::now() + ADOPTED,
            count_at: None,
            counts: watch::Sender::default(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.subscribe()
    }

    /// When to be asked again.
    pub(super) fn next(&self) -> Option<Instant> {
        let adopted_until = (!self.inherited.is_empty()).then_some(self.adopted_until);
        self.count_at.into_iter().chain(adopted_until).min()
    }

    /// Has these rules in force before addresses change. What was in force for others stays: as long as they are here, nothing is reset that is
    /// still passed on to them. Whether they are.
    pub(super) fn prepare<'a>(&mut self, wished: impl Iterator<Item = &'a Rule>) -> bool {
        let mut rules: Vec<Rule> = wished.cloned().collect();
        let is_other = |old: &&Rule| !rules.iter().any(|rule| rule.address == old.address);
        let others: Vec<Rule> = self.in_force.iter().flatten().filter(is_other).cloned().collect();
        rules.extend(others);
        self.set(rules.iter())
    }

    /// Has these rules in force from now on, and no others. Whether they are.
    pub(super) fn set<'a>(&mut self, wished: impl Iterator<Item = &'a Rule>) -> bool {
        let mut wished: Vec<Rule> = wished.cloned().collect();
        if Instant::now() >= self.adopted_until {
            self.inherited.clear();
        }
        let is_new = |old: &&Rule| !wished.iter().any(|rule| rule.address == old.address);
        let inherited: Vec<Rule> = self.inherited.iter().filter(is_new).cloned().collect();
        wished.extend(inherited);
        if self.refused.as_ref() == Some(&wished) {
            return false;
        }
        // Those that are new are counted at once.
        let is_new = self.in_force.as_ref() != Some(&wished);
        let counted = self.count_at.filter(|_| !is_new).or_else(|| Some(Instant::now()));
        self.count_at = counted.filter(|_| kept(&wished).next().is_some());
        if !is_new {
            return true;
        }
        if let Err(error) = self.put(&wished) {
            tracing::error!(%error, "cannot set rules for packets, so connections break when addresses move");
            self.counts.send_replace(Arc::new(kept(&wished).map(|address| (address, 0)).collect()));
            self.refused = Some(wished);
            self.count_at = None;
            return false;
        }
        self.refused = None;
        self.in_force = Some(wished);
        true
    }

    /// Counts the connections that are kept, if it is time to.
    pub(super) fn count(&mut self) {
        let now = Instant::now();
        if self.count_at.is_none_or(|at| at > now) {
            return;
        }
        let kept: Vec<IpAddr> = kept(self.in_force.iter().flatten()).collect();
        self.count_at = (!kept.is_empty()).then_some(now + COUNTED);
        match connections::count(&kept) {
            Ok(counts) => _ = self.counts.send_replace(Arc::new(counts)),
            Err(error) => tracing::warn!(%error, "cannot count connections"),
        }
    }

    fn put(&self, wished: &[Rule]) -> io::Result<()> {
        if !wished.is_empty() {
            kept_file::write(&self.path, &wished)?;
        }
        rules::set(wished)?;
        if wished.is_empty() { remove(&self.path) } else { Ok(()) }
    }
}

/// Removes what a vrrpd has left that is not coming back. Whether there was something.
pub(super) fn withdraw(run_dir: &Path) -> io::Result<bool> {
    let path = run_dir.join(FILE);
    let is_there = path.exists();
    if is_there {
        rules::set(&[])?;
        remove(&path)?;
    }
    Ok(is_there)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn kept<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> impl Iterator<Item = IpAddr> {
    rules.into_iter().filter(|rule| matches!(rule.part, Part::Keeps { .. })).map(|rule| rule.address)
}
