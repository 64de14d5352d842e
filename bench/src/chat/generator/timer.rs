//! A wait in nanoseconds. What waits for sockets counts in milliseconds and rounds up, which at 1,000 messages a second would be the
//! latency that is measured.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use anyhow::Context as _;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The shortest wait: zero would mean never.
const SHORTEST: Duration = Duration::from_nanos(1);

/// Wakes the loop after a wait.
#[derive(Debug)]
pub(super) struct Timer(TimerFd);

impl Timer {
    /// A timer that wakes who waits for `registry`'s sockets, with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> anyhow::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )
        .context("a timer cannot be made")?;
        registry.register(&mut SourceFd(&timer.as_fd().as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Wakes the loop once, `wait` from now, and forgets the wait before.
    pub(super) fn set(&mut self, wait: Duration) -> anyhow::Result<()> {
        let wait = Expiration::OneShot(wait.max(SHORTEST).into());
        self.0.set(wait, TimerSetTimeFlags::empty()).context("a timer cannot be set")
    }
}
