//! Looks for a message in a stream that passes. A stream has no messages, so a rule stands in: a line, or what has come
//! since the last line end when the stream pauses.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Cancels a token once a message has passed.
#[derive(Clone, Debug)]
pub struct Watch {
    message: Arc<[u8]>,
    found: CancellationToken,
    /// The line so far; `None` once it is too long to be the message.
    line: Option<Vec<u8>>,
}

impl Watch {
    /// Looks for `message`, which has no line end in it.
    pub fn new(message: &[u8], found: CancellationToken) -> Self {
        Self { message: message.into(), found, line: Some(vec![]) }
    }

    /// The bytes of one read.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        // What follows the last line end is not a whole line yet.
        let last = lines.next_back().unwrap_or_default();
        for rest in lines {
            self.extend(rest);
            self.judge();
            self.line = Some(vec![]);
        }
        self.extend(last);
        self.judge();
    }

    fn extend(&mut self, bytes: &[u8]) {
        if let Some(line) = &mut self.line {
            // One more for a carriage return.
            if line.len() + bytes.len() > self.message.len() + 1 {
                self.line = None;
            } else {
                line.extend_from_slice(bytes);
            }
        }
    }

    fn judge(&self) {
        let Some(line) = &self.line else { return };
        if *line.strip_suffix(b"\r").unwrap_or(line) == *self.message {
            self.found.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reads: &[&str], is_found: bool) {
        let found = CancellationToken::new();
        let mut watch = Watch::new(b"DONE", found.clone());
        for read in reads {
            watch.see(read.as_bytes());
        }
        assert_eq!(found.is_cancelled(), is_found, "{reads:?}");
    }

    #[test]
    fn a_line_or_a_pause_makes_a_message() {
        check(&["DONE"], true);
        check(&["DO", "NE"], true);
        check(&["hello\nDONE\r\n"], true);
        check(&["hello\nDONE\nbye"], true);
        check(&["a long line ", "DONE\n"], false);
        check(&["DONE and more\n"], false);
        check(&["\n\nUNDONE\n"], false);
    }
}
