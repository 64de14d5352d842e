//! What has to be done from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use crate::domain::clock::{SECOND, now};
use crate::domain::command::{Command, Lifetime};
use crate::grpc::App;

/// How often old requests are forgotten: in small portions, so that no batch waits for a large one.
const OFTEN: Duration = Duration::from_secs(1);
/// How often everything else is done.
const SELDOM: Duration = Duration::from_secs(60);

/// Ends sessions that are too old, notes what was refused, forgets old requests, and signs checkpoints.
pub(super) async fn run(app: Arc<App>) {
    let (mut often, mut seldom) = (interval(OFTEN), interval(SELDOM));
    let limits = &app.config.limits;
    let micros = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND);
    let members = Lifetime {
        age: micros(limits.session_seconds),
        idle: micros(limits.session_idle_seconds),
    };
    let operators = app.operators_lifetime();
    let expire = || Command::Expire { members, operators };
    let shortest = [members.age, members.idle, operators.age, operators.idle].into_iter().min();
    let mut told_draining = false;
    loop {
        tokio::select! {
            _ = often.tick() => {
                let before = now().saturating_sub(micros(limits.request_id_seconds));
                app.journal.note(Command::ForgetRequests { before });
                // Sessions that live for a few seconds only are ended by the second.
                if shortest < Some(micros(1800)) {
                    app.journal.note(expire());
                }
                if limits.upload_idle_seconds < 1800 {
                    app.sweep_uploads().await;
                }
                let draining = app.feed.draining().is_some();
                if draining != told_draining {
                    app.health.tell(!draining).await;
                    told_draining = draining;
                }
                let rows = app.view().read(|state| state.size);
                app.activity.sample(u64::try_from(rows).unwrap_or_default(), app.feed.delivered());
            }
            _ = seldom.tick() => {
                app.journal.note(expire());
                note_refusals(&app);
                app.sweep_uploads().await;
                app.typing.retain_recent();
                app.marking.prune();
                // What went wrong is in the log; the next one is tried in a minute.
                let _ = app.sign_checkpoint().await;
            }
        }
    }
}

/// Has a row written for each cause of what was refused since the last time.
pub(super) fn note_refusals(app: &App) {
    for (cause, count) in app.refusals.take() {
        app.journal.note(Command::CountRefusals { cause, count });
    }
}

fn interval(every: Duration) -> Interval {
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}
