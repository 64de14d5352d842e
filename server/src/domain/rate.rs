//! How fast a user may change things: one budget for calls and streams together.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::ids::UserId;

/// A rate per user, with a burst.
pub struct Rate {
    limiter: Option<DefaultKeyedRateLimiter<UserId>>,
    clock: DefaultClock,
}

impl Rate {
    /// `per_second` in the long run, `burst` at once. 0 a second turns the rate off.
    pub fn new(per_second: i64, burst: i64) -> Self {
        let number = |value: i64| u32::try_from(value).ok().and_then(NonZeroU32::new);
        let limiter = number(per_second).map(|per_second| {
            let burst = number(burst).unwrap_or(NonZeroU32::MIN);
            RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst))
        });
        Self {
            limiter,
            clock: DefaultClock::default(),
        }
    }

    /// Takes one from the user's budget, or says how long to wait.
    pub fn check(&self, user: UserId) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(&user).map_err(|early| early.wait_time_from(self.clock.now()))
    }

    /// Forgets users whose budget is full again.
    pub fn prune(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
        }
    }
}

impl std::fmt::Debug for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_the_next_one_waits() {
        let (rate, user, other) = (Rate::new(1, 3), UserId::random(), UserId::random());
        assert!((0..3).all(|_| rate.check(user).is_ok()));
        let wait = rate.check(user).expect_err("the burst is used up");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert!(rate.check(other).is_ok());
    }

    #[test]
    fn zero_turns_the_rate_off() {
        let (rate, user) = (Rate::new(0, 0), UserId::random());
        assert!((0..10_000).all(|_| rate.check(user).is_ok()));
    }
}
