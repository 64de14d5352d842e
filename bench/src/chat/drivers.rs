//! The protocols that the generator speaks.

pub(super) mod greffe;
pub(super) mod irc;
pub(super) mod mqtt;
pub(super) mod nats;
pub(super) mod xmpp;
