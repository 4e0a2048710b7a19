//! `key=value` words.

use std::{collections::BTreeMap, error::Error, net::SocketAddr, str::FromStr, time::Duration};

pub(crate) struct Args(BTreeMap<String, String>);

impl Args {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let pair = |word: String| {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not key=value"))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        words.map(pair).collect::<Result<_, String>>().map(Self).map_err(Into::into)
    }

    pub(crate) fn number<T: FromStr>(&self, key: &str, default: T) -> Result<T, Box<dyn Error>> {
        match self.0.get(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{key}={text}: not a number").into()),
        }
    }

    pub(crate) fn seconds(&self) -> Result<Duration, Box<dyn Error>> {
        Ok(Duration::from_secs_f64(self.number("seconds", 1.0)?))
    }

    pub(crate) fn word(&self, key: &str) -> Result<&str, Box<dyn Error>> {
        self.0.get(key).map(String::as_str).ok_or_else(|| format!("{key}=… is missing").into())
    }

    fn address(&self, key: &str) -> Result<SocketAddr, Box<dyn Error>> {
        let text = self.word(key)?;
        text.parse().map_err(|_| format!("{key}={text}: not an address").into())
    }

    /// Where the server listens.
    pub(crate) fn listen(&self) -> Result<SocketAddr, Box<dyn Error>> {
        self.address("listen")
    }

    /// Where the clients go.
    pub(crate) fn to(&self) -> Result<SocketAddr, Box<dyn Error>> {
        self.address("to")
    }
}
