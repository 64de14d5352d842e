//! `greffe-admin whoami`

use greffe::admin_api::WhoAmIRequest;
use greffe::terminal::error::CommandError;
use serde_json::json;

use super::log::entry::who;
use crate::context::Context;
use crate::output::role_names;

/// Shows who acts, as acts are recorded, and with which roles.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    let answer = context.operator().await?.call(WhoAmIRequest {}).await?;
    let roles = role_names(&answer.roles);
    if !context.ui.is_json() {
        let who = who(answer.operator.as_ref());
        return context.ui.line(&format!("{who}: {}", roles.join(", ")));
    }
    let operator = answer.operator.unwrap_or_default();
    let local = operator.user_name.is_empty();
    context.ui.object(&json!({
        "operator": (!local).then_some(&operator.user_name),
        "os_user": local.then_some(&operator.os_user),
        "os_uid": local.then_some(operator.os_uid),
        "address": operator.peer.as_ref().map(|peer| &peer.address),
        "port": operator.peer.as_ref().map(|peer| peer.port),
        "roles": roles,
    }))
}
