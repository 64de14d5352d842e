//! `greffe whoami`

use serde_json::json;

use super::context::Context;
use crate::error::CommandError;
use crate::text::visible;

/// Shows who is logged in.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let me = client.me().await?;
    if context.ui.is_json() {
        return context.ui.object(&json!({
            "user": me.name, "user_id": me.id, "display_name": me.display_name, "server": client.address().to_string(),
        }));
    }
    context.ui.line(&format!("{} on {}", visible(&me.name), client.address()))
}
