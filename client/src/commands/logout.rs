//! `greffe logout`

use greffe::api::ErrorReason;

use super::context::Context;
use crate::error::CommandError;

/// Ends the session and forgets its token. A session that has ended already is no failure: the token is forgotten all the same.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let address = client.address();
    let user = match context.user() {
        Some(user) => Some(user),
        None => context.config.last_user(address)?,
    };
    match client.log_out().await {
        Err(error) if !error.is(ErrorReason::SessionEnded) => return Err(error.into()),
        _ => {}
    }
    // A token of a file or of the environment is not ours to forget, nor the account that happened to log in last.
    let own = match &user {
        Some(user) => context.token()? == context.config.token(address, user)?,
        None => false,
    };
    if let Some(user) = user.filter(|_| own) {
        context.config.forget_login(address, &user)?;
        context.ui.note(&format!("logged out {user}"));
    } else {
        context.ui.note("logged out");
    }
    Ok(())
}
