//! Passwords: hashed with Argon2id off the runtime, few at once, and judged when somebody chooses one.

mod suitable;

use std::{hint::black_box, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::{self, phc::PasswordHash},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

pub use self::suitable::{Unsuitable, check_suitable};
use crate::telemetry;

/// KiB of memory that one hash takes: OWASP's minimum for Argon2id with two passes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What is verified where no account exists, so that the answer takes the same time. No password is known to have this hash, and
/// one that had it would be refused all the same.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdCBmb3Igbm9ib2R5IQ$bm9ib2R5IGhhcyBhIHBhc3N3b3JkIGxpa2UgdGhpcy4";

/// Too many passwords wait to be hashed; nothing was decided. Try again in a few seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is busy with other logins: try again in a few seconds")]
pub struct Busy;

/// Hashes and verifies passwords. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Hashes that may be computed now.
    running: Arc<Semaphore>,
    /// Those, and the ones that may wait for them.
    places: Arc<Semaphore>,
    all_places: usize,
    wait: Duration,
}

/// A turn to hash; it lasts as long as the hash, even if nobody waits for that any more.
struct Turn {
    _running: OwnedSemaphorePermit,
    _place: Place,
}

/// A place in the queue or in work; the number of those in use is a metric.
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    places: Arc<Semaphore>,
    all: usize,
}

impl Place {
    fn count(&self) {
        telemetry::password_queue(self.all.saturating_sub(self.places.available_permits()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.count();
    }
}

/// A password on its way to be hashed, wiped afterwards.
struct Secret(Vec<u8>);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving out a write that nobody reads.
        black_box(&mut self.0);
    }
}

impl Passwords {
    /// Computes `at_once` hashes at a time (0: one per processor core), lets `queue` more wait, each for `wait` at most.
    pub fn new(at_once: usize, queue: usize, wait: Duration) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = if at_once == 0 { cores() } else { at_once };
        let all_places = at_once.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        Self {
            running: Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS))),
            places: Arc::new(Semaphore::new(all_places)),
            all_places,
            wait,
        }
    }

    /// Makes the hash to store for a password, in PHC form, with a salt of its own.
    ///
    /// # Errors
    /// [`Busy`] if the queue is full, no turn came in time, or there is no memory for it.
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        let password = Secret(password.into_bytes());
        let turn = self.turn().await?;
        let hashed = spawn_blocking(move || {
            let _turn = turn;
            argon2().hash_password(&password.0).map(|hash| hash.to_string())
        });
        finished(hashed.await)?.map_err(|error| {
            tracing::error!(%error, "A password could not be hashed");
            Busy
        })
    }

    /// Whether a password has this hash. None, for an account that does not exist, takes as long and is false.
    ///
    /// # Errors
    /// [`Busy`] if the queue is full, no turn came in time, or there is no memory for it.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<bool, Busy> {
        let password = Secret(password.into_bytes());
        let turn = self.turn().await?;
        let verified = spawn_blocking(move || {
            let _turn = turn;
            let hash = PasswordHash::new(phc.as_deref().unwrap_or(NOBODY))?;
            argon2().verify_password(&password.0, &hash).map(|()| phc.is_some())
        });
        match finished(verified.await)? {
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Ok(known) => Ok(known),
            // No memory for it.
            Err(password_hash::Error::OutOfMemory) => Err(Busy),
            Err(error) => {
                tracing::error!(%error, "A stored password hash cannot be read: its account cannot log in");
                Ok(false)
            }
        }
    }

    /// Waits for a turn in the queue.
    async fn turn(&self) -> Result<Turn, Busy> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        let place = Place {
            permit: Some(permit),
            places: Arc::clone(&self.places),
            all: self.all_places,
        };
        place.count();
        match timeout(self.wait, Arc::clone(&self.running).acquire_owned()).await {
            Ok(Ok(running)) => Ok(Turn {
                _running: running,
                _place: place,
            }),
            Ok(Err(_)) | Err(_) => Err(Busy),
        }
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within Argon2's ranges");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// What a blocking task made; [`Busy`] if the server stops before its turn.
fn finished<T>(joined: Result<T, tokio::task::JoinError>) -> Result<T, Busy> {
    joined.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Busy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        Passwords::new(1, 1, Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_password_is_recognised_by_its_hash() {
        let passwords = passwords();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = |password: &str| passwords.verify(password.to_owned(), Some(hash.clone()));
        assert!(verify("correct horse").await.unwrap());
        assert!(!verify("correct horsf").await.unwrap());
        assert!(!verify("").await.unwrap());
    }

    #[tokio::test]
    async fn hashes_of_one_password_differ() {
        let passwords = passwords();
        let first = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert_ne!(first, passwords.hash("correct horse".to_owned()).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_a_password_and_the_same_parameters() {
        assert_eq!(passwords().verify("correct horse".to_owned(), None).await, Ok(false));
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&nobody).unwrap();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (MEMORY_KIB, PASSES, LANES)
        );
        assert_eq!(nobody.hash.unwrap().len(), Params::DEFAULT_OUTPUT_LEN);
        assert_eq!(nobody.salt.unwrap().len(), password_hash::phc::Salt::RECOMMENDED_LENGTH);
    }

    #[tokio::test]
    async fn what_is_no_hash_is_never_right() {
        assert_eq!(
            passwords().verify("correct horse".to_owned(), Some("broken".to_owned())).await,
            Ok(false)
        );
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let passwords = passwords();
        let first = passwords.turn().await.unwrap();
        let second = {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.turn().await.map(drop) })
        };
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.hash("correct horse".to_owned()).await, Err(Busy));
        drop(first);
        second.await.unwrap().unwrap();
        assert!(passwords.hash("correct horse".to_owned()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_allowed() {
        let passwords = Passwords::new(1, 1, Duration::from_secs(2));
        let _first = passwords.turn().await.unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(passwords.hash("correct horse".to_owned()).await, Err(Busy));
        assert_eq!(started.elapsed(), Duration::from_secs(2));
        assert_eq!(passwords.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_hash_keeps_its_turn_when_its_client_has_gone() {
        let passwords = passwords();
        let mut hashing = Box::pin(passwords.hash("correct horse".to_owned()));
        // Polled once, the work has begun.
        assert!(futures_util::poll!(&mut hashing).is_pending());
        assert_eq!(passwords.running.available_permits(), 0);
        drop(hashing);
        assert_eq!(passwords.running.available_permits(), 0);
        let _next = passwords.turn().await.unwrap();
    }
}
