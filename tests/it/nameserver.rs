//! A name server that answers by script, over UDP and TCP: honest, absent, failing, silent, truncated, in circles.
//! Only what a stub resolver asks for: one question, A or AAAA.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

/// What it answers for a name.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These addresses, those of the family that is asked for.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    Nxdomain,
    /// The server fails.
    Servfail,
    /// Nothing.
    Silence,
    /// An alias that leads back to itself.
    Circle,
    /// Too big for UDP: truncated there, whole over TCP.
    Truncated(Vec<IpAddr>),
}

/// From name to answer; other names do not exist.
pub(crate) type Script = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// Serves on 127.0.0.1:53 of the namespace in which it is called, until the process ends.
pub(crate) fn serve(script: Script) {
    let udp = UdpSocket::bind("127.0.0.1:53").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:53").unwrap();
    serve_udp(udp, script.clone());
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut query).is_err() {
                    break;
                }
                let Some(reply) = reply(&query, &script, true) else { break };
                let head = u16::try_from(reply.len()).unwrap().to_be_bytes();
                if stream.write_all(&[&head[..], &reply].concat()).is_err() {
                    break;
                }
            }
        }
    });
}

/// Serves over UDP alone on a socket, until the process ends.
pub(crate) fn serve_udp(udp: UdpSocket, script: Script) {
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            if let Some(reply) = reply(&buffer[..length], &script, false) {
                let _ = udp.send_to(&reply, peer);
            }
        }
    });
}

/// The name and type of a query's one question, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).into_owned());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

fn reply(query: &[u8], script: &Script, whole: bool) -> Option<Vec<u8>> {
    let (name, kind, end) = question(query)?;
    let (mut code, mut truncated, mut records) = (0u8, false, Vec::<(u16, Vec<u8>)>::new());
    let mut add = |addresses: &[IpAddr]| {
        for address in addresses {
            match (address, kind) {
                (IpAddr::V4(address), A) => records.push((A, address.octets().to_vec())),
                (IpAddr::V6(address), AAAA) => records.push((AAAA, address.octets().to_vec())),
                _ => {}
            }
        }
    };
    match script(&name) {
        Answer::Addresses(addresses) => add(&addresses),
        Answer::Truncated(addresses) if whole => add(&addresses),
        Answer::Truncated(_) => truncated = true,
        Answer::Nxdomain => code = 3,
        Answer::Servfail => code = 2,
        Answer::Silence => return None,
        // The alias is the question's own name, by a pointer to it.
        Answer::Circle => records.push((CNAME, vec![0xc0, 12])),
    }
    let flags = [0x84 | 0x01 | u8::from(truncated) << 1, 0x80 | code];
    let count = u16::try_from(records.len()).ok()?.to_be_bytes();
    let mut out = [&query[..2], &flags, &[0, 1], &count, &[0; 4], &query[12..end]].concat();
    for (kind, data) in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 1]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some(out)
}
