//! Who acts for whoever runs the server, and what they can ask.

use std::net::SocketAddr;
use std::time::Duration;

use greffe_api::v1::{KeyAdded, OperatorIdentity, RetentionClass};
use ipnet::IpNet;

use super::caller::Caller;
use super::clock::Micros;
use super::entry::{Subject, peer};
use super::ids::{CodeHash, FileId, RequestId, RequestKey, RoomId, SessionId, UserId};
use super::record::{Scope, Target};
use super::text::{AlertText, DisplayName, Line, MessageText, Reason, UserName};

/// What an account may do beyond being a member. Neither role implies the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Runs the server.
    pub operator: bool,
    /// Works with the record.
    pub investigator: bool,
}

impl Roles {
    /// Both, as the local socket has them.
    pub const ALL: Self = Self {
        operator: true,
        investigator: true,
    };

    /// That of operators.
    pub const OPERATOR: Self = Self {
        operator: true,
        investigator: false,
    };

    /// That of investigators.
    pub const INVESTIGATOR: Self = Self {
        operator: false,
        investigator: true,
    };

    /// The name of the role that is wanted, if it is one.
    pub fn name(self) -> &'static str {
        if self.investigator { "investigator" } else { "operator" }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether all of `others` are among them.
    pub fn include(self, others: Self) -> bool {
        (self.operator || !others.operator) && (self.investigator || !others.investigator)
    }

    /// Those that are in one of the two and not in the other.
    #[must_use]
    pub fn differing(self, other: Self) -> Self {
        Self {
            operator: self.operator != other.operator,
            investigator: self.investigator != other.investigator,
        }
    }

    /// Reads them from the API's list; unknown ones are none of ours.
    pub fn from_api(roles: &[i32]) -> Option<Self> {
        use greffe_api::v1::ServerRole;
        let mut found = Self::default();
        for role in roles {
            match ServerRole::try_from(*role) {
                Ok(ServerRole::Operator) => found.operator = true,
                Ok(ServerRole::Investigator) => found.investigator = true,
                Ok(ServerRole::Unspecified) | Err(_) => return None,
            }
        }
        Some(found)
    }

    /// The API's list, ascending.
    pub fn to_api(self) -> Vec<i32> {
        use greffe_api::v1::ServerRole;
        let roles = [
            (self.operator, ServerRole::Operator),
            (self.investigator, ServerRole::Investigator),
        ];
        roles.into_iter().filter(|(has, _)| *has).map(|(_, role)| role.into()).collect()
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// Somebody at the other end of the local socket.
    Local {
        /// The number of the operating system's user.
        uid: u32,
        /// That user's name.
        name: String,
    },
    /// Somebody who logged in at the operators' port.
    Account {
        /// By which login.
        caller: Caller,
        /// The user name.
        name: String,
    },
}

impl Operator {
    /// The account, if it is one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::Local { .. } => None,
            Self::Account { caller, .. } => Some(caller.user),
        }
    }

    /// From where, if over the network.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Local { .. } => None,
            Self::Account { caller, .. } => Some(caller.address),
        }
    }

    /// Their name: of the account, or of the operating system's user.
    pub fn name(&self) -> &str {
        match self {
            Self::Local { name, .. } | Self::Account { name, .. } => name,
        }
    }

    /// As acts are recorded.
    pub fn identity(&self) -> OperatorIdentity {
        match self {
            Self::Local { uid, name } => OperatorIdentity {
                os_user: name.clone(),
                os_uid: *uid,
                ..OperatorIdentity::default()
            },
            Self::Account { caller, name } => OperatorIdentity {
                user_name: name.clone(),
                peer: peer(caller.address),
                ..OperatorIdentity::default()
            },
        }
    }

    /// Names a request of theirs.
    pub fn request_key(&self, request: RequestId) -> RequestKey {
        match self {
            Self::Local { uid, .. } => request.local_key(*uid),
            Self::Account { caller, .. } => request.key(caller.user),
        }
    }
}

/// A call of an operator that leaves a row in the journal.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who calls.
    pub operator: Operator,
    /// The method, such as `greffe.admin.v1.BanAdminService/CreateBan`.
    pub method: &'static str,
    /// The name of the intention; none if the one that was given is not valid, and the call is refused.
    pub request: Option<RequestId>,
    /// Why; empty if the reason that was given is not valid, and the call is refused.
    pub reason: String,
    /// With what: names and values for the record. Never secrets.
    pub arguments: Vec<(&'static str, String)>,
    /// What also tells the request from another one, and is not recorded with it, because it is in a row of its own.
    pub compared: String,
    /// The account, or the room, that it is about.
    pub about: Subject,
    /// What the caller may do.
    pub roles: Roles,
    /// What one must be allowed to do for it.
    pub needs: Roles,
}

/// What an operator orders that is no row by itself. It is done when the row that orders it is published, so that orders are done in the order
/// of their rows, each once, whatever becomes of who gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Take nobody new, and send everyone away.
    Drain {
        /// Why.
        reason: String,
        /// When they may come back.
        reconnect_after: Duration,
    },
    /// Take people again.
    TakeAgain,
    /// Stop the server.
    Stop {
        /// Why.
        reason: String,
        /// In how long.
        after: Micros,
    },
    /// Do not stop it after all.
    GoOn,
}

/// Whom or what a ban is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BanTarget {
    /// An account.
    User(UserId),
    /// A network.
    Network(IpNet),
}

/// Which ban to lift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanName {
    /// That of this row.
    Index(i64),
    /// That of an account or network.
    Target(BanTarget),
}

/// What an operator asks.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the API's requests")]
pub enum Act {
    /// Only that it is recorded; what follows is no change of the journal.
    Note,
    /// Drains, or ends that.
    Drain { order: Order },
    /// Tells everyone something, and no longer what the alert of the row `replaces` told; with an order that it tells of.
    Alert {
        text: AlertText,
        valid_for: Micros,
        replaces: Option<i64>,
        order: Option<Order>,
    },
    /// Sets what everyone who comes here is told.
    SetNotice { text: AlertText },
    /// Makes an account whose first password is set with a code.
    CreateUser {
        name: UserName,
        display_name: DisplayName,
        roles: Roles,
        code: CodeHash,
    },
    /// Sets an account's roles.
    SetRoles { user: UserId, roles: Roles },
    /// Makes a password void.
    ResetPassword { user: UserId, code: CodeHash },
    /// Closes an account.
    Disable { user: UserId },
    /// Opens it again.
    Enable { user: UserId },
    /// Writes to a member.
    Message { user: UserId, text: MessageText },
    /// Invites someone to sign up.
    CreateInvitation {
        note: Line,
        good_for: Micros,
        code: CodeHash,
    },
    /// Takes that back.
    RevokeInvitation { index: i64 },
    /// Ends all sessions of a user.
    KickUser { user: UserId },
    /// Ends a session.
    KickSession { session: SessionId },
    /// Bans; for ever without `lasts`.
    Ban { target: BanTarget, lasts: Option<Micros> },
    /// Lifts a ban.
    LiftBan { ban: BanName },
    /// Closes a room.
    ArchiveRoom { room: RoomId },
    /// Reads a report's message.
    ReadReport { index: i64 },
    /// Closes a report.
    ResolveReport { index: i64, resolution: Line },
    /// Withholds a file.
    QuarantineFile { file: FileId },
    /// Gives it back.
    ReleaseFile { file: FileId },
    /// Takes a file away from every room, or from one.
    DeleteFile { file: FileId, room: Option<RoomId> },
    /// Has checkpoints signed with another key.
    RotateKey { key: Box<KeyAdded> },
    /// Works with the record.
    Record(RecordAct),
}

/// What an investigator asks.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the API's requests")]
pub enum RecordAct {
    /// Opens a case.
    OpenCase {
        reference: Reason,
        basis: Reason,
        scope: Scope,
        expires: Option<Micros>,
        needs_approval: bool,
    },
    /// Approves a case.
    ApproveCase { case: i64 },
    /// Closes it.
    CloseCase { case: i64 },
    /// Reads within it; by default all that it covers.
    ReadCase { case: i64, part: Scope },
    /// Orders an export of it.
    OrderExport { case: i64, bodies_only: bool },
    /// Fetches that.
    DownloadExport { export: i64 },
    /// Adds a hold; by default of what the case is about.
    AddHold { case: i64, scope: Option<Scope> },
    /// Releases it.
    ReleaseHold { hold: i64 },
    /// Erases somebody, or a room.
    Erase { target: Target, basis: Reason },
    /// Sets how long a class of data is kept: seconds, or 0 for ever.
    SetRetention { class: RetentionClass, seconds: i64 },
}
