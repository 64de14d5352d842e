//! Tests of the login limiter: its waits, what it forgets, and that guessing in parallel gains nothing.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A time just too early.
fn before(time: Instant) -> Instant {
    time.checked_sub(Duration::from_nanos(1)).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn home() -> IpAddr {
    ip("192.0.2.1")
}

/// Fails until it must wait; how often, and the wait.
fn fail_until_refused(limiter: &LoginLimiter, address: IpAddr, name: &str, now: Instant) -> (u32, Duration) {
    let mut failures = 0;
    loop {
        if let Err(RetryAfter(wait)) = limiter.check(address, name, now) {
            return (failures, wait);
        }
        limiter.failed(address, name, now).unwrap();
        failures += 1;
    }
}

#[test]
fn an_account_waits_longer_each_time() {
    let limiter = LoginLimiter::new(0, 5);
    let mut now = Instant::now();
    assert_eq!(fail_until_refused(&limiter, home(), "alice", now), (5, SECOND));
    for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        let RetryAfter(wait) = limiter.check(home(), "alice", now).unwrap_err();
        assert!(limiter.check(home(), "alice", before(now + wait)).is_err());
        now += wait;
        assert_eq!(
            fail_until_refused(&limiter, home(), "alice", now),
            (1, Duration::from_secs(seconds))
        );
    }
}

#[test]
fn an_account_waits_only_at_the_address_that_failed() {
    let limiter = LoginLimiter::new(0, 5);
    let now = Instant::now();
    fail_until_refused(&limiter, home(), "alice", now);
    limiter.check(home(), "bob", now).unwrap();
    limiter.check(ip("192.0.2.2"), "alice", now).unwrap();
}

#[test]
fn failures_are_forgotten_after_success_or_a_quarter_of_an_hour() {
    let limiter = LoginLimiter::new(0, 5);
    let now = Instant::now();
    for _ in 0..4 {
        limiter.failed(home(), "alice", now).unwrap();
    }
    limiter.succeeded(home(), "alice", now).unwrap();
    assert_eq!(fail_until_refused(&limiter, home(), "alice", now).0, 5);
    assert_eq!(fail_until_refused(&limiter, home(), "alice", before(now + MEMORY)).0, 1);
    assert_eq!(fail_until_refused(&limiter, home(), "alice", now + MEMORY * 2).0, 5);
}

#[test]
fn an_address_has_so_many_failures_a_minute() {
    let limiter = LoginLimiter::new(20, 0);
    let now = Instant::now();
    for i in 0..19 {
        limiter.failed(home(), &format!("user{i}"), now).unwrap();
    }
    limiter.check(home(), "user19", now).unwrap();
    limiter.failed(home(), "user19", now).unwrap();
    assert_eq!(limiter.check(home(), "user20", now), Err(RetryAfter(3 * SECOND)));
    assert_eq!(fail_until_refused(&limiter, home(), "user20", now + 3 * SECOND).0, 1);
    assert_eq!(fail_until_refused(&limiter, home(), "user20", now + 10 * MINUTE).0, 20);
    limiter.check(ip("192.0.2.2"), "user20", now).unwrap();
}

#[test]
fn a_success_does_not_wash_off_the_failures_of_its_address() {
    let limiter = LoginLimiter::new(2, 0);
    let now = Instant::now();
    limiter.failed(home(), "alice", now).unwrap();
    limiter.succeeded(home(), "mallory", now).unwrap();
    limiter.failed(home(), "alice", now).unwrap();
    assert!(limiter.check(home(), "mallory", now).is_err());
}

#[test]
fn ipv6_counts_by_its_network() {
    let limiter = LoginLimiter::new(0, 1);
    let now = Instant::now();
    limiter.failed(ip("2001:db8::1"), "alice", now).unwrap();
    assert!(limiter.check(ip("2001:db8::2"), "alice", now).is_err());
    assert!(limiter.check(ip("2001:db8:0:1::1"), "alice", now).is_ok());
}

#[test]
fn guesses_made_at_the_same_time_are_answered_like_guesses_one_after_the_other() {
    let limiter = LoginLimiter::new(0, 5);
    let now = Instant::now();
    for _ in 0..100 {
        limiter.check(home(), "alice", now).unwrap();
    }
    let answered = (0..99).filter(|_| limiter.failed(home(), "alice", now).is_ok()).count();
    assert_eq!(answered, 5);
    assert_eq!(limiter.succeeded(home(), "alice", now), Err(RetryAfter(SECOND)));
}

#[test]
fn zero_turns_limits_off() {
    let limiter = LoginLimiter::new(0, 0);
    let now = Instant::now();
    for _ in 0..10_000 {
        limiter.check(home(), "alice", now).unwrap();
        limiter.failed(home(), "alice", now).unwrap();
    }
    assert!(limiter.lock().accounts.entries.is_empty() && limiter.lock().addresses.entries.is_empty());
}

#[test]
fn the_oldest_are_forgotten_first() {
    let limiter = LoginLimiter::with_keys(1, 1, 16);
    let start = Instant::now();
    let address = |i: u8| IpAddr::from([192, 0, 2, i]);
    for i in 0..17 {
        limiter
            .failed(address(i), "alice", start + Duration::from_millis(i.into()))
            .unwrap();
    }
    let now = start + Duration::from_millis(20);
    assert!(limiter.check(address(0), "alice", now).is_ok());
    assert!(limiter.check(address(1), "alice", now).is_ok());
    for i in 2..17 {
        assert!(limiter.check(address(i), "alice", now).is_err(), "{i}");
    }
}

#[test]
fn a_wait_is_told_in_whole_seconds_rounded_up() {
    assert_eq!(RetryAfter(Duration::from_millis(1)).seconds(), 1);
    assert_eq!(
        RetryAfter(Duration::from_millis(1001)).to_string(),
        "too many failed logins: try again in 2 s"
    );
}

proptest! {
    #[test]
    fn nobody_guesses_faster_than_allowed(
        per_address in 1u32..30,
        per_account in 1u32..8,
        pauses in proptest::collection::vec(0u64..20_000, 1..300),
    ) {
        let limiter = LoginLimiter::new(per_address, per_account);
        let mut now = Instant::now();
        let mut answered: Vec<Instant> = Vec::new();
        for pause in pauses {
            now += Duration::from_millis(pause);
            match limiter.check(home(), "alice", now) {
                Ok(()) => {
                    limiter.failed(home(), "alice", now).unwrap();
                    answered.push(now);
                }
                // The wait that was told is enough, and no more than needed.
                Err(RetryAfter(wait)) => {
                    prop_assert!(wait <= WAIT_MAX.max(MINUTE));
                    prop_assert!(limiter.check(home(), "alice", now + wait).is_ok());
                    prop_assert!(limiter.check(home(), "alice", before(now + wait)).is_err());
                }
            }
        }
        // In any minute at most the limit, and what was forgiven within it.
        for (i, first) in answered.iter().enumerate() {
            let within = answered[i..].iter().take_while(|at| **at - *first < MINUTE).count();
            prop_assert!(within < 2 * per_address as usize + 1);
        }
        // Beyond the account's limit each pause is twice the one before, as long as nothing is forgotten.
        for (beyond, pair) in answered.windows(2).skip(per_account as usize - 1).enumerate() {
            let wait = Duration::from_secs(1 << beyond.min(20)).min(WAIT_MAX);
            prop_assert!(pair[1] - pair[0] >= wait || pair[1] - answered[0] >= MEMORY);
        }
    }

    #[test]
    fn memory_is_bounded(attempts in proptest::collection::vec((any::<u8>(), any::<u8>(), 0u64..5000), 0..500), keys in 1usize..40) {
        let limiter = LoginLimiter::with_keys(3, 3, keys);
        let mut now = Instant::now();
        for (last, name, pause) in attempts {
            now += Duration::from_millis(pause);
            let _ = limiter.failed(IpAddr::from([192, 0, 2, last]), &name.to_string(), now);
            let failures = limiter.lock();
            prop_assert!(failures.addresses.entries.len() <= keys);
            prop_assert!(failures.accounts.entries.len() <= keys);
        }
    }
}
