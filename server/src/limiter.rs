//! Slows down those who guess passwords: failed logins are counted for each address, and for each account from each address.
//!
//! Before a password is hashed, [`LoginLimiter::check`] says whether the attempt may be made. Its outcome goes to
//! [`LoginLimiter::failed`] or [`LoginLimiter::succeeded`], which refuse, too: of many attempts made at the same time, only as many
//! are answered as would have been one after the other. Counts are of this process, and bounded in memory.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::edge::counted_as;

/// Addresses, and again accounts, that are remembered at most; the oldest are forgotten first.
const KEYS: usize = 65_536;
/// The time to which the limit of an address belongs.
const MINUTE: Duration = Duration::from_secs(60);
/// The longest wait for an account.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// After this time without a failure an account's failures are forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Too many logins failed. The attempt was not made, or its outcome must not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins: try again in {} s", self.seconds())]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// The wait in whole seconds, rounded up.
    pub fn seconds(&self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)
    }
}

/// The failed logins of a while ago until now.
#[derive(Debug)]
pub struct LoginLimiter {
    /// Failures a minute; 0: any number.
    per_address: u32,
    /// Failures before each further one makes the next wait longer; 0: any number.
    per_account: u32,
    /// Makes keys of accounts. What people type as a name may be a password, so it is not kept.
    hasher: RandomState,
    failures: Mutex<Failures>,
}

#[derive(Debug)]
struct Failures {
    addresses: Keys<IpAddr, Address>,
    accounts: Keys<u64, Account>,
}

/// The failures of one address, as the time at which all of them are forgiven: each adds an even share of a minute to it (GCRA).
#[derive(Debug, Clone, Copy)]
struct Address {
    forgiven_at: Instant,
}

/// The failures for one account from one address.
#[derive(Debug, Clone, Copy)]
struct Account {
    count: u32,
    newest: Instant,
}

impl LoginLimiter {
    /// Allows `per_address` failures a minute from an address, and `per_account` for an account from one address before each further
    /// one must wait 1 s, 2 s, 4 s … up to 5 min. 0 turns a limit off.
    pub fn new(per_address: u32, per_account: u32) -> Self {
        Self::with_keys(per_address, per_account, KEYS)
    }

    fn with_keys(per_address: u32, per_account: u32, keys: usize) -> Self {
        let failures = Failures {
            addresses: Keys::new(keys),
            accounts: Keys::new(keys),
        };
        Self {
            per_address,
            per_account,
            hasher: RandomState::new(),
            failures: Mutex::new(failures),
        }
    }

    /// Whether somebody at this address may try to log in with this name, as it is looked up.
    ///
    /// # Errors
    /// Too many attempts failed before; the password must not be looked at.
    pub fn check(&self, address: IpAddr, name: &str, now: Instant) -> Result<(), RetryAfter> {
        self.allowed(&self.lock(), counted_as(address), self.account(address, name), now)
    }

    /// Counts an attempt that failed.
    ///
    /// # Errors
    /// Others failed since the check, so that this one would not have been made: do not tell that it failed.
    pub fn failed(&self, address: IpAddr, name: &str, now: Instant) -> Result<(), RetryAfter> {
        let account = self.account(address, name);
        let address = counted_as(address);
        let mut failures = self.lock();
        self.allowed(&failures, address, account, now)?;
        if let Some(share) = MINUTE.checked_div(self.per_address) {
            let entry = failures.addresses.entry(address, now, Address { forgiven_at: now });
            entry.forgiven_at = entry.forgiven_at.max(now) + share;
        }
        if self.per_account > 0 {
            let entry = failures.accounts.entry(account, now, Account { count: 0, newest: now });
            entry.count = if entry.forgotten_at() <= now {
                1
            } else {
                entry.count.saturating_add(1)
            };
            entry.newest = entry.newest.max(now);
        }
        Ok(())
    }

    /// Forgets the failures for the account from this address; those of the address stay, or one's own account would wash off guesses
    /// at others.
    ///
    /// # Errors
    /// Others failed since the check, so that this attempt would not have been made: do not let it in.
    pub fn succeeded(&self, address: IpAddr, name: &str, now: Instant) -> Result<(), RetryAfter> {
        let account = self.account(address, name);
        let mut failures = self.lock();
        self.allowed(&failures, counted_as(address), account, now)?;
        failures.accounts.entries.remove(&account);
        Ok(())
    }

    fn allowed(&self, failures: &Failures, address: IpAddr, account: u64, now: Instant) -> Result<(), RetryAfter> {
        let of_address = failures
            .addresses
            .entries
            .get(&address)
            .map_or(Duration::ZERO, |entry| entry.wait(self.per_address, now));
        let of_account = failures
            .accounts
            .entries
            .get(&account)
            .map_or(Duration::ZERO, |entry| entry.wait(self.per_account, now));
        let wait = of_address.max(of_account);
        if wait.is_zero() { Ok(()) } else { Err(RetryAfter(wait)) }
    }

    fn account(&self, address: IpAddr, name: &str) -> u64 {
        self.hasher.hash_one((counted_as(address), name))
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Address {
    fn wait(self, limit: u32, now: Instant) -> Duration {
        let share = MINUTE.checked_div(limit).unwrap_or_default();
        self.forgiven_at
            .saturating_duration_since(now)
            .saturating_sub(share * limit.saturating_sub(1))
    }
}

impl Account {
    fn wait(self, limit: u32, now: Instant) -> Duration {
        let Some(beyond) = self.count.checked_sub(limit) else {
            return Duration::ZERO;
        };
        if limit == 0 || self.forgotten_at() <= now {
            return Duration::ZERO;
        }
        let wait = Duration::from_secs(1u64.checked_shl(beyond).unwrap_or(u64::MAX)).min(WAIT_MAX);
        (self.newest + wait).saturating_duration_since(now)
    }

    fn forgotten_at(self) -> Instant {
        self.newest + MEMORY
    }
}

/// When an entry says nothing any more.
trait Expires {
    fn expires_at(&self) -> Instant;
}

impl Expires for Address {
    fn expires_at(&self) -> Instant {
        self.forgiven_at
    }
}

impl Expires for Account {
    fn expires_at(&self) -> Instant {
        self.forgotten_at()
    }
}

/// A bounded number of entries.
#[derive(Debug)]
struct Keys<K, V> {
    entries: HashMap<K, V>,
    max: usize,
}

impl<K: Copy + Eq + Hash, V: Expires> Keys<K, V> {
    fn new(max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            max,
        }
    }

    /// The entry of a key, made if need be; then the oldest make room.
    fn entry(&mut self, key: K, now: Instant, new: V) -> &mut V {
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            self.prune(now);
        }
        self.entries.entry(key).or_insert(new)
    }

    /// Forgets what has expired; if that is little, also the eighth that will expire first, so that the next times find room.
    fn prune(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.expires_at() > now);
        let keep = self.max - self.max.div_ceil(8);
        if self.entries.len() > keep {
            let mut ends: Vec<Instant> = self.entries.values().map(Expires::expires_at).collect();
            let excess = ends.len() - keep;
            let (_, last, _) = ends.select_nth_unstable(excess - 1);
            let last = *last;
            let mut left = excess;
            self.entries.retain(|_, entry| {
                let old = left > 0 && entry.expires_at() <= last;
                left -= usize::from(old);
                !old
            });
        }
    }
}

#[cfg(test)]
mod tests;
