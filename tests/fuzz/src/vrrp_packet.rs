//! Any bytes as packets of protocol 112. None may panic; what is decoded encodes to the same again; and whatever the
//! election hears of it, a master holds its addresses and no one else announces them.
//!
//! The first byte chooses what the router expects, and whether the checksum is made right, which chance never does.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::packet::{Decoded, Endpoints, HmacKey, HmacKeys, Presented, Protection, encode};
use vrrp::{
    Action, AddressMismatch, AdvertInterval, Authentication, Datagram, Expectations, HmacMode, Input,
    Instance, Preemption, Priority, Receiver, Senders, Settings, State, Version, VirtualRouterId,
};

const IPV6: u8 = 1;
const V2: u8 = 2;
const PASSWORD: u8 = 4;
const HMAC: u8 = 8;
const SIGN: u8 = 16;
const MASTER: u8 = 32;

pub(crate) fn run(bytes: &[u8]) {
    let Some((choice, packets)) = bytes.split_first() else { return };
    let is = |choices: u8| choice & choices != 0;
    let endpoints = if is(IPV6) {
        Endpoints { source: address("fe80::c8"), destination: address("ff02::12") }
    } else {
        Endpoints { source: address("192.0.2.251"), destination: address("224.0.0.18") }
    };
    let version = if is(V2) { Version::V2 } else { Version::V3 };
    let Some(mut router) = Router::new(version, endpoints, *choice) else { return };
    if is(MASTER) {
        router.hear(Input::Woken, Duration::from_secs(10));
    }
    // Several packets, one after the other, each with its length.
    let mut rest = packets;
    let mut now = Duration::from_secs(20);
    while let Some((length, after)) = rest.split_first() {
        let (packet, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let mut packet = packet.to_vec();
        if is(SIGN) {
            sum_up(&mut packet);
        }
        decode(&packet, endpoints);
        let datagram = Datagram { endpoints, ttl: 255, payload: &packet };
        if let Ok(received) = router.receiver.receive(datagram, Duration::from_secs(0x6800_0000)) {
            router.hear(Input::from(&received), now);
        }
        now += Duration::from_millis(700);
        router.hear(Input::Woken, now);
    }
}

/// What is decoded is encoded again, and is the same.
fn decode(packet: &[u8], endpoints: Endpoints) {
    let Ok(decoded) = Decoded::read(packet, endpoints) else { return };
    let protection = match decoded.presented {
        Presented::None => Protection::None,
        Presented::Password(password) => Protection::Password(password),
        Presented::Hmac(_) => return,
    };
    if let Ok(bytes) = encode(&decoded.advert, endpoints, decoded.checksum, protection) {
        let again = Decoded::read(&bytes, endpoints).expect("what is sent can be read");
        assert_eq!(again.advert, decoded.advert);
    }
}

struct Router {
    receiver: Receiver,
    instance: Instance,
    holding: bool,
}

impl Router {
    fn new(version: Version, endpoints: Endpoints, choice: u8) -> Option<Self> {
        let own_address = address(if endpoints.source.is_ipv6() { "fe80::c9" } else { "192.0.2.252" });
        let interval = AdvertInterval::new(version, Duration::from_secs(1)).ok()?;
        let key = HmacKey::new((0..32).collect()).ok()?;
        let authentication = if choice & HMAC != 0 {
            let keys = HmacKeys::new(1, vec![(1, key)]).ok()?;
            Authentication::Hmac { keys, window: Some(Duration::from_secs(10)), mode: HmacMode::Require }
        } else if choice & PASSWORD != 0 {
            Authentication::Password(*b"1234\0\0\0\0")
        } else {
            Authentication::None
        };
        let receiver = Receiver::new(Expectations {
            version,
            virtual_router_id: VirtualRouterId::new(10)?,
            own_address,
            interval,
            addresses: vec![address("192.0.2.1")],
            address_mismatch: AddressMismatch::Warn,
            senders: Senders::Link,
            authentication,
        });
        let settings = Settings {
            version,
            own_address,
            priority: Priority::DEFAULT,
            interval,
            preemption: Preemption::default(),
            strict: false,
            trackers: Vec::new(),
        };
        let mut router = Self { receiver, instance: Instance::new(settings), holding: false };
        router.hear(Input::Start { holding: false }, Duration::from_secs(1));
        Some(router)
    }

    fn hear(&mut self, input: Input, now: Duration) {
        for action in self.instance.handle(input, now) {
            match action {
                Action::AddAddresses => self.holding = true,
                Action::RemoveAddresses => self.holding = false,
                Action::SendGratuitous => assert!(self.holding),
                Action::Vouch(source) => self.receiver.vouch(source),
                Action::SendAdvert(_) | Action::Probe | Action::Transition(_) => {}
            }
        }
        assert_eq!(self.instance.state() == State::Master, self.holding);
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Writes the checksum that IPv4 messages have in their simpler form.
fn sum_up(packet: &mut [u8]) {
    let [first, _, _, count, ..] = *packet else { return };
    let password = if first >> 4 == 2 { 8 } else { 0 };
    let Some(message) = packet.get_mut(..8 + 4 * usize::from(count) + password) else { return };
    message[6..8].fill(0);
    let words = message.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    message[6..8].copy_from_slice(&[high, low]);
}
