//! An operator's order to stop, and its time.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::clock::Micros;

/// An order to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// When, by the monotonic clock: a step of the other one changes nothing.
    pub at: Instant,
    /// When, as people are told.
    pub time: Micros,
    /// Why, in the operator's words.
    pub reason: String,
    /// The row of the alert that tells of it.
    pub alert: Option<i64>,
}

/// Whether and when an operator stops the server.
#[derive(Debug)]
pub struct Stopping(watch::Sender<Option<Order>>);

impl Default for Stopping {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl Stopping {
    /// Orders a stop, in place of one that was ordered before; or takes it back.
    pub fn order(&self, order: Option<Order>) {
        self.0.send_replace(order);
    }

    /// The order that stands.
    pub fn ordered(&self) -> Option<Order> {
        self.0.borrow().clone()
    }

    /// Waits until the time of an order has come, and tells why.
    pub async fn wait(&self) -> String {
        let mut orders = self.0.subscribe();
        loop {
            let order = orders.borrow_and_update().clone();
            let changed = orders.changed();
            match order {
                None => _ = changed.await,
                Some(order) => tokio::select! {
                    // An order that is taken back in the moment of its time is taken back.
                    biased;
                    _ = changed => {}
                    () = tokio::time::sleep_until(order.at) => return order.reason,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn order(seconds: u64, reason: &str) -> Order {
        Order {
            at: Instant::now() + Duration::from_secs(seconds),
            time: 0,
            reason: reason.into(),
            alert: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_order_counts_and_one_that_was_taken_back_does_not() {
        let stopping = Stopping::default();
        stopping.order(Some(order(10, "first")));
        stopping.order(Some(order(20, "second")));
        let begun = Instant::now();
        assert_eq!(stopping.wait().await, "second");
        assert_eq!(begun.elapsed(), Duration::from_secs(20));

        stopping.order(Some(order(5, "third")));
        stopping.order(None);
        assert!(tokio::time::timeout(Duration::from_secs(60), stopping.wait()).await.is_err());
    }
}
