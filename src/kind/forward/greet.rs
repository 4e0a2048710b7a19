//! Who is let in, where a connection tells by a PROXY header whose it is: first the sender is judged, then the client.

use super::{gate::SourceSlot, proxy::Ends, serve::Service};
use crate::{
    kind::service::Open,
    net::stream::{Peer, Stream},
    outcome::Close,
};

impl Service {
    /// Whether a connection is let in, as far as that can be said before it has told whose it is.
    pub(super) fn admits(&self, peer: &Peer) -> Result<(), Close> {
        match self.proxy.accepts() {
            true if !self.proxy.trusts(peer) => Err(Close::ProxyHeader),
            false if !self.gate.admits(peer) => Err(Close::Denied),
            _ => Ok(()),
        }
    }

    /// Lets a connection tell whose it is; then that one is the client, and is let in or not.
    pub(super) async fn greet(
        &self,
        client: &Stream,
        open: &mut Open,
    ) -> Result<(Ends, Option<SourceSlot>), Close> {
        let ends = tokio::select! {
            biased;
            () = self.ending.kill.cancelled() => Err(Close::Grace),
            ends = self.proxy.receive(client, open.peer) => ends,
        }?;
        open.peer = ends.client;
        if !self.gate.admits(&ends.client) {
            return Err(Close::Denied);
        }
        Ok((ends, self.gate.enter_source(&ends.client)?))
    }
}
