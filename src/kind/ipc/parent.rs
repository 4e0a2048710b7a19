//! A run of an `ipc`: start the child, ask it, end it, and say what came of it.

use std::{io, process::ExitStatus};

use tokio::{
    process::Child,
    time::{Instant, timeout},
};

use super::{
    Ipc, PATIENCE, Program, RTT,
    channel::{self, Channel, Coming, code},
    child::invert,
};
use crate::{
    context::Context,
    kind::Error,
    meter::Histogram,
    net::{reason_of, rtt::Rtt},
    outcome::{Outcome, Reason, Samples},
};

/// Why the messages ended early.
struct Broken {
    reason: Reason,
    message: String,
}

impl Broken {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Runs it whole; when this returns, the child was waited for.
pub(super) async fn run(spec: &Ipc, cx: &Context, program: &Program) -> Result<Outcome, Error> {
    let (coming, mut child) = channel::start(spec.via, program).map_err(|error| Error::Cannot {
        reason: reason_of(&error),
        message: format!("start the child {}: {error}", program.path.display()),
        hint: None,
    })?;
    // Held until the messages are over: its end tells the child of a datagram socket to go.
    let stdin = child.stdin.take();
    let mut rtt = Rtt::default();
    let histogram = cx.meters().histogram(&RTT, &[]);
    let mut broken = tokio::select! {
        biased;
        () = cx.cancelled() => Some(Broken::new(Reason::Cancelled, "the run was ended")),
        done = exchange(spec, coming, &mut rtt, &histogram) => done.err(),
        // A datagram socket does not tell that its other end is gone.
        _ = child.wait() => Some(Broken::new(Reason::Closed, "the child ended")),
    };
    drop(stdin);
    // A child that still listens ends by itself, now that the channel is closed.
    let hopeless = |broken: &Broken| matches!(broken.reason, Reason::Timeout | Reason::Cancelled);
    let status = end(&mut child, broken.as_ref().is_some_and(hopeless)).await;
    let mut samples = Samples::default();
    samples.count("messages", rtt.count() as u64);
    rtt.samples(&mut samples);
    match status {
        Ok(status) => {
            samples.count("child_exit", code(status));
            if broken.is_none() && !status.success() {
                broken = Some(Broken::new(Reason::Closed, "the child failed after its last answer"));
            }
        }
        Err(error) => {
            broken = broken.or(Some(Broken::new(reason_of(&error), format!("wait for the child: {error}"))));
        }
    }
    Ok(match broken {
        None => Outcome::passed(samples),
        Some(Broken { reason, message }) => Outcome::failed(reason, sentence(&message, &rtt, spec), samples),
    })
}

fn sentence(message: &str, rtt: &Rtt, spec: &Ipc) -> String {
    format!("{message}; {} of {} messages were answered", rtt.count(), spec.messages.0)
}

/// Waits for the child, and kills it where it must not go on or does not end. A killed child is waited for, too.
async fn end(child: &mut Child, kill: bool) -> io::Result<ExitStatus> {
    if !kill && let Ok(status) = timeout(PATIENCE, child.wait()).await {
        return status;
    }
    // It may have ended by itself meanwhile.
    let _ = child.start_kill();
    child.wait().await
}

/// All messages, one after the other; the channel is closed when this returns.
async fn exchange(spec: &Ipc, coming: Coming, rtt: &mut Rtt, histogram: &Histogram) -> Result<(), Broken> {
    let late = |what: &str| Broken::new(Reason::Timeout, format!("{what} within 5 s"));
    let met = timeout(PATIENCE, coming.met()).await;
    let mut channel = met.map_err(|_| late("the child did not come"))?.map_err(|error| sorted(&error))?;
    let length = usize::try_from(spec.size.0).unwrap_or(usize::MAX);
    for sequence in 0..u64::from(spec.messages.0) {
        let message = message(sequence, length);
        let started = Instant::now();
        let answered = timeout(PATIENCE, ask(&mut channel, message)).await;
        answered.map_err(|_| late("the child gave no answer"))??;
        rtt.record(started.elapsed());
        histogram.observe(started.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn ask(channel: &mut Channel, mut message: Vec<u8>) -> Result<(), Broken> {
    let mut answer = vec![0; message.len()];
    let length = channel.ask(&message, &mut answer).await.map_err(|error| sorted(&error))?;
    invert(&mut message);
    if length != message.len() || answer != message {
        return Err(Broken::new(Reason::Mismatch, "an answer is not what was wanted"));
    }
    Ok(())
}

/// Bytes that differ from place to place and from message to message.
fn message(sequence: u64, length: usize) -> Vec<u8> {
    let seed = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_ne_bytes();
    let places = (0..length).map(|at| u8::try_from(at % 251).unwrap_or_default());
    places.zip(seed.into_iter().cycle()).map(|(place, seed)| place ^ seed).collect()
}

/// Where the child is gone, sockets say so in several ways.
fn sorted(error: &io::Error) -> Broken {
    match reason_of(error) {
        Reason::Reset | Reason::Refused | Reason::Closed => {
            Broken::new(Reason::Closed, "the child broke off")
        }
        Reason::TooBig => Broken::new(Reason::TooBig, "the system takes no datagram of this size"),
        reason => Broken::new(reason, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ() {
        assert_eq!(message(1, 300).len(), 300);
        assert_ne!(message(1, 64), message(2, 64));
        assert_ne!(message(1, 600)[..300], message(1, 600)[300..]);
    }
}
