//! A connection whose answers must be taken in time: a client that reads slowly, or not at all, is cut off, so that it
//! cannot hold the memory of an answer. The time of reading is hyper's affair.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A stream with a bound on the time between the first write of an answer and its last.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    allowed: Duration,
    /// Runs while an answer is on its way.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, allowed: Duration) -> Self {
        Self { stream, allowed, deadline: None }
    }

    /// A write that waits has the rest of the answer's time.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            return written;
        }
        let allowed = self.allowed;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(allowed)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when everything is written: the answer's time ends here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.deadline = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_trickles_has_the_time_of_one_answer_in_all() {
        let (near, mut far) = duplex(10);
        let mut near = Bounded::new(near, Duration::from_secs(30));
        let answer = vec![0; 1000];
        let write = near.write_all(&answer);
        let trickle = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                let _ = far.read_u8().await;
            }
        };
        let result = tokio::select! {
            result = write => result,
            () = trickle => unreachable!("it never ends"),
        };
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_time() {
        let (near, mut far) = duplex(10);
        let mut near = Bounded::new(near, Duration::from_secs(30));
        for _ in 0..3 {
            let answer = [1; 15];
            let read = async {
                sleep(Duration::from_secs(20)).await;
                far.read_exact(&mut [0; 15]).await.unwrap();
            };
            let write = async {
                near.write_all(&answer).await.unwrap();
                near.flush().await.unwrap();
            };
            tokio::join!(read, write);
        }
    }
}
