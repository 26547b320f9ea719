//! When results become a report: so many in a row, but for the first, which decides alone.

/// The result of a tracker that looks again and again.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    rise: u32,
    fall: u32,
    good: Option<bool>,
    /// Results in a row that contradict it.
    against: u32,
}

impl Verdict {
    pub(super) const fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, good: None, against: 0 }
    }

    /// Takes a result; what then holds.
    pub(super) fn take(&mut self, good: bool) -> bool {
        match self.good {
            None => self.good = Some(good),
            Some(before) if before == good => self.against = 0,
            Some(_) => {
                self.against += 1;
                if self.against >= if good { self.rise } else { self.fall } {
                    self.good = Some(good);
                    self.against = 0;
                }
            }
        }
        self.good.unwrap_or(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_result_decides_and_then_several_in_a_row() {
        let mut verdict = Verdict::new(2, 3);
        let seen: Vec<bool> =
            [true, false, false, true, false, false, false, true, true].map(|good| verdict.take(good)).into();
        assert_eq!(seen, [true, true, true, true, true, true, false, false, true]);
        assert!(!Verdict::new(5, 5).take(false));
    }
}
