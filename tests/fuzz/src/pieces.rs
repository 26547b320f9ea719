//! Bytes that arrive in pieces.

/// How bytes arrive: so many first, then so many at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces {
    first: usize,
    then: usize,
}

impl Pieces {
    /// All at once.
    pub(crate) const WHOLE: Self = Self { first: usize::MAX, then: usize::MAX };

    /// Ways to arrive that must make no difference: byte by byte, in two parts, in small pieces.
    pub(crate) fn others(choice: u8) -> [Self; 3] {
        let size = usize::from(choice);
        [
            Self { first: 1, then: 1 },
            Self { first: size, then: usize::MAX },
            Self { first: size % 7 + 1, then: size % 31 + 2 },
        ]
    }

    /// How much of `len` bytes is there after one more arrival, when the first `end` were.
    pub(crate) fn after(self, end: usize, len: usize) -> usize {
        let more = if end == 0 { self.first.max(1) } else { self.then };
        end.saturating_add(more).min(len)
    }

    /// How much of `len` bytes is there after each arrival.
    pub(crate) fn ends(self, len: usize) -> impl Iterator<Item = usize> {
        let mut end = None;
        std::iter::from_fn(move || {
            end = match end {
                None => Some(self.after(0, len)),
                Some(end) if end < len => Some(self.after(end, len)),
                Some(_) => return None,
            };
            end
        })
    }
}
