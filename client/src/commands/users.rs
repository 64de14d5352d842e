//! `greffe users`

use clap::Args;
use serde_json::json;

use super::context::{Context, user_name};
use super::render::Author;
use crate::error::CommandError;
use crate::time;

/// List users
#[derive(Debug, Args)]
pub(crate) struct UsersArgs {
    /// List only users whose name starts with this
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// List only users who are online
    #[arg(long)]
    online: bool,
}

/// Lists users.
pub(crate) async fn run(args: UsersArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let users = client.users(&user_name(&args.prefix), args.online).await?;
    if context.ui.is_json() {
        return users.into_iter().try_for_each(|user| {
            context.ui.object(&json!({
                "user": user.name,
                "user_id": user.id,
                "display_name": user.display_name,
                "online": user.online,
                "is_operator": user.is_operator,
                "created_at": time::json(user.created_at.as_ref()),
            }))
        });
    }
    let rows = users.into_iter().map(|user| {
        let online = if user.online { "online" } else { "" };
        let name = Author::from(&user).marked();
        vec![name, online.to_owned(), user.display_name]
    });
    context.ui.table(&["USER", "NOW", "NAME"], rows.collect())
}
