//! Which of a name's addresses each server of that name has: pure, and stable from one answer to the next.
//!
//! Each user of a name has a slot, which needs an address. The servers of a backend with the same name and port are a group, and
//! spread over the name's addresses as far as these go. What no other slot of the group has, a slot may try when its own
//! address does not work.

use std::net::IpAddr;

/// The slots of a group, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(Vec<(u64, Option<IpAddr>)>);

impl Slots {
    /// The address of a slot; none before the first answer.
    pub(super) fn get(&self, slot: u64) -> Option<IpAddr> {
        self.0.iter().find(|(id, _)| *id == slot).and_then(|(_, address)| *address)
    }

    /// Adds a slot, with an address of `answer`.
    pub(super) fn add(&mut self, slot: u64, answer: &[IpAddr]) {
        self.0.push((slot, None));
        self.assign(answer);
    }

    /// Removes a slot: its address is free. Returns whether any is left.
    pub(super) fn remove(&mut self, slot: u64) -> bool {
        self.0.retain(|(id, _)| *id != slot);
        !self.0.is_empty()
    }

    /// Gives each slot an address of `answer`, or none if that is empty.
    ///
    /// A slot keeps its address while that is in the answer and no earlier slot has it. The others get, in order, the
    /// addresses that no slot has; when these run out, addresses are shared.
    pub(super) fn assign(&mut self, answer: &[IpAddr]) {
        let mut taken = Vec::with_capacity(self.0.len());
        for (_, slot) in &mut self.0 {
            match *slot {
                Some(address) if answer.contains(&address) && !taken.contains(&address) => {
                    taken.push(address);
                }
                _ => *slot = None,
            }
        }
        let free: Vec<IpAddr> = answer.iter().copied().filter(|address| !taken.contains(address)).collect();
        let mut next = free.into_iter().chain(answer.iter().copied().cycle());
        for (_, slot) in self.0.iter_mut().filter(|(_, slot)| slot.is_none()) {
            *slot = next.next();
        }
    }

    /// The addresses that a slot may use: its own, and those that no slot of the group has.
    pub(super) fn candidates(&self, slot: u64, answer: &[IpAddr]) -> Vec<IpAddr> {
        let taken = |address: &IpAddr| self.0.iter().any(|(_, known)| *known == Some(*address));
        let free = answer.iter().copied().filter(|address| !taken(address));
        self.get(slot).into_iter().chain(free).collect()
    }

    /// Gives a slot another address, if that is one of its candidates.
    pub(super) fn choose(&mut self, slot: u64, address: IpAddr, answer: &[IpAddr]) {
        if self.candidates(slot, answer).contains(&address)
            && let Some((_, own)) = self.0.iter_mut().find(|(id, _)| *id == slot)
        {
            *own = Some(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn ips(list: &[u8]) -> Vec<IpAddr> {
        list.iter().map(|last| ip(*last)).collect()
    }

    fn slots(count: u64, answer: &[u8]) -> Slots {
        let mut slots = Slots::default();
        (0..count).for_each(|slot| slots.add(slot, &ips(answer)));
        slots
    }

    fn assigned(slots: &Slots) -> Vec<u8> {
        slots
            .0
            .iter()
            .map(|(_, slot)| match slot {
                Some(IpAddr::V4(ip)) => ip.octets()[3],
                _ => 0,
            })
            .collect()
    }

    #[test]
    fn one_slot_keeps_its_address_while_it_is_answered() {
        let mut slots = slots(1, &[]);
        assert_eq!(slots.get(0), None);
        slots.assign(&ips(&[3, 7]));
        assert_eq!(assigned(&slots), [3]);
        slots.assign(&ips(&[1, 3]));
        assert_eq!(assigned(&slots), [3], "3 is still answered");
        slots.assign(&ips(&[1, 7]));
        assert_eq!(assigned(&slots), [1], "the first of the new answer");
        slots.assign(&[]);
        assert_eq!(slots.get(0), None, "there is none any more");
    }

    #[test]
    fn several_slots_spread_over_the_answer() {
        let mut slots = slots(3, &[1, 2, 3]);
        assert_eq!(assigned(&slots), [1, 2, 3]);
        slots.assign(&ips(&[1, 3]));
        assert_eq!(assigned(&slots), [1, 1, 3], "what runs out is shared, and nobody else moves");
        slots.assign(&ips(&[1, 3, 4]));
        assert_eq!(assigned(&slots), [1, 4, 3], "the one that shared gets the new address");
    }

    #[test]
    fn a_slot_that_is_removed_frees_its_address() {
        let mut slots = slots(2, &[1, 2]);
        assert!(slots.remove(0));
        slots.add(7, &ips(&[1, 2]));
        assert_eq!((slots.get(1), slots.get(7)), (Some(ip(2)), Some(ip(1))));
        assert!(slots.remove(1));
        assert!(!slots.remove(7));
    }

    #[test]
    fn a_slot_may_try_what_nobody_has_and_keeps_what_works() {
        let answer = ips(&[1, 2, 3]);
        let mut slots = slots(2, &[1, 2, 3]);
        assert_eq!(slots.candidates(0, &answer), ips(&[1, 3]));
        assert_eq!(slots.candidates(1, &answer), ips(&[2, 3]));
        slots.choose(0, ip(2), &answer);
        assert_eq!(assigned(&slots), [1, 2], "2 is the other's");
        slots.choose(0, ip(3), &answer);
        assert_eq!(assigned(&slots), [3, 2]);
        assert_eq!(slots.candidates(1, &answer), ips(&[2, 1]), "1 is free now");
        slots.assign(&answer);
        assert_eq!(assigned(&slots), [3, 2], "the same answer moves nobody");
        slots.assign(&ips(&[1, 2]));
        assert_eq!(assigned(&slots), [1, 2], "what is no longer answered is given up");
    }
}
