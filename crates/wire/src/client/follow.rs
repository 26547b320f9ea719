//! A subscription that is made again whenever it is lost.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use super::{Client, ClientError, PINGS_MISSED, Subscription, Update};
use crate::{DaemonHello, TopicName};

/// How long to wait before connecting again: from the first to the second, a quarter longer each time. So whoever starts at
/// the same time is found soon after it is there.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What a follower tells.
#[derive(Debug)]
pub enum News {
    /// Connected to a daemon; a snapshot follows.
    Connected(DaemonHello),
    /// The subscription tells something.
    Update(Update),
    /// The daemon is gone, for this reason. Told once, however often connecting fails after it.
    Disconnected(ClientError),
}

/// Follows a topic for ever: connects, subscribes, and begins again when the daemon goes away.
pub struct Follower {
    path: PathBuf,
    name: String,
    topic: TopicName,
    ping: Duration,
    /// A silence after which the daemon counts as dead.
    patience: Duration,
    stage: Stage,
    backoff: Duration,
    told: bool,
}

/// Connecting is kept between calls like a subscription is, so that a caller that stops waiting loses no progress.
enum Stage {
    Connecting(Pin<Box<dyn Future<Output = Result<Subscription, ClientError>> + Send>>),
    Following(Subscription),
}

impl Follower {
    /// Follows `topic` at the socket `path` as `name`, with a ping wanted every `ping`. Where three are missing the daemon counts
    /// as dead.
    pub fn new(path: &Path, name: &str, topic: TopicName, ping: Duration) -> Self {
        let (path, name) = (path.to_owned(), name.to_owned());
        let stage = connect(&path, &name, topic, ping, Duration::ZERO);
        let patience = ping.saturating_mul(PINGS_MISSED);
        Self { path, name, topic, ping, patience, stage, backoff: BACKOFF.0, told: false }
    }

    /// Another silence after which the daemon counts as dead.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The daemon's process, while there is a connection, and where this process can see it.
    pub fn pid(&self) -> Option<i32> {
        match &self.stage {
            Stage::Connecting(_) => None,
            Stage::Following(subscription) => subscription.pid(),
        }
    }

    /// Leaves the daemon that is followed for the one that has its place by now. That the connection ends is no news.
    pub fn again(&mut self) {
        self.backoff = BACKOFF.0;
        self.stage = connect(&self.path, &self.name, self.topic, self.ping, self.backoff);
    }

    /// The next news. Cancel safe. Nothing happens between calls: who stops calling misses that the daemon is gone.
    pub async fn next(&mut self) -> News {
        loop {
            let error = match &mut self.stage {
                Stage::Connecting(attempt) => match attempt.await {
                    Ok(subscription) => {
                        let hello = subscription.daemon().clone();
                        self.stage = Stage::Following(subscription.with_patience(self.patience));
                        self.told = false;
                        return News::Connected(hello);
                    }
                    Err(error) => error,
                },
                Stage::Following(subscription) => match subscription.next().await {
                    Ok(update) => {
                        self.backoff = BACKOFF.0;
                        return News::Update(update);
                    }
                    Err(error) => error,
                },
            };
            self.stage = connect(&self.path, &self.name, self.topic, self.ping, self.backoff);
            self.backoff = (self.backoff * 5 / 4).min(BACKOFF.1);
            if !self.told {
                self.told = true;
                return News::Disconnected(error);
            }
        }
    }
}

fn connect(path: &Path, name: &str, topic: TopicName, ping: Duration, delay: Duration) -> Stage {
    let (path, name) = (path.to_owned(), name.to_owned());
    Stage::Connecting(Box::pin(async move {
        tokio::time::sleep(delay).await;
        Client::connect(&path, &name).await?.subscribe(topic, ping).await
    }))
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("path", &self.path)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
