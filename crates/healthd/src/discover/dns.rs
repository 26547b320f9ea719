//! What is asked of name servers for servers, and what their records say.
//!
//! A denial is an answer that names nobody, if a name server gives it that named somebody last; whatever else goes wrong is none, and
//! changes nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use balance::{BackupLevel, Weight};
use config::{Host, Member, ServerAddress};
use membership::{Answer, ranked};

use super::file::Watched;
use crate::resolve::{Names, Outcome, Service};

/// Who is asked.
pub(super) enum Asked {
    File(Watched),
    Name(Question),
}

/// What name servers are asked, again and again.
pub(super) struct Question {
    name: String,
    /// The port of addresses; none where services are asked for.
    port: Option<u16>,
    /// How many in a row have failed.
    failures: u32,
    /// The addresses that were told last, of each family.
    families: [Vec<IpAddr>; 2],
    /// The name servers that knew the name last.
    known_by: BTreeSet<SocketAddr>,
}

/// What came of it.
pub(super) enum Records {
    /// Nothing new.
    Same,
    Answer(Answer<String, Said>),
    Failed(String),
}

/// What is said of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    member: Member,
    /// Its priority and weight in a record: what they come to depends on the others'.
    record: Option<(u16, u16)>,
}

impl Question {
    /// The services of a name.
    pub(super) fn services(name: &str) -> Self {
        Self::new(name, None)
    }

    /// The addresses of a name, each with this port.
    pub(super) fn addresses(name: &str, port: u16) -> Self {
        Self::new(name, Some(port))
    }

    fn new(name: &str, port: Option<u16>) -> Self {
        let (families, known_by) = ([Vec::new(), Vec::new()], BTreeSet::new());
        Self { name: name.to_owned(), port, failures: 0, families, known_by }
    }

    /// Asks. Also when to ask again.
    pub(super) async fn ask(&mut self, names: &Names) -> (Records, Duration) {
        let (records, again) = match self.port {
            Some(port) => {
                let (outcome, again) = names.addresses(&self.name, self.failures).await;
                (self.settle(outcome, |question, families| question.at_addresses(families, port)), again)
            }
            None => {
                let (outcome, again) = names.services(&self.name, self.failures).await;
                (self.settle(outcome, |_, services| at_services(services)), again)
            }
        };
        self.failures =
            if matches!(records, Records::Failed(_)) { self.failures.saturating_add(1) } else { 0 };
        (records, again)
    }

    fn settle<T>(
        &mut self,
        outcome: Outcome<T>,
        named: impl FnOnce(&mut Self, T) -> Vec<(String, Said)>,
    ) -> Records {
        match outcome {
            Outcome::Found { found, by, truncated } => {
                self.known_by = by;
                Records::Answer(Answer { named: named(self, found), cut_off: truncated })
            }
            Outcome::Failed { text, denied_by, asked } => {
                // Of servers that are not asked any more nothing can be expected.
                let mut knew = self.known_by.intersection(&asked).peekable();
                let mut counts = |by: &BTreeSet<SocketAddr>| {
                    knew.peek().is_none() || knew.any(|server| by.contains(server))
                };
                match denied_by {
                    Some(by) if counts(&by) => {
                        self.families = [Vec::new(), Vec::new()];
                        Records::Answer(Answer { named: Vec::new(), cut_off: false })
                    }
                    _ => Records::Failed(text),
                }
            }
        }
    }

    /// A family that nobody answered for is as it was.
    fn at_addresses(&mut self, families: [Option<Vec<IpAddr>>; 2], port: u16) -> Vec<(String, Said)> {
        for (held, family) in self.families.iter_mut().zip(families) {
            if let Some(addresses) = family {
                *held = addresses;
            }
        }
        let address = |ip: &IpAddr| Said::of(Member::at(ServerAddress { host: Host::Ip(*ip), port })).named();
        self.families.iter().flatten().map(address).collect()
    }
}

/// Lower priorities first: they are preferred where there are too many.
fn at_services(mut services: Vec<Service>) -> Vec<(String, Said)> {
    services.sort_unstable();
    let said = |service: Service| {
        let Service { priority, weight, target, port } = service;
        let address: ServerAddress = format!("{target}:{port}").parse().ok()?;
        let server_name = matches!(address.host, Host::Name(_)).then_some(target);
        let member = Member { server_name, ..Member::at(address) };
        Some(Said { member, record: Some((priority, weight)) }.named())
    };
    services.into_iter().filter_map(said).collect()
}

impl Said {
    /// What needs no comparison.
    pub(super) const fn of(member: Member) -> Self {
        Self { member, record: None }
    }

    pub(super) fn named(self) -> (String, Self) {
        (self.member.name.clone(), self)
    }

    /// The members that all of this comes to.
    pub(super) fn members<'s>(all: impl Iterator<Item = (&'s String, &'s Self)>) -> Vec<Member> {
        let all: Vec<&Self> = all.map(|(_, said)| said).collect();
        let records: Vec<(u16, u16)> = all.iter().filter_map(|said| said.record).collect();
        let mut ranks = ranked(&records).into_iter();
        let member = |said: &Self| {
            let member = said.member.clone();
            match said.record.and_then(|_| ranks.next()) {
                Some(rank) => {
                    let level = u8::try_from(rank.rank).unwrap_or(u8::MAX);
                    Member { weight: Weight::new(rank.weight), backup: BackupLevel::new(level), ..member }
                }
                None => member,
            }
        };
        all.into_iter().map(member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, target: &str) -> Service {
        Service { priority, weight, target: target.to_owned(), port: 8080 }
    }

    #[test]
    fn records_become_servers_with_ranks_and_weights() {
        let records = vec![
            service(20, 5, "c.test"),
            service(10, 60, "a.test"),
            service(10, 20, "b.test"),
            service(10, 20, "not a host"),
            service(5, 1, "a.test"),
        ];
        let named = at_services(records);
        let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.test:8080", "b.test:8080", "a.test:8080", "c.test:8080"], "the first counts");
        let members = Said::members(named.iter().skip(1).map(|(name, said)| (name, said)));
        let said = |member: &Member| {
            let level = member.backup.map_or(0, BackupLevel::get);
            (member.name.clone(), level, member.weight.map(Weight::get), member.server_name.clone())
        };
        let expected =
            |host: &str, level, weight| (format!("{host}:8080"), level, Some(weight), Some(host.to_owned()));
        let all: Vec<_> = members.iter().map(said).collect();
        assert_eq!(all, [expected("b.test", 0, 1), expected("a.test", 0, 3), expected("c.test", 1, 1)]);
    }

    #[test]
    fn a_denial_is_an_answer_by_who_knew_the_name_alone() {
        let server = |number: u8| SocketAddr::from(([192, 0, 2, number], 53));
        let mut question = Question::addresses("app.test", 80);
        let found = |question: &mut Question, families| {
            let outcome = Outcome::Found { found: families, by: [server(1)].into(), truncated: false };
            question.settle(outcome, |question, families| question.at_addresses(families, 80))
        };
        let denied = |question: &mut Question, by: &[u8]| {
            let by = (!by.is_empty()).then(|| by.iter().map(|number| server(*number)).collect());
            let asked = [server(1), server(2)].into();
            let outcome = Outcome::<()>::Failed { text: "why".to_owned(), denied_by: by, asked };
            question.settle(outcome, |_, ()| Vec::new())
        };
        let names = |records: Records| match records {
            Records::Answer(answer) => answer.named.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            Records::Failed(why) => vec![why],
            Records::Same => Vec::new(),
        };
        let v4: Vec<IpAddr> = vec!["10.9.0.1".parse().unwrap()];
        let v6: Vec<IpAddr> = vec!["fd00::1".parse().unwrap()];
        let both = ["10.9.0.1:80", "[fd00::1]:80"];
        assert_eq!(names(found(&mut question, [Some(v4.clone()), Some(v6)])), both);
        assert_eq!(names(found(&mut question, [Some(v4.clone()), None])), both, "nobody answered for IPv6");
        assert_eq!(names(found(&mut question, [Some(v4), Some(Vec::new())])), ["10.9.0.1:80"]);
        assert_eq!(names(denied(&mut question, &[])), ["why"]);
        assert_eq!(names(denied(&mut question, &[2])), ["why"]);
        assert!(names(denied(&mut question, &[1, 2])).is_empty());
    }
}
