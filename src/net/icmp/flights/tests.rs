//! Probes on their way: kept, found again and given up.

use super::*;
use crate::outcome::Reason;

fn peer(last: u8) -> Peer {
    IpAddr::from([10, 0, 0, last]).into()
}

#[test]
fn a_probe_is_found_by_its_number_until_its_end_and_the_next_in_its_place_is_another() {
    let (mut flights, mut list) = (Flights::new(false, u32::MAX), List::default());
    let first = flights.take(3, 70, 2, peer(1)).unwrap();
    flights.launch(first, 1 << 40 | 5, &mut list);
    flights.left(first, 9);
    let known = Known { index: 70, session: 3, resends: 2, sent: 1 << 40 | 5, delay: Some(9) };
    assert_eq!(flights.find(first, u32::MAX), Some((first, known)));
    assert_eq!(flights.find(first & 0xffff, 0xffff), Some((first, known)));
    assert_eq!(flights.peer(first), peer(1));
    assert_eq!(flights.find(first + 1, u32::MAX), None);
    assert_eq!(flights.end(first, &mut list), None);
    assert_eq!((flights.find(first, u32::MAX), flights.count()), (None, 0));
    let second = flights.take(3, 70, 0, peer(1)).unwrap();
    flights.launch(second, 6, &mut list);
    assert_eq!(second & PLACE, first & PLACE);
    assert_eq!(flights.find(first, u32::MAX), None);
    assert_eq!(flights.find(second, u32::MAX).unwrap().1.delay, None);
}

#[test]
fn the_oldest_comes_first_whichever_ends_between() {
    let (mut flights, mut list) = (Flights::new(false, u32::MAX), List::default());
    let mut numbers = vec![];
    for at in 0..5 {
        let number = flights.take(0, at, 0, peer(1)).unwrap();
        flights.launch(number, at.into(), &mut list);
        numbers.push(number);
    }
    for at in [2, 4, 0] {
        flights.end(numbers[at], &mut list);
    }
    let mut left = vec![];
    while let Some((number, known)) = flights.first(list) {
        left.push(known.index);
        flights.end(number, &mut list);
    }
    assert_eq!(left, [1, 3]);
    // A place that is free again is taken last.
    let order: Vec<_> = (0..5).map(|at| flights.take(0, at, 0, peer(1)).unwrap() & PLACE).collect();
    assert_eq!(order, [2, 4, 0, 1, 3]);
}

#[test]
fn errors_and_hosts_of_both_families_are_kept() {
    let (mut flights, mut list) = (Flights::new(true, 0xffff), List::default());
    let host = Peer { address: "fe80::1".parse().unwrap(), scope: 7 };
    let number = flights.take(0, 1, 0, host).unwrap();
    flights.launch(number, 1, &mut list);
    assert_eq!(flights.peer(number), host);
    let failure = Failure { reason: Reason::NoRoute, offender: None, local: false };
    flights.fail(number, failure);
    assert_eq!(flights.end(number, &mut list), Some(failure));
    let again = flights.take(0, 1, 0, host).unwrap();
    flights.give_back(again);
    assert_eq!(flights.count(), 0);
}

#[test]
fn the_numbers_of_a_ping_socket_run_out() {
    let mut flights = Flights::new(false, 0xffff);
    for at in 0..65_536 {
        assert!(flights.take(0, at, 0, peer(1)).is_some());
    }
    assert!(flights.is_full());
    assert_eq!(flights.take(0, 0, 0, peer(1)), None);
}
