//! Who has an address, as the kernels of the hosts say.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Netns;
use crate::wait::wait_until;

/// Whether a host has an address on an interface that is up.
///
/// # Panics
/// Without `ip`.
pub fn has_address(host: &str, address: IpAddr) -> bool {
    // Interfaces that are administratively or protocol-wise down have nothing to do with the network: FRR leaves its
    // addresses on those.
    let output = Command::new("ip")
        .args(["-n", host, "-o", "address", "show", "up"])
        .output()
        .expect("ip is installed");
    let down = Command::new("ip").args(["-n", host, "-o", "link"]).output().expect("ip is installed");
    let down = String::from_utf8_lossy(&down.stdout).into_owned();
    let is_down = |interface: &str| {
        let name = format!(" {interface}");
        down.lines().any(|line| {
            let told = line.split(':').nth(1).and_then(|told| told.split('@').next());
            told == Some(&name) && line.contains("protodown on")
        })
    };
    String::from_utf8_lossy(&output.stdout).lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let interface = words.next().unwrap_or_default();
        let told = words.nth(1).and_then(|told| told.split('/').next()).unwrap_or_default();
        told.parse() == Ok(address) && !is_down(interface)
    })
}

/// Hosts of which one should have an address.
#[derive(Clone, Debug)]
pub struct Owners {
    hosts: Vec<String>,
    address: IpAddr,
}

impl Owners {
    /// Hosts, and the address that they share.
    pub fn new(hosts: &[&Netns], address: IpAddr) -> Self {
        Self { hosts: hosts.iter().map(|host| host.name().to_owned()).collect(), address }
    }

    /// Who has it now: numbers of hosts in the order given.
    pub fn now(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|host| has_address(&self.hosts[*host], self.address)).collect()
    }

    /// Waits until one host alone has it.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn wait_for(&self, host: usize) {
        wait_until(&format!("{} alone has {}", self.hosts[host], self.address), || self.now() == [host]);
    }

    /// One host alone has it for that long.
    ///
    /// # Panics
    /// When somebody else has it, or nobody.
    pub fn stay_with(&self, host: usize, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            assert_eq!(self.now(), [host], "only {} has {}", self.hosts[host], self.address);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Keeps looking from now on.
    pub fn watch(&self) -> RunningOwners {
        let owners = self.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Ownership { courses: Vec::new() };
            while !stopped.load(Relaxed) {
                // Hosts are asked one after the other: in between the address may have moved.
                seen.note(Some(owners.now()).filter(|now| now.len() < 2).unwrap_or_else(|| owners.now()));
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        RunningOwners { stop, thread }
    }
}

/// Somebody who keeps looking at who has an address.
#[derive(Debug)]
pub struct RunningOwners {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Ownership>,
}

impl RunningOwners {
    /// What was seen.
    ///
    /// # Panics
    /// When looking failed.
    pub fn stop(self) -> Ownership {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("it only looks")
    }
}

/// Who had an address over time.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// Owners, each time that they changed.
    pub courses: Vec<Vec<usize>>,
}

impl Ownership {
    fn note(&mut self, owners: Vec<usize>) {
        if self.courses.last() != Some(&owners) {
            self.courses.push(owners);
        }
    }

    /// At no time two hosts had it.
    ///
    /// # Panics
    /// When two had.
    pub fn assert_never_two(&self) {
        assert!(self.courses.iter().all(|owners| owners.len() < 2), "two owners at once: {:?}", self.courses);
    }
}
