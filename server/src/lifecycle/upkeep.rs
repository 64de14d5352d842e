//! What has to be done from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::domain::clock::{SECOND, now};
use crate::domain::command::Command;
use crate::grpc::App;

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// Ends sessions that are too old, notes what was refused, and forgets old requests, once a minute.
pub(super) async fn run(app: Arc<App>) {
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let limits = &app.config.limits;
        let micros = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND);
        app.journal.note(Command::Expire {
            age: micros(limits.session_seconds),
            idle: micros(limits.session_idle_seconds),
        });
        app.journal.note(Command::ForgetRequests {
            before: now().saturating_sub(micros(limits.request_id_seconds)),
        });
        for (cause, count) in app.refusals.take() {
            app.journal.note(Command::CountRefusals { cause, count });
        }
        app.typing.retain_recent();
    }
}
