//! Who asks.

use std::net::SocketAddr;

use super::ids::{SessionId, UserId};

/// Someone logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub user: UserId,
    /// By which login.
    pub session: SessionId,
    /// From where.
    pub address: SocketAddr,
}
