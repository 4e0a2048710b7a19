//! Forged replies: a session credits the honest reply to a probe, and none that differs from it in anything.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use netjobs::net::icmp::{
    mark::{Key, LENGTH, Mark, read},
    packet::{build, checksum, parse_reply},
};

fuzz_target!(|input: (u32, u32, u32, u8, u16, u32, &[u8])| {
    let (host, id_seq, index, generation, size, elsewhere, edits) = input;
    // Anew for each input: libFuzzer reads along what is compared, and would learn a mark that stays right.
    let prober = Key::new().expect("random bytes");
    let (key, mark) = (prober.derive(7), Mark { generation, index, tag: prober.tag(), session: 7 });
    let size = LENGTH + usize::from(size % 64);
    let (host, other) = (IpAddr::from(Ipv4Addr::from(host)), IpAddr::from(Ipv4Addr::from(elsewhere)));
    let mut honest = vec![];
    build(false, id_seq, &mut honest, |out| key.write(host, id_seq, mark, size, out));
    honest[0] = 0;
    seal(&mut honest);
    assert!(credited(&key, host, &honest, mark));
    assert!(!credited(&prober.derive(8), host, &honest, mark), "another session's");
    assert_eq!(credited(&key, other, &honest, mark), other == host);

    // A forger who has seen the honest reply, changes it, and seals it anew.
    let mut forged = honest.clone();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % (forged.len() + 8);
        match forged.get_mut(at) {
            Some(byte) => *byte ^= edit[2],
            None => forged.push(edit[2]),
        }
    }
    if let [length] = edits.chunks_exact(3).remainder() {
        forged.truncate(forged.len().saturating_sub(usize::from(*length)));
    }
    if forged.len() >= 8 {
        seal(&mut forged);
    }
    assert_eq!(credited(&key, host, &forged, mark), forged == honest);
    // And one who has seen nothing.
    assert!(!key.verify(host, id_seq, edits));
});

/// What the prober asks of a packet before it counts.
fn credited(key: &Key, from: IpAddr, message: &[u8], mark: Mark) -> bool {
    parse_reply(false, message)
        .is_some_and(|echo| key.verify(from, echo.id_seq, echo.payload) && read(echo.payload) == Some(mark))
}

fn seal(message: &mut [u8]) {
    message[2..4].fill(0);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}
