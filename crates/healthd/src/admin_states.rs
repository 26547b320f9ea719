//! What operators want of servers, as lbd tells it. An lbd that is gone or hangs tells nothing, and what it told is soon
//! forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use balance::AdminState;
use health::Moment;

use crate::record::ServerKey;

/// What was told counts for so long: lbd tells all of it again every second.
const COUNTS: Duration = Duration::from_secs(3);

/// The servers that are not `ready`, and when that was told.
#[derive(Debug, Default)]
pub(crate) struct AdminStates(Mutex<HashMap<ServerKey, (AdminState, Moment)>>);

impl AdminStates {
    /// What lbd has just told of servers. Whatever it does not tell of stays as it was told.
    pub(crate) fn hear(&self, told: impl IntoIterator<Item = (ServerKey, AdminState)>, now: Moment) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (server, state) in told {
            match state {
                AdminState::Ready => _ = states.remove(&server),
                AdminState::Drain | AdminState::Maint => _ = states.insert(server, (state, now)),
            }
        }
        states.retain(|_, (_, at)| counts(*at, now));
    }

    /// The servers that are not `ready`.
    pub(crate) fn at(&self, now: Moment) -> HashMap<ServerKey, AdminState> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living = states.iter().filter(|(_, (_, at))| counts(*at, now));
        living.map(|(server, (state, _))| (server.clone(), *state)).collect()
    }
}

fn counts(told: Moment, now: Moment) -> bool {
    now.saturating_sub(told) <= COUNTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_counts_until_it_is_taken_back_or_told_no_more() {
        let at = Duration::from_secs;
        let key = |server: &str| ServerKey::from(("app".into(), server.into()));
        let states = AdminStates::default();
        states.hear([(key("s1"), AdminState::Drain), (key("s2"), AdminState::Maint)], at(10));
        states.hear([(key("s2"), AdminState::Ready), (key("s3"), AdminState::Ready)], at(11));
        assert_eq!(states.at(at(13)), [(key("s1"), AdminState::Drain)].into());
        assert_eq!(states.at(at(14)), HashMap::new(), "lbd is gone");
        states.hear([], at(14));
        assert!(states.0.lock().unwrap().is_empty());
    }
}
