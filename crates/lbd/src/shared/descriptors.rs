//! What the limit of open descriptors is enough for: client connections, and pipes with what these leave.

use config::LbConfig;

/// Descriptors kept for what is not a client or server connection.
const RESERVED: u64 = 128;
/// Client connections that each worker takes even where descriptors are scarce.
const LEAST: u64 = 16;
/// The most pipes of a worker, each with two descriptors.
const PIPES: u64 = 64;

/// How many descriptors lbd may have open, and how many workers share them.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// What the system allows.
    pub allowed: u64,
    /// The workers that run.
    pub workers: usize,
}

impl Descriptors {
    /// Checks that they are enough for the client connections configured.
    ///
    /// # Errors
    /// What is missing, and what can be done.
    pub fn check(self, config: &LbConfig) -> Result<(), String> {
        let Some(maxconn) = config.lbd.maxconn.map(u64::from) else { return Ok(()) };
        let (needed, allowed) = (2 * maxconn + RESERVED, self.allowed);
        if needed <= allowed {
            return Ok(());
        }
        Err(format!(
            "lbd.maxconn is {maxconn}, which needs {needed} open descriptors, but the system allows lbd {allowed}: raise \
             its limit (LimitNOFILE= in a systemd unit, --ulimit nofile= for a container, ulimit -Hn in a shell), or set \
             lbd.maxconn to at most {}",
            self.free() / 2
        ))
    }

    /// The part of each worker in the client connections, where the configuration says nothing. As one often comes with one
    /// to a server, it is half of the descriptors, but for those of pipes, which get an eighth at most.
    pub fn share(self) -> u64 {
        let pipes = (2 * PIPES * self.workers()).min(self.free() / 8);
        ((self.free() - pipes) / 2 / self.workers()).max(LEAST)
    }

    /// The client connections that there may be at once.
    pub fn connections(self, maxconn: Option<u32>) -> u64 {
        maxconn.map_or_else(|| self.share() * self.workers(), u64::from)
    }

    /// The pipes that each worker may have, out of what the client connections leave: who finds no pipe copies, but who
    /// finds no descriptor is not served.
    pub fn pipes(self, maxconn: Option<u32>) -> usize {
        let left = self.free().saturating_sub(2 * self.connections(maxconn));
        usize::try_from((left / 2 / self.workers()).min(PIPES)).unwrap_or_default()
    }

    /// Those for connections and pipes.
    fn free(self) -> u64 {
        self.allowed.saturating_sub(RESERVED)
    }

    fn workers(self) -> u64 {
        self.workers.max(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(allowed: u64, workers: usize) -> Descriptors {
        Descriptors { allowed, workers }
    }

    #[test]
    fn what_is_missing_is_told_in_numbers() {
        let config = |maxconn| {
            let text = format!(
                "frontends: {{w: {{bind: '127.0.0.1:80', backend: b}}}}\nbackends: {{b: {{servers: {{s: '127.0.0.1:81'}}}}}}\n\
                 lbd: {maxconn}\n"
            );
            config::parse("lb.yaml", &text).unwrap().config
        };
        assert_eq!(of(200, 1).check(&config("{}")), Ok(()));
        assert_eq!(of(1024, 1).check(&config("{maxconn: 448}")), Ok(()));
        let missing = of(1024, 1).check(&config("{maxconn: 449}")).unwrap_err();
        for part in ["maxconn is 449", "needs 1026", "allows lbd 1024", "at most 448"] {
            assert!(missing.contains(part), "{missing}");
        }
    }

    #[test]
    fn pipes_get_what_clients_leave() {
        for (allowed, workers, maxconn, share, pipes) in [
            (1_048_576, 2, None, 262_048, 64),
            (1024, 1, None, 392, 56),
            (1024, 2, None, 196, 28),
            (100, 4, None, 16, 0),
            (1024, 1, Some(448), 392, 0),
            (1024, 1, Some(440), 392, 8),
            (1024, 2, Some(100), 196, 64),
        ] {
            let descriptors = of(allowed, workers);
            assert_eq!(
                (descriptors.share(), descriptors.pipes(maxconn)),
                (share, pipes),
                "{descriptors:?} {maxconn:?}"
            );
        }
    }

    #[test]
    fn everything_fits() {
        for allowed in (0..5000).step_by(37) {
            for workers in [1, 2, 7, 64] {
                let descriptors = of(allowed, workers);
                for maxconn in [None, Some(1), Some(100), Some(1000)] {
                    let connections = descriptors.connections(maxconn);
                    let pipes = descriptors.pipes(maxconn) as u64 * workers as u64;
                    let room = allowed.saturating_sub(RESERVED);
                    assert!(pipes == 0 || 2 * connections + 2 * pipes <= room, "{descriptors:?} {maxconn:?}");
                }
            }
        }
    }
}
