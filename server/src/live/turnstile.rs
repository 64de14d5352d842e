//! Where streams queue that begin or lag, so that those that keep up are not held up: a thousand that come back at once would otherwise all have
//! something to send whenever a thread is free.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// Streams that have a turn at once.
const TURNS: usize = 4;
/// How long a page may take to be sent until it is another's turn: who does not read what it is sent must not hold up others.
const LONGEST: Duration = Duration::from_millis(10);

/// Lets a few streams at a time have a turn, in the order in which they came.
#[derive(Debug)]
pub(super) struct Turnstile(Arc<Semaphore>);

/// A turn that ends when it is dropped.
#[derive(Debug)]
pub struct Turn(Option<OwnedSemaphorePermit>);

/// A turn that ends when it is dropped, or soon in any case.
#[derive(Debug)]
pub(super) struct ShortTurn(#[expect(dead_code, reason = "dropping it ends the turn")] oneshot::Sender<()>);

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TURNS)))
    }
}

impl Turnstile {
    /// Waits for a turn, in which nothing may be waited for that depends on a client.
    pub(super) async fn turn(&self) -> Turn {
        // The semaphore is never closed.
        Turn(Arc::clone(&self.0).acquire_owned().await.ok())
    }
}

impl Turn {
    /// Lets it last until something was sent, but not for long.
    pub(super) fn shortly(mut self) -> ShortTurn {
        let permit = self.0.take();
        let (turn, is_over) = oneshot::channel();
        tokio::spawn(async move {
            let _ = timeout(LONGEST, is_over).await;
            drop(permit);
        });
        ShortTurn(turn)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_at_a_time_have_a_turn_and_nobody_keeps_it() {
        let turnstile = Turnstile::default();
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(turnstile.turn().now_or_never().unwrap().shortly());
        }
        assert!(turnstile.turn().now_or_never().is_none());
        turns.pop();
        tokio::task::yield_now().await;
        turns.push(turnstile.turn().now_or_never().unwrap().shortly());
        // Those that stay are over after a while.
        let begin = tokio::time::Instant::now();
        let late = turnstile.turn().await;
        assert_eq!(begin.elapsed().as_millis() / 5, LONGEST.as_millis() / 5);
        drop(late);
        assert!(turnstile.turn().now_or_never().is_some());
    }
}
