//! vrrpd's end of its socket: requests as JSON, and commands as text.

use std::sync::Arc;

use daemon::serve::{self, Own};
use wire::server::Handler;
use wire::text::DENIED;
use wire::topic::Feed;
use wire::{Answer, DaemonHello, Ping, Refusal, RefusalCode, Request, TopicName};

use crate::app::Daemon;
use crate::view::text::{self, Asked};

/// Answers the clients of the socket.
#[derive(Debug)]
pub(crate) struct Control {
    daemon: Arc<Daemon>,
}

impl Control {
    /// Answers for `daemon`.
    pub(crate) fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon }
    }

    /// Does what is begun, even if whoever asked goes away.
    async fn hand_over(&self, which: Option<String>) -> Result<String, String> {
        let daemon = self.daemon.clone();
        let handover = tokio::spawn(async move { daemon.hand_over(which).await });
        handover.await.unwrap_or_else(|_| Err("vrrpd is stopping".to_owned()))
    }
}

impl Handler for Control {
    fn hello(&self) -> DaemonHello {
        self.daemon.life().hello()
    }

    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        let done = |outcome: Result<String, String>| {
            outcome.map(Answer::Done).map_err(|why| Refusal::new(RefusalCode::Failed, why))
        };
        match request {
            Request::Info => Ok(Answer::Info(self.daemon.info())),
            Request::Instances => Ok(Answer::Instances(self.daemon.statuses())),
            Request::Anycast => Ok(Answer::Anycast(self.daemon.services())),
            Request::Handover { instance } => done(self.hand_over(instance).await),
            Request::Announce { service } => done(self.daemon.announce(service).await),
            Request::Reload => done(serve::reload(&self.daemon).await),
            other => Err(Refusal::not_for("vrrpd", &other)),
        }
    }

    fn feed(&self, topic: TopicName) -> Option<Arc<dyn Feed>> {
        match topic {
            TopicName::Instances => Some(self.daemon.board().topic()),
            TopicName::Anycast => Some(self.daemon.board().services_topic()),
            TopicName::Verdicts | TopicName::Liveness => None,
        }
    }

    fn ping(&self) -> Ping {
        Ping::default()
    }

    async fn command(&self, command: &str, privileged: bool) -> String {
        let line = |outcome: Result<String, String>| match outcome {
            Ok(text) | Err(text) => format!("{text}\n"),
        };
        let (instances, services) = (self.daemon.statuses(), self.daemon.services());
        match text::answer(command, &self.daemon.info(), &instances, &services) {
            Asked::Answered(text) => text,
            Asked::Handover(_) | Asked::Announce(_) | Asked::Reload if !privileged => DENIED.to_owned(),
            Asked::Handover(instance) => line(self.hand_over(instance).await),
            Asked::Announce(service) => line(self.daemon.announce(service).await),
            Asked::Reload => line(serve::reload(&self.daemon).await),
        }
    }
}
