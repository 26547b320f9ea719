//! What was told of something that changes, so that it is told at a bounded rate: pure.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(30);

/// The state that was told last, and when. The first change is told at once; later ones at most once in a pause, with
/// everything that came about meanwhile.
#[derive(Debug)]
pub(crate) struct Told<T> {
    state: T,
    at: Option<Instant>,
}

impl<T: PartialEq> Told<T> {
    /// Nothing was told, which is as if this state had been.
    pub(crate) fn new(state: T) -> Self {
        Self { state, at: None }
    }

    /// When the state as it is now is to be told; none if it was.
    pub(crate) fn due(&self, state: &T, now: Instant) -> Option<Instant> {
        let differs = self.state != *state;
        differs.then(|| self.at.map_or(now, |at| now.max(at + PAUSE)))
    }

    /// If the state is to be told now, what was told before; from now on it counts as told.
    pub(crate) fn tell(&mut self, state: &T, now: Instant) -> Option<T>
    where
        T: Clone,
    {
        if self.due(state, now)? > now {
            return None;
        }
        self.at = Some(now);
        Some(std::mem::replace(&mut self.state, state.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_change_is_told_at_once_and_the_others_together() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut told = Told::new(0);
        assert_eq!(told.due(&0, at(0)), None);
        assert_eq!(told.tell(&1, at(0)), Some(0));
        for second in 1..30 {
            assert_eq!(told.tell(&(second + 1), at(second)), None);
            assert_eq!(told.due(&(second + 1), at(second)), Some(at(30)));
        }
        assert_eq!(told.tell(&30, at(30)), Some(1));
        // What came and went in between is no news.
        assert_eq!(told.tell(&31, at(31)), None);
        assert_eq!(told.due(&30, at(59)), None);
        assert_eq!(told.tell(&32, at(90)), Some(30), "at once after a quiet time");
    }
}
