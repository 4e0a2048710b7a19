//! ARP replies, neighbour advertisements and echo replies of stations: whoever is believed says so in every byte that counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netjobs::net::{
    icmp::packet::checksum,
    neighbour::{
        Mac,
        arp::{self, Reply},
        echo,
        nd::{self, Advertisement},
    },
};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);

fuzz_target!(|bytes: &[u8]| {
    reply(bytes);
    advertisement(bytes);
    echoed(false, bytes);
    echoed(true, bytes);
    // The same bytes behind an honest beginning, with a right length and sum: what else is judged is reached at once.
    if let Some((fixed, options)) = bytes.split_first_chunk::<41>() {
        let mut packet = vec![6 << 4, 0, 0, 0, 0, 0, 58, 255];
        packet.extend_from_slice(&fixed[..32]);
        packet.extend([136, fixed[32] & 1, 0, 0, 0x60, 0, 0, 0]);
        packet.extend_from_slice(&fixed[16..32]);
        packet.extend_from_slice(options);
        let length = u16::try_from(packet.len() - 40).expect("inputs are short");
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        let sum = !sum(&packet);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        advertisement(&packet);
    }
});

fn reply(bytes: &[u8]) {
    let Some(Reply { address, mac, to }) = arp::parse_reply(bytes, OWN) else { return };
    assert!(mac.is_station() && mac != OWN);
    // The reply is what a request of that station to us would be, but for the operation and who receives it.
    let mut message = arp::request(mac, address, to);
    message[7] = 2;
    message[18..24].copy_from_slice(&OWN.0);
    assert_eq!(bytes[..arp::LENGTH], message);
}

fn advertisement(packet: &[u8]) {
    let Some(Advertisement { address, mac, to }) = nd::parse_advertisement(packet, OWN) else { return };
    assert!(mac.is_station() && mac != OWN);
    assert!(!address.is_multicast() && !to.is_multicast());
    assert_eq!((packet[0] >> 4, packet[6], packet[7], packet[40], packet[41]), (6, 58, 255, 136, 0));
    assert_eq!((&packet[24..40], &packet[48..64]), (&to.octets()[..], &address.octets()[..]));
    let whole = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    assert_eq!(sum(&packet[..whole]), u16::MAX);
    assert!(packet[64..whole].windows(8).any(|option| option[..2] == [2, 1] && option[2..] == mac.0));
}

fn echoed(v6: bool, packet: &[u8]) {
    let Some(echo::Reply { from, to, echo }) = echo::parse_reply(v6, packet) else { return };
    assert!(from.is_ipv6() == v6 && to.is_ipv6() == v6);
    if v6 {
        let whole = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        assert_eq!((packet[0] >> 4, packet[6], packet[40], sum(&packet[..whole])), (6, 58, 129, u16::MAX));
        assert_eq!(echo.payload, &packet[48..whole]);
    } else {
        let header = usize::from(packet[0] & 15) * 4;
        let whole = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        assert_eq!(
            (packet[0] >> 4, packet[9], packet[header], checksum(&packet[header..whole])),
            (4, 1, 0, 0)
        );
        assert_eq!(echo.payload, &packet[header + 8..whole]);
    }
}

/// The sum over pseudo-header and message of an IPv6 packet, not inverted.
fn sum(packet: &[u8]) -> u16 {
    let mut bytes = packet[8..40].to_vec();
    bytes.extend((u32::try_from(packet.len() - 40).expect("packets are short")).to_be_bytes());
    bytes.extend([0, 0, 0, 58]);
    bytes.extend_from_slice(&packet[40..]);
    !checksum(&bytes)
}
