//! How many connections one address may have before somebody logs in on them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one address that may wait for a slot, for each that it may have.
const WAITING: usize = 4;

/// What an address counts as: itself, or for IPv6 its /64, all of which one subscriber has.
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The slots of all addresses. Addresses without connections take no memory.
#[derive(Debug)]
pub(super) struct Slots {
    limit: usize,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

#[derive(Debug)]
struct Address {
    /// Connections that have a slot or wait for one.
    users: usize,
    free: Arc<Semaphore>,
}

/// A connection that has a slot of its address, or waits for one.
#[derive(Debug)]
pub(super) struct Place {
    slots: Arc<Slots>,
    address: IpAddr,
    free: Arc<Semaphore>,
}

/// A slot of an address.
#[derive(Debug)]
pub(super) struct Slot {
    // Given back in this order: whoever waits gets the permit while the address is still known.
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl Slots {
    /// `limit` slots for each address.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            addresses: Mutex::default(),
        })
    }

    /// A place in the queue of an address; none if too many wait already.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = counted_as(address);
        let mut addresses = self.lock();
        let entry = addresses.entry(address).or_insert_with(|| Address {
            users: 0,
            free: Arc::new(Semaphore::new(self.limit)),
        });
        if entry.users >= self.limit.saturating_mul(1 + WAITING) {
            return None;
        }
        entry.users += 1;
        Some(Place {
            slots: Arc::clone(self),
            address,
            free: Arc::clone(&entry.free),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until the address has a slot to give, first come, first served.
    pub(super) async fn slot(self) -> Slot {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        Slot {
            _permit: permit,
            _place: self,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.slots.lock();
        if let Some(entry) = addresses.get_mut(&self.address) {
            entry.users -= 1;
            if entry.users == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv6_counts_by_its_network_and_mapped_addresses_as_ipv4() {
        assert_eq!(counted_as(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(counted_as(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_eq!(counted_as(ip("192.0.2.1")), ip("192.0.2.1"));
    }

    #[tokio::test]
    async fn an_address_gets_its_slots_and_the_next_one_waits() {
        let slots = Slots::new(2);
        let a = ip("192.0.2.1");
        let first = slots.place(a).unwrap().slot().now_or_never().unwrap();
        let _second = slots.place(a).unwrap().slot().now_or_never().unwrap();
        let mut third = Box::pin(slots.place(a).unwrap().slot());
        assert!((&mut third).now_or_never().is_none());
        assert!(slots.place(ip("192.0.2.2")).unwrap().slot().now_or_never().is_some());
        drop(first);
        timeout(Duration::from_secs(5), third).await.unwrap();
    }

    #[test]
    fn only_so_many_may_wait() {
        let slots = Slots::new(1);
        let places: Vec<Place> = (0..5).map(|_| slots.place(ip("2001:db8::1")).unwrap()).collect();
        assert!(slots.place(ip("2001:db8::2")).is_none());
        drop(places);
        assert!(slots.lock().is_empty());
        assert!(slots.place(ip("2001:db8::2")).is_some());
    }

    #[tokio::test]
    async fn nothing_is_left_when_all_have_gone() {
        let slots = Slots::new(1);
        let slot = slots.place(ip("192.0.2.1")).unwrap().slot().await;
        let waiting = slots.place(ip("192.0.2.1")).unwrap();
        drop(slot);
        let slot = waiting.slot().now_or_never().unwrap();
        drop(slot);
        assert!(slots.lock().is_empty());
    }
}
