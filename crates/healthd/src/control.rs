//! healthd's end of its socket: requests as JSON, and commands as text.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wire::server::Handler;
use wire::topic::Feed;
use wire::{Answer, DaemonHello, Ping, Refusal, RefusalCode, Request, TopicName};

use crate::app::Daemon;
use crate::view::text;

/// Asks the main loop to reload; the outcome comes back: what was done, or why not.
pub(crate) type ReloadRequest = oneshot::Sender<Result<String, String>>;

/// Answers the clients of the socket.
pub(crate) struct Control {
    daemon: Arc<Daemon>,
    reloads: mpsc::Sender<ReloadRequest>,
}

impl Control {
    /// Answers for `daemon`, and asks for reloads through `reloads`.
    pub(crate) fn new(daemon: Arc<Daemon>, reloads: mpsc::Sender<ReloadRequest>) -> Self {
        Self { daemon, reloads }
    }

    async fn reload(&self) -> Result<Answer, Refusal> {
        let failed = |message: String| Refusal { code: RefusalCode::Failed, message };
        let (sender, outcome) = oneshot::channel();
        let stopping = || failed("healthd is stopping".to_owned());
        self.reloads.send(sender).await.map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?.map(Answer::Done).map_err(failed)
    }
}

impl Handler for Control {
    fn hello(&self) -> DaemonHello {
        self.daemon.hello()
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
                    "{known} of {} observed servers are checked soon",
                    observations.len()
                )))
            }
            Request::Reload => self.reload().await,
            other => Err(Refusal::not_for("healthd", &other)),
        }
    }

    fn feed(&self, topic: TopicName) -> Option<Arc<dyn Feed>> {
        (topic == TopicName::Verdicts).then(|| self.daemon.fleet().feed())
    }

    fn ping(&self) -> Ping {
        Ping::default()
    }

    async fn command(&self, command: &str, _privileged: bool) -> String {
        text::answer(command, &self.daemon.seen())
    }
}
