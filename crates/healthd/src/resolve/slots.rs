//! Which of a name's addresses each server of that name has: pure, and stable from one answer to the next.
//!
//! A slot is a place that needs an address. A name that one server uses has one slot. Several servers of a backend with the
//! same name and port have a slot each, so that they spread over the name's addresses as far as these go.

use std::net::IpAddr;

/// The addresses of a name's slots; none before the first answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(Vec<Option<IpAddr>>);

impl Slots {
    /// The address of a slot.
    pub(super) fn get(&self, slot: usize) -> Option<IpAddr> {
        self.0.get(slot).copied().flatten()
    }

    /// Makes sure that there are at least `count` slots, with addresses of `answer` in those that are new.
    pub(super) fn grow(&mut self, count: usize, answer: &[IpAddr]) {
        if count > self.0.len() {
            self.0.resize(count, None);
            self.assign(answer);
        }
    }

    /// Gives each slot an address of `answer`. An empty answer changes nothing.
    ///
    /// A slot keeps its address while that is in the answer and no earlier slot has it. The others get, in order, the
    /// addresses that no slot has; when these run out, addresses are shared.
    pub(super) fn assign(&mut self, answer: &[IpAddr]) {
        if answer.is_empty() {
            return;
        }
        let mut taken = Vec::with_capacity(self.0.len());
        for slot in &mut self.0 {
            match *slot {
                Some(address) if answer.contains(&address) && !taken.contains(&address) => {
                    taken.push(address);
                }
                _ => *slot = None,
            }
        }
        let free: Vec<IpAddr> = answer.iter().copied().filter(|address| !taken.contains(address)).collect();
        let mut next = free.into_iter().chain(answer.iter().copied().cycle());
        for slot in self.0.iter_mut().filter(|slot| slot.is_none()) {
            *slot = next.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[u8]) -> Vec<IpAddr> {
        list.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()
    }

    fn assigned(slots: &Slots) -> Vec<u8> {
        slots
            .0
            .iter()
            .map(|slot| match slot {
                Some(IpAddr::V4(ip)) => ip.octets()[3],
                _ => 0,
            })
            .collect()
    }

    #[test]
    fn one_slot_keeps_its_address_while_it_is_answered() {
        let mut slots = Slots::default();
        slots.grow(1, &[]);
        assert_eq!(slots.get(0), None);
        slots.assign(&ips(&[3, 7]));
        assert_eq!(assigned(&slots), [3]);
        slots.assign(&ips(&[1, 3]));
        assert_eq!(assigned(&slots), [3], "3 is still answered");
        slots.assign(&[]);
        assert_eq!(assigned(&slots), [3], "an empty answer takes nothing away");
        slots.assign(&ips(&[1, 7]));
        assert_eq!(assigned(&slots), [1], "the first of the new answer");
    }

    #[test]
    fn several_slots_spread_over_the_answer() {
        let mut slots = Slots::default();
        slots.grow(3, &ips(&[1, 2, 3]));
        assert_eq!(assigned(&slots), [1, 2, 3]);
        slots.assign(&ips(&[1, 3]));
        assert_eq!(assigned(&slots), [1, 1, 3], "what runs out is shared, and nobody else moves");
        slots.assign(&ips(&[1, 3, 4]));
        assert_eq!(assigned(&slots), [1, 4, 3], "the one that shared gets the new address");
    }

    #[test]
    fn a_new_slot_takes_a_free_address() {
        let mut slots = Slots::default();
        slots.grow(1, &ips(&[1, 2]));
        slots.grow(2, &ips(&[1, 2]));
        assert_eq!(assigned(&slots), [1, 2]);
        slots.grow(1, &ips(&[2]));
        assert_eq!(assigned(&slots), [1, 2], "slots are never taken away");
    }
}
