//! The election's thread: one task for each instance and each anycast service, one that watches interfaces, one that takes orders.

mod complaints;
mod driver;
mod members;
mod place;
mod settings;

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use config::{Anycast, Instance};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::addresses::{Addresses, Hold, Links, Wish};
use crate::board::Board;
use crate::net::rules;
use crate::notify::Told;
use crate::order::{Notice, Order, Release};
use crate::services;
use driver::Driver;
pub(crate) use driver::{REPORTS, Shared, follow_notify};
pub(crate) use members::Command;
use members::Members;
pub(crate) use place::{find, virtual_addresses};
pub(crate) use settings::INTERFACE;

/// Runs all elections until [`Order::Stop`], or until nobody can give orders any more. `ready` is told when rtnetlink is
/// open and every instance has looked for its interface, or why not.
pub fn run(
    configured: (Vec<Instance>, Vec<Anycast>),
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
                elections.apply(configured.0, configured.1).await;
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
    instances: Members<driver::Order>,
    services: Members<services::Order>,
    /// Whether it was tried that connections can be kept, and they can.
    can_keep: bool,
}

impl Elections {
    async fn open(board: Arc<Board>, run_dir: &Path, hooks: mpsc::Sender<Told>) -> anyhow::Result<Self> {
        let (addresses, links) = Addresses::start(board.clone(), run_dir).await?;
        let shared = Rc::new(Shared { addresses, board, hooks, epoch: Instant::now() });
        Ok(Self { shared, links, instances: Members::new(), services: Members::new(), can_keep: false })
    }

    async fn obey(&mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Tracker { owner, tracker, report, text } if self.services.has(&owner) => {
                    self.services.tell(&owner, Command::Tracker { tracker, report, text }).await;
                }
                Order::Tracker { owner, tracker, report, text } => {
                    self.instances.tell(&owner, Command::Tracker { tracker, report, text }).await;
                }
                Order::Reload { instances, services, done } => {
                    for end in self.apply(instances, services).await {
                        // One that has ended has nothing to apply.
                        let _ = end.await;
                    }
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                Order::Release { instances, done } => {
                    let mut released = Vec::new();
                    for instance in instances {
                        let order = |done| driver::Order::Release { done };
                        let outcome = self.instances.ask(&instance, order).await;
                        released.push((instance, outcome));
                    }
                    // Successors take their time, in which reports have to come through.
                    spawn_local(async move {
                        let outcomes = answers(released).await.into_iter();
                        let known =
                            outcomes.filter_map(|(instance, kept)| Some(Release { instance, kept: kept? }));
                        let _ = done.send(known.collect());
                    });
                }
                Order::Withdraw { services: which, done } => {
                    let mut withdrawn = Vec::new();
                    for service in which {
                        let order = |done| services::Order::Withdraw { done };
                        let outcome = self.services.ask(&service, order).await;
                        withdrawn.push((service, outcome));
                    }
                    let outcomes = answers(withdrawn).await.into_iter();
                    let announced = outcomes.filter_map(|(service, was)| was.then_some(service));
                    let _ = done.send(announced.collect());
                }
                Order::Announce { services: which, done } => {
                    let mut states = Vec::new();
                    for service in which {
                        let order = |done| services::Order::Announce { done };
                        let outcome = self.services.ask(&service, order).await;
                        states.push((service, outcome));
                    }
                    let _ = done.send(answers(states).await);
                }
                Order::Settle { done } => {
                    self.instances.settle().await;
                    self.services.settle().await;
                    let _ = done.send(());
                }
                Order::Stop { done } => {
                    self.stop().await;
                    let _ = done.send(());
                    return;
                }
            }
        }
        self.stop().await;
    }

    /// Brings instances and services in line with what is configured. Those that go on tell when they have taken it over.
    async fn apply(
        &mut self,
        mut instances: Vec<Instance>,
        services: Vec<Anycast>,
    ) -> Vec<oneshot::Receiver<()>> {
        self.keep_what_can_be_kept(&mut instances);
        let is_instance = names(instances.iter().map(|one| &one.name));
        let is_service = names(services.iter().map(|one| &one.name));
        self.instances.stop(|name| !is_instance(name)).await;
        self.services.stop(|name| !is_service(name)).await;
        self.keep(&instances, &services);
        let mut waiting = Vec::new();
        for instance in instances {
            let name = instance.name.clone();
            if self.instances.has(&name) {
                let order = |done| driver::Order::Reload { config: Box::new(instance), done };
                waiting.push(self.instances.ask(&name, order).await);
            } else {
                let commands = self.instances.add(&name);
                let told = self.hook().await;
                let driver = Driver::new(self.shared.clone(), instance, self.links.clone(), told);
                spawn_local(driver.run(commands));
            }
        }
        for service in services {
            let name = service.name.clone();
            if self.services.has(&name) {
                let order = |done| services::Order::Reload { config: service, done };
                waiting.push(self.services.ask(&name, order).await);
            } else {
                let commands = self.services.add(&name);
                let told = self.hook().await;
                let driver = services::Driver::new(self.shared.clone(), service, self.links.clone(), told);
                spawn_local(driver.run(commands));
            }
        }
        self.shared.board.retain(is_instance, is_service);
        waiting
    }

    /// Without the means in the kernel, or the right to use them, a handover is as if nothing were configured. A reload asks again: a
    /// module may have been loaded.
    fn keep_what_can_be_kept(&mut self, instances: &mut [Instance]) {
        if self.can_keep || instances.iter().all(|instance| instance.keep_connections.is_none()) {
            return;
        }
        match rules::probe() {
            Ok(()) => self.can_keep = true,
            Err(lack) => {
                tracing::warn!(
                    "keep_connections has no effect, so connections break when addresses move: {lack}"
                );
                instances.iter_mut().for_each(|instance| instance.keep_connections = None);
            }
        }
    }

    /// Where a new instance or service tells what its hook is to hear.
    async fn hook(&self) -> watch::Sender<Option<Notice>> {
        let (told, hook) = watch::channel(None);
        // Nobody listens only where vrrpd ends.
        let _ = self.shared.hooks.send(hook).await;
        told
    }

    /// What a run that crashed has left of the addresses of new ones stays until they have begun.
    fn keep(&self, instances: &[Instance], services: &[Anycast]) {
        let links = self.links.borrow().clone();
        let new = instances.iter().filter(|instance| !self.instances.has(&instance.name));
        let of_instances = new.filter_map(|instance| {
            let (_, site) = find(instance, &links, None).ok()?;
            Some((instance.name.clone(), Wish::new(instance, site.index, Hold::Keep)))
        });
        let new = services.iter().filter(|service| !self.services.has(&service.name));
        let of_services = new.filter_map(|service| {
            let link = links.iter().find(|link| link.name == service.interface)?;
            Some((service.name.clone(), Wish::of_service(service, link.index, Hold::Keep)))
        });
        let lo = driver::lo(&links);
        let new = instances.iter().filter(|instance| !self.instances.has(&instance.name));
        let kept = new.filter(|instance| instance.keep_connections.is_some()).filter_map(|instance| {
            let wish = Wish::for_kept(&driver::keepable(instance), lo?.index, Hold::Keep);
            Some((instance.name.clone(), wish))
        });
        self.shared.addresses.begin(of_instances.chain(of_services), kept);
    }

    async fn stop(&mut self) {
        self.instances.stop(|_| true).await;
        self.services.stop(|_| true).await;
    }
}

/// Whether a name is one of these.
fn names<'a>(names: impl Iterator<Item = &'a String>) -> impl Fn(&str) -> bool + 'static {
    let names: BTreeSet<String> = names.cloned().collect();
    move |name| names.contains(name)
}

/// What tasks have answered. One that has ended answers nothing.
async fn answers<T>(asked: Vec<(String, oneshot::Receiver<T>)>) -> Vec<(String, T)> {
    let mut answers = Vec::new();
    for (name, answer) in asked {
        if let Ok(answer) = answer.await {
            answers.push((name, answer));
        }
    }
    answers
}
