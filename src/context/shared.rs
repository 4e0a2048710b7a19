//! What all runs of the process share: a place for it, and nothing of what it does.

use std::sync::Arc;

use crate::{
    meter::Registry,
    net::{
        descriptors::Descriptors, hops::Hops, icmp::Probers, interface::Snapshots, listen, resolve::Resolver,
        workers::Workers,
    },
    state::State,
};

/// What all runs of the process share; its parts start at their first use.
#[derive(Debug)]
pub struct Shared {
    /// Looks names up.
    pub resolver: Resolver,
    /// Send ICMP echoes.
    pub probers: Probers,
    /// Who forwards datagrams to this machine.
    pub hops: Arc<Hops>,
    /// Who forwards connections to this process.
    pub stream_hops: Arc<Hops>,
    /// All open listeners.
    pub listeners: listen::Pool,
    /// The table of descriptors, when they run short.
    pub descriptors: Arc<Descriptors>,
    /// The threads that carry connections.
    pub workers: Workers,
    /// The machine's interfaces, read at most once a second.
    pub interfaces: Snapshots,
    /// Everything with a `job_name`.
    pub registry: Arc<Registry>,
    /// What survives a restart; `None`: nothing does.
    pub state: Option<State>,
}

impl Shared {
    /// Fresh shared parts around a registry.
    pub fn new(registry: Arc<Registry>) -> Arc<Self> {
        Self::with_state(registry, None)
    }

    /// The same, with what survives a restart.
    pub fn with_state(registry: Arc<Registry>, state: Option<State>) -> Arc<Self> {
        Self::with_listeners(registry, state, listen::Pool::default())
    }

    /// The same, with listeners that are open already.
    pub fn with_listeners(
        registry: Arc<Registry>,
        state: Option<State>,
        listeners: listen::Pool,
    ) -> Arc<Self> {
        Arc::new(Self {
            resolver: Resolver::default(),
            probers: Probers::default(),
            hops: Arc::default(),
            stream_hops: Arc::default(),
            listeners,
            descriptors: Arc::default(),
            workers: Workers::default(),
            interfaces: Snapshots::default(),
            registry,
            state,
        })
    }
}
