//! The books of connections, and who is let in.

use super::*;
use crate::context::testing::context;

const CONNECTIONS: Metric = Metric::counter("netjobs_test_connections_total", &[], "A test.");
const ACTIVE: Metric = Metric::gauge("netjobs_test_connections_active", &[], "A test.");
const CLOSES: Metric = Metric::counter("netjobs_test_closes_total", &["reason", "upstream"], "A test.");
const FAMILIES: Families = Families { connections: &CONNECTIONS, active: &ACTIVE, closes: &CLOSES };

/// Case 58 of the forward's list.
#[tokio::test]
async fn a_panic_closes_its_connection_and_harms_no_other() {
    let (cx, recorder) = context(vec![], None);
    let books = Books::new(&cx, FAMILIES);
    let peer = Peer::Ip("127.0.0.1:1".parse().unwrap());
    let (mut broken, whole) = (books.open(peer, "copy"), books.open(peer, "copy"));
    broken.goes_to("db:1");
    let task = cx.spawn(async move {
        let _open = broken;
        panic!("a defect");
    });
    assert!(task.await.is_err());
    whole.close(Close::Finished);
    let samples = books.samples();
    assert_eq!(samples.find("failed"), Some(&crate::outcome::Sample::Count(1)));
    assert_eq!(samples.find("active"), Some(&crate::outcome::Sample::Count(0)));
    let told = recorder.notices.lock().unwrap();
    assert!(
        matches!(&told[0], Notice::ConnectionClosed { close: Close::Bug, upstream, .. } if upstream == "db:1")
    );
}

#[tokio::test]
async fn a_listener_whose_loop_panics_ends_the_job() {
    let (cx, _) = context(vec![], None);
    let (failed, mut failure) = mpsc::channel(1);
    spawn_loop(&cx, "tcp://127.0.0.1:1", &failed, async { panic!("a defect") });
    assert_eq!(failure.recv().await.unwrap().reason(), Reason::Bug);
}
