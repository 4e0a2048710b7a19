//! Whether an answer is the wanted one. Pure; what it says never quotes a byte of either.

use super::LONGEST_ANSWER;
use crate::value::Want;

/// What is wanted of one answer.
pub(super) enum Wanted<'a> {
    /// These bytes and no other.
    Exactly(&'a [u8]),
    /// A pattern somewhere in it.
    Pattern(&'a regex::bytes::Regex),
}

/// What the bytes so far come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The answer is as wanted.
    Holds,
    /// It may still become so.
    More,
    /// It cannot any more; why, a sentence.
    Mismatch(String),
}

impl<'a> Wanted<'a> {
    pub(super) fn new(want: &'a Want, sent: &'a [u8]) -> Self {
        match want {
            Want::Same => Self::Exactly(sent),
            Want::Bytes(bytes) => Self::Exactly(bytes),
            Want::Pattern(pattern) => Self::Pattern(pattern),
        }
    }

    /// Judges the bytes that have come so far, of which the last `new` are new.
    pub(super) fn judge(&self, answer: &[u8], new: usize) -> Judgement {
        match self {
            Self::Exactly(wanted) => {
                // What came before was the same already.
                let start = answer.len() - new;
                let differs = answer[start..].iter().zip(wanted.iter().skip(start)).position(|(a, b)| a != b);
                if let Some(at) = differs {
                    return Judgement::Mismatch(format!(
                        "the answer differs from the wanted one at byte {}",
                        start + at
                    ));
                }
                match answer.len() {
                    length if length == wanted.len() => Judgement::Holds,
                    length if length < wanted.len() => Judgement::More,
                    _ => Judgement::Mismatch(format!(
                        "the answer goes on after the wanted {} bytes",
                        wanted.len()
                    )),
                }
            }
            Self::Pattern(pattern) if pattern.is_match(answer) => Judgement::Holds,
            Self::Pattern(_) if answer.len() as u64 >= LONGEST_ANSWER => {
                Judgement::Mismatch("the wanted pattern is not in the first 1MiB of the answer".into())
            }
            Self::Pattern(_) => Judgement::More,
        }
    }

    /// What an answer that ended too early is told as.
    pub(super) fn so_far(&self, answer: &[u8]) -> String {
        match self {
            Self::Exactly(wanted) => format!("{} of {} bytes had come", answer.len(), wanted.len()),
            Self::Pattern(_) => format!("{} bytes had come, without the wanted pattern", answer.len()),
        }
    }

    /// Whether an answer that has come whole, yet is not as wanted, is another than the wanted one rather than cut.
    pub(super) fn is_other(&self, answer: &[u8]) -> bool {
        matches!(self, Self::Pattern(_)) && !answer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_answer_is_whole_and_nothing_more() {
        let wanted = Wanted::Exactly(b"PONG");
        assert_eq!(wanted.judge(b"", 0), Judgement::More);
        assert_eq!(wanted.judge(b"PO", 2), Judgement::More);
        assert_eq!(wanted.judge(b"PONG", 2), Judgement::Holds);
        assert!(matches!(wanted.judge(b"PONG!", 1), Judgement::Mismatch(_)));
        assert!(matches!(wanted.judge(b"PANG", 4), Judgement::Mismatch(why) if why.ends_with("at byte 1")));
    }

    #[test]
    fn a_pattern_is_found_anywhere() {
        let pattern = regex::bytes::Regex::new("PO+NG").unwrap();
        let wanted = Wanted::Pattern(&pattern);
        assert_eq!(wanted.judge(b"+PO", 3), Judgement::More);
        assert_eq!(wanted.judge(b"+POONG\r\n", 5), Judgement::Holds);
    }
}
