//! `greffe-admin logout`

use greffe::admin_api::LogOutRequest;
use greffe::api::ErrorReason;
use greffe::terminal::error::CommandError;

use crate::context::{Context, Place};

/// Ends the session and forgets its token. A session that has ended already is no failure: the token is forgotten all the same.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    let Place::Network(address) = context.place()? else {
        return Err(CommandError::usage(
            "over the server's socket nobody is logged in",
            "for another machine, add --server https://HOST:PORT",
        ));
    };
    match context.operator().await?.call(LogOutRequest {}).await {
        Err(error) if !error.is(ErrorReason::SessionEnded) => return Err(error.into()),
        _ => {}
    }
    // A token of a file or of the environment is not ours to forget.
    if let Some(user) = context.config.last_user(&address)?
        && context.token(&address)? == context.config.token(&address, &user)?
    {
        context.config.forget_login(&address, &user)?;
    }
    context.ui.note("logged out");
    Ok(())
}
