//! The election's thread: one task for each instance, one that watches interfaces, one that takes orders.

mod complaints;
mod driver;
mod place;
mod settings;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use config::Instance;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::addresses::{Addresses, Hold, Links, Wish};
use crate::board::Board;
use crate::notify::Told;
use crate::order::{Order, Release};
use driver::{Command, Driver, Shared};
pub(crate) use place::{find, virtual_addresses};

/// Orders that may wait for an instance.
const COMMANDS: usize = 64;

/// Runs all elections until [`Order::Stop`], or until nobody can give orders any more. `ready` is told when rtnetlink is
/// open and every instance has looked for its interface, or why not.
pub fn run(
    instances: Vec<Instance>,
    board: Arc<Board>,
    run_dir: &Path,
    orders: mpsc::Receiver<Order>,
    hooks: mpsc::Sender<Told>,
    ready: oneshot::Sender<anyhow::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody listens only if the daemon has ended.
            let _ = ready.send(Err(error).context("cannot start the election's runtime"));
            return;
        }
    };
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        match Elections::open(board, run_dir, hooks).await {
            Ok(mut elections) => {
                elections.apply(instances).await;
                let _ = ready.send(Ok(()));
                elections.obey(orders).await;
            }
            Err(error) => _ = ready.send(Err(error)),
        }
    });
}

struct Elections {
    shared: Rc<Shared>,
    links: Links,
    instances: BTreeMap<String, mpsc::Sender<Command>>,
}

impl Elections {
    async fn open(board: Arc<Board>, run_dir: &Path, hooks: mpsc::Sender<Told>) -> anyhow::Result<Self> {
        let (addresses, links) = Addresses::start(board.clone(), run_dir).await?;
        let shared = Rc::new(Shared { addresses, board, hooks, epoch: Instant::now() });
        Ok(Self { shared, links, instances: BTreeMap::new() })
    }

    async fn obey(&mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Tracker { instance, tracker, good, text } => {
                    self.tell(&instance, Command::Tracker { tracker, good, text }).await;
                }
                Order::Reload { instances, done } => {
                    for end in self.apply(instances).await {
                        // One that has ended has nothing to apply.
                        let _ = end.await;
                    }
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                Order::Release { instances, done } => {
                    let released = self.release(instances).await;
                    // Successors take their time, in which reports have to come through.
                    spawn_local(async move {
                        let mut outcomes = Vec::new();
                        for (instance, outcome) in released {
                            if let Ok(Some(kept)) = outcome.await {
                                outcomes.push(Release { instance, kept });
                            }
                        }
                        let _ = done.send(outcomes);
                    });
                }
                Order::Settle { done } => {
                    self.settle().await;
                    let _ = done.send(());
                }
                Order::Stop { done } => {
                    self.stop(|_| true).await;
                    let _ = done.send(());
                    return;
                }
            }
        }
        self.stop(|_| true).await;
    }

    /// Brings the instances in line with what is configured. Those that go on tell when they have taken it over.
    async fn apply(&mut self, instances: Vec<Instance>) -> Vec<oneshot::Receiver<()>> {
        self.stop(|name| !instances.iter().any(|instance| instance.name == name)).await;
        let names: Vec<Instance> = instances.clone();
        self.keep(&instances);
        let mut waiting = Vec::new();
        for instance in instances {
            if self.instances.contains_key(&instance.name) {
                let (done, applied) = oneshot::channel();
                let name = instance.name.clone();
                self.tell(&name, Command::Reload { config: Box::new(instance), done }).await;
                waiting.push(applied);
            } else {
                let (commands, receiver) = mpsc::channel(COMMANDS);
                self.instances.insert(instance.name.clone(), commands);
                let (told, hook) = watch::channel(None);
                // Nobody listens only where vrrpd ends.
                let _ = self.shared.hooks.send(hook).await;
                let driver = Driver::new(self.shared.clone(), instance, self.links.clone(), told);
                spawn_local(driver.run(receiver));
            }
        }
        self.shared.board.retain(&names);
        waiting
    }

    /// What a run that crashed has left of a new instance's addresses stays until its election has begun.
    fn keep(&self, instances: &[Instance]) {
        let links = self.links.borrow().clone();
        let new = instances.iter().filter(|instance| !self.instances.contains_key(&instance.name));
        let wishes = new.filter_map(|instance| {
            let (_, site) = find(instance, &links, None).ok()?;
            Some((instance.name.clone(), Wish::new(instance, site.index, Hold::Keep)))
        });
        self.shared.addresses.wish(wishes.map(|(name, wish)| (name, Some(wish))));
    }

    /// Has instances leave mastership. Each tells what became of it.
    async fn release(&self, instances: Vec<String>) -> Vec<(String, oneshot::Receiver<Option<bool>>)> {
        let mut released = Vec::new();
        for instance in instances {
            let (done, outcome) = oneshot::channel();
            self.tell(&instance, Command::Release { done }).await;
            released.push((instance, outcome));
        }
        released
    }

    async fn settle(&self) {
        for commands in self.instances.values() {
            let (done, settled) = oneshot::channel();
            if commands.send(Command::Settle { done }).await.is_ok() {
                // One that has ended has settled.
                let _ = settled.await;
            }
        }
    }

    async fn stop(&mut self, which: impl Fn(&str) -> bool) {
        let mut ends = Vec::new();
        for (name, commands) in &self.instances {
            if which(name) {
                let (done, end) = oneshot::channel();
                // One that has ended holds nothing.
                let _ = commands.send(Command::Stop { done }).await;
                ends.push(end);
            }
        }
        for end in ends {
            let _ = end.await;
        }
        self.instances.retain(|name, _| !which(name));
    }

    async fn tell(&self, instance: &str, command: Command) {
        if let Some(commands) = self.instances.get(instance) {
            // A task that has ended takes no reports.
            let _ = commands.send(command).await;
        }
    }
}
