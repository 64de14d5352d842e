//! The loop of the live view: asking the server and showing, in turns.

use std::time::Duration;

use greffe::admin_api::{AdminSession, ListSessionsRequest, ServerStatus};
use greffe::terminal::error::CommandError;
use greffe::{Error, Operator};
use tokio::time::MissedTickBehavior;

use super::screen::{Key, Screen, frame};
use super::view::View;
use crate::commands::{PAGE, status};
use crate::context::Context;

/// How often the view is made anew.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows the view until it is quit, or the server cannot be asked any more.
pub(super) async fn watch(context: &Context) -> Result<(), CommandError> {
    let operator = context.operator().await?;
    // What can be refused is refused before the screen is taken over.
    let mut seen = look(operator).await?;
    let mut view = View::default();
    let mut screen = Screen::open()?;
    let mut ticks = tokio::time::interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    loop {
        let lines = view.lines(&seen.0, &seen.1, screen.rows());
        context.ui.bytes(frame(&lines).as_bytes())?;
        let next = async {
            ticks.tick().await;
            look(operator).await
        };
        tokio::select! {
            key = screen.key() => match key {
                Key::Quit => return Ok(()),
                Key::Other => {}
            },
            new = next => seen = new?,
        }
    }
}

/// Asks for what is shown: the newest sessions with a live stream, and the status.
async fn look(operator: &Operator) -> Result<(ServerStatus, Vec<AdminSession>), Error> {
    let sessions = ListSessionsRequest {
        page_size: PAGE,
        live_only: true,
        ..ListSessionsRequest::default()
    };
    let status = status::ask(operator).await?;
    Ok((status, operator.call(sessions).await?.sessions))
}
