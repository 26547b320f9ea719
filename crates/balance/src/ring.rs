//! Consistent hashing: each server owns points on a ring, and a key, be it a client's address or a part of a request, belongs to
//! the first point after its own.
//!
//! Where a server's points lie depends on its name alone, and how many it has on its weight. So a server that goes takes only
//! its own keys with it, one that comes back gets exactly those back, and a restarted container keeps its keys
//! at whatever address it has now. The hash is our own and never changes: two load balancers, and two versions of one,
//! agree on where a key belongs.

use crate::ServerView;

/// Points for each unit of weight: with so many, equal servers differ by a few per cent in the keys they get.
const POINTS: usize = 512;
/// Points on the whole ring, beyond which each unit of weight gets fewer, but always one. When servers are added, those there
/// then lose the last of their points and keep the others.
const POINTS_MAX: usize = 1 << 17;

/// The points of all servers, by hash.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ring {
    /// Hash, and the server's place in the view.
    points: Vec<(u64, u32)>,
}

impl Ring {
    pub(crate) fn new(servers: &[ServerView]) -> Self {
        let total: usize = servers.iter().map(|server| usize::from(server.weight.get())).sum();
        let per_weight = (POINTS_MAX / total.max(1)).clamp(1, POINTS);
        let mut points = Vec::with_capacity(total * per_weight);
        for (place, server) in (0_u32..).zip(servers) {
            let name = hash(server.name.bytes());
            // A throttled server has the first of its points: it takes its own keys back little by little, and nobody
            // else's.
            let whole = usize::from(server.weight.get()) * per_weight;
            let count = (whole * usize::from(server.throttle.get())).div_ceil(100);
            points.extend((0_u64..).take(count).map(|point| (mix(name ^ mix(point + 1)), place)));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The servers in the order in which what has this hash would go to them; each may come up many times.
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = self.points.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|(_, place)| *place as usize)
    }
}

/// FNV-1a, and a finalizer that spreads neighbouring addresses over the whole ring.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let fnv = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// The finalizer of splitmix64: a bijection in which every bit of the input moves half of the output's.
pub(crate) fn mix(value: u64) -> u64 {
    let mut value = value;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
