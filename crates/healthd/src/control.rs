//! healthd's end of its socket: requests as JSON, and commands as text.

use std::sync::Arc;

use daemon::serve::{self, Own};
use wire::human::part;
use wire::server::Handler;
use wire::text::DENIED;
use wire::topic::Feed;
use wire::{Answer, DaemonHello, Ping, Refusal, RefusalCode, Request, TopicName};

use crate::app::Daemon;
use crate::view::text;

/// Answers the clients of the socket.
pub(crate) struct Control {
    daemon: Arc<Daemon>,
}

impl Control {
    /// Answers for `daemon`.
    pub(crate) fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon }
    }
}

impl Handler for Control {
    fn hello(&self) -> DaemonHello {
        self.daemon.life().hello()
    }

    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        let fleet = self.daemon.fleet();
        match request {
            Request::Info => Ok(Answer::Info(self.daemon.info())),
            Request::Verdicts => Ok(Answer::Verdicts(fleet.verdicts())),
            Request::Resolvers => Ok(Answer::Resolvers(fleet.resolutions())),
            Request::Observe { observations } => {
                let known = fleet.observe(&observations);
                Ok(Answer::Done(format!(
                    "checked soon: {}",
                    part(known, observations.len(), "observed server")
                )))
            }
            Request::AdminStates { servers } => {
                let known = fleet.note_admin_states(&servers);
                Ok(Answer::Done(format!("noted: {}", part(known, servers.len(), "server"))))
            }
            Request::Reload => {
                let done = serve::reload(&self.daemon).await.map(Answer::Done);
                done.map_err(|why| Refusal::new(RefusalCode::Failed, why))
            }
            other => Err(Refusal::not_for("healthd", &other)),
        }
    }

    fn feed(&self, topic: TopicName) -> Option<Arc<dyn Feed>> {
        (topic == TopicName::Verdicts).then(|| self.daemon.fleet().feed())
    }

    fn ping(&self) -> Ping {
        self.daemon.ping()
    }

    async fn command(&self, command: &str, privileged: bool) -> String {
        match command {
            "reload" if !privileged => DENIED.to_owned(),
            "reload" => match serve::reload(&self.daemon).await {
                Ok(text) | Err(text) => format!("{text}\n"),
            },
            _ => text::answer(command, &self.daemon.seen()),
        }
    }
}
