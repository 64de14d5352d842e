//! Looks at the server's record while somebody chats.

use greffe::Client;
use greffe::terminal::witness::{OFTEN, is_due, news};
use tokio::sync::mpsc;

use crate::error::CommandError;

/// Looks now, if that was not done a moment ago, and each minute from then on. What is worth saying comes out; after a finding nothing more does.
pub(super) fn follow(client: Client) -> mpsc::Receiver<Result<String, CommandError>> {
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            if is_due(client.last_witnessed(), OFTEN)
                && let Some(found) = news(client.witness().await).transpose()
            {
                let is_finding = found.is_err();
                if tell.send(found).await.is_err() || is_finding {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(OFTEN) => {}
                () = tell.closed() => return,
            }
        }
    });
    told
}
