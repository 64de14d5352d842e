//! Who is at the other end of a connection, for the requests that come over it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::slots::Slot;

/// The other end of a connection. In the extensions of each request; clones are cheap and mean the same connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The connection's number, unique while the server runs, from 1.
    pub id: u64,
    /// The client's address; a trusted proxy's client if the proxy told it at the start of the connection.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requested: AtomicBool,
    logged_in: AtomicBool,
    /// The slot of its address, until somebody logs in.
    slot: Mutex<Option<Slot>>,
}

impl Peer {
    pub(super) fn new(id: u64, address: SocketAddr, slot: Option<Slot>) -> Self {
        Self {
            id,
            address,
            shared: Arc::new(Shared {
                requested: AtomicBool::new(false),
                logged_in: AtomicBool::new(false),
                slot: Mutex::new(slot),
            }),
        }
    }

    /// A request has come: the connection is no longer closed for want of one. Call it for each request; it costs nothing.
    pub fn request_seen(&self) {
        self.shared.requested.store(true, Ordering::Relaxed);
    }

    /// Somebody has logged in, or shown a valid token: the connection no longer counts for its address. Call it as often as you like.
    pub fn logged_in(&self) {
        self.shared.logged_in.store(true, Ordering::Relaxed);
        self.give_slot_back();
    }

    pub(super) fn has_logged_in(&self) -> bool {
        self.shared.logged_in.load(Ordering::Relaxed)
    }

    pub(super) fn has_requested(&self) -> bool {
        self.shared.requested.load(Ordering::Relaxed)
    }

    /// Requests may keep their peer longer than the connection lasts; the slot must not last as long.
    pub(super) fn give_slot_back(&self) {
        let slot = self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(slot);
    }
}
