//! The other node of a pair: which one it is, and what it says.

use std::time::Duration;

use crate::cli::StatusArgs;
use crate::failure::Failure;
use crate::peer::Peer;

use super::report::Report;

/// How long a node may take that nobody has asked for.
const GLANCE: Duration = Duration::from_secs(1);

/// The other node.
pub(crate) enum Other {
    /// None is wanted, or known.
    None,
    /// None is known, though one is wanted: why.
    Unknown(&'static str),
    /// It was heard, and its pages cannot be seen from here.
    Closed(String),
    /// What it says. Whether it has to answer.
    Seen(Box<Report>, bool),
}

impl Other {
    /// The node that the arguments name, or that vrrpd has heard last.
    pub(crate) async fn find(here: &Report, args: &StatusArgs) -> Self {
        if args.alone {
            return Self::None;
        }
        let named = args.peer.clone().flatten();
        let Some(host) = named.or_else(|| heard(here)) else {
            return match (&args.peer, &here.vrrpd) {
                (None, _) => Self::None,
                (_, Some(Ok(_))) => Self::Unknown(
                    "No other node has been heard since vrrpd's start, as backups are silent. Which one is meant? \
                     tandemctl status --peer HOST",
                ),
                _ => Self::Unknown(
                    "Without vrrpd no other node is known. Which one is meant? tandemctl status --peer HOST",
                ),
            };
        };
        let is_wanted = args.peer.is_some();
        let peer = match is_wanted {
            true => Peer::new(host, args.ports, args.user.clone()),
            // Whoever says by himself that he is a router is told no password.
            false => Peer::new(host, args.ports, None).within(GLANCE),
        };
        let report = Report::gather_from(&peer).await;
        match report.daemons().iter().any(|(_, info)| info.is_ok()) || is_wanted {
            true => Self::Seen(Box::new(report), is_wanted),
            false => Self::Closed(report.host.unwrap_or_default()),
        }
    }

    /// What it says.
    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Self::Seen(report, _) => Some(report),
            Self::None | Self::Unknown(_) | Self::Closed(_) => None,
        }
    }

    /// Failure if a daemon of a node that was asked for failed.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        match self {
            Self::Seen(report, true) => report.outcome(),
            _ => Ok(()),
        }
    }

    /// Why it is not shown.
    pub(crate) fn excuse(&self) -> Option<String> {
        match self {
            Self::Unknown(why) => Some((*why).to_owned()),
            Self::Closed(host) => Some(format!(
                "The other node, {host}, is not shown: it is off, or its pages are open to itself alone, or ask for a password. \
                 `tandemctl status --peer` says which, and what to do."
            )),
            Self::None | Self::Seen(..) => None,
        }
    }
}

/// The router that was heard last, with the interface that leads to it where the address needs one.
fn heard(here: &Report) -> Option<String> {
    let peers = here
        .instances()
        .iter()
        .flat_map(|instance| instance.peers.iter().map(|peer| (peer, instance.interface.as_deref())));
    let (peer, interface) = peers.min_by_key(|(peer, _)| peer.heard_ms)?;
    let zone = match (peer.address, interface) {
        (std::net::IpAddr::V6(address), Some(interface)) if address.is_unicast_link_local() => {
            format!("%{interface}")
        }
        _ => String::new(),
    };
    Some(format!("{}{zone}", peer.address))
}
