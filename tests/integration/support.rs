//! What the tests share: servers, users and streams as values, and the few waits, all with deadlines.

pub(crate) mod chance;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod operator;
pub(crate) mod refusal;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod stream;
pub(crate) mod tool;
pub(crate) mod user;

use std::time::Duration;

pub(crate) use greffe_api::admin::v1 as admin;
pub(crate) use greffe_api::record_api::v1 as record;
pub(crate) use greffe_api::v1;
pub(crate) use operator::Operator;
pub(crate) use refusal::{Refusal, refused};
pub(crate) use server::{Options, Server};
pub(crate) use stream::Stream;
pub(crate) use user::User;
pub(crate) use v1::ErrorReason;
pub(crate) use v1::frame::Kind;

/// How long anything may take that normally takes milliseconds. Far beyond what a loaded machine needs, so that only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(45);

/// The password of every account the tests make.
pub(crate) const PASSWORD: &str = "an owl in the attic";

/// A new `request_id`.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Waits for `future`, or fails the test naming `what` did not come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(DEADLINE, future).await else {
        panic!("{what} did not come within {DEADLINE:?}");
    };
    value
}

/// Asks `condition` again and again until it gives a value, for things that the server does a moment later and does not announce.
pub(crate) async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(what, async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// A number from the environment, for settings that are short by default and long on request.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}
