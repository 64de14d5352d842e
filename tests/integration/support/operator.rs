//! An operator: a connection to the operators' services, with one typed call for all their methods.

use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use v1::event_body::Content;

use super::{Refusal, admin, record, request_id, v1, within};

/// A request, and with it the method that it is of.
pub(crate) trait Method: Message + Clone + Default + 'static {
    /// What is answered.
    type Answer: Message + Clone + PartialEq + Default + std::fmt::Debug + 'static;
    /// The method's path.
    const PATH: &'static str;
}

/// A request that changes something or reads content: recorded, and safe to repeat.
pub(crate) trait Act: Method {
    /// The `request_id` and the `reason`.
    fn intention(&mut self) -> (&mut String, &mut String);
    /// The receipt of the answer.
    fn receipt(answer: &Self::Answer) -> &v1::Receipt;

    /// The same request as a new intention, with a reason.
    fn anew(&self, reason: &str) -> Self {
        let mut request = self.clone();
        let (id, given) = request.intention();
        *id = request_id();
        reason.clone_into(given);
        request
    }

    /// The method as the record names it.
    fn recorded_as() -> &'static str {
        Self::PATH.trim_start_matches('/')
    }
}

/// Names the methods of one service: those that change something or read content, and those that only look.
macro_rules! methods {
    ($package:literal $api:ident $service:literal, acts: [$($act:literal $act_request:ident $act_answer:ident,)*], looks: [$($look:literal $look_request:ident $look_answer:ident,)*]) => {
        $(
            impl Method for $api::$act_request {
                type Answer = $api::$act_answer;
                const PATH: &'static str = concat!("/", $package, ".", $service, "/", $act);
            }
            impl Act for $api::$act_request {
                fn intention(&mut self) -> (&mut String, &mut String) {
                    (&mut self.request_id, &mut self.reason)
                }
                fn receipt(answer: &Self::Answer) -> &v1::Receipt {
                    answer.receipt.as_ref().expect("the answer has a receipt")
                }
            }
        )*
        $(
            impl Method for $api::$look_request {
                type Answer = $api::$look_answer;
                const PATH: &'static str = concat!("/", $package, ".", $service, "/", $look);
            }
        )*
    };
}

methods!("greffe.admin.v1" admin "AdminAuthService", acts: [], looks: [
    "LogIn" LogInRequest LogInResponse,
    "LogOut" LogOutRequest LogOutResponse,
    "WhoAmI" WhoAmIRequest WhoAmIResponse,
]);
methods!("greffe.admin.v1" admin "ServerAdminService", acts: [
    "SendAlert" SendAlertRequest SendAlertResponse,
    "SetNotice" SetNoticeRequest SetNoticeResponse,
    "SetDraining" SetDrainingRequest SetDrainingResponse,
    "StopServer" StopServerRequest StopServerResponse,
    "CancelStop" CancelStopRequest CancelStopResponse,
    "CreateBackup" CreateBackupRequest CreateBackupResponse,
], looks: [
    "GetStatus" GetStatusRequest GetStatusResponse,
]);
methods!("greffe.admin.v1" admin "UserAdminService", acts: [
    "CreateUser" CreateUserRequest CreateUserResponse,
    "SetUserRoles" SetUserRolesRequest SetUserRolesResponse,
    "ResetUserPassword" ResetUserPasswordRequest ResetUserPasswordResponse,
    "DisableUser" DisableUserRequest DisableUserResponse,
    "EnableUser" EnableUserRequest EnableUserResponse,
    "MessageUser" MessageUserRequest MessageUserResponse,
    "ListUserMessages" ListUserMessagesRequest ListUserMessagesResponse,
    "CreateInvitation" CreateInvitationRequest CreateInvitationResponse,
    "RevokeInvitation" RevokeInvitationRequest RevokeInvitationResponse,
], looks: [
    "ListUsers" ListUsersRequest ListUsersResponse,
    "GetUser" GetUserRequest GetUserResponse,
    "ListInvitations" ListInvitationsRequest ListInvitationsResponse,
]);
methods!("greffe.admin.v1" admin "SessionAdminService", acts: [
    "KickUser" KickUserRequest KickUserResponse,
    "KickSession" KickSessionRequest KickSessionResponse,
], looks: [
    "ListSessions" ListSessionsRequest ListSessionsResponse,
]);
methods!("greffe.admin.v1" admin "BanAdminService", acts: [
    "CreateBan" CreateBanRequest CreateBanResponse,
    "LiftBan" LiftBanRequest LiftBanResponse,
], looks: [
    "ListBans" ListBansRequest ListBansResponse,
]);
methods!("greffe.admin.v1" admin "RoomAdminService", acts: [
    "ArchiveRoom" ArchiveRoomRequest ArchiveRoomResponse,
], looks: [
    "ListRooms" ListRoomsRequest ListRoomsResponse,
]);
methods!("greffe.admin.v1" admin "FileAdminService", acts: [
    "ListFiles" ListFilesRequest ListFilesResponse,
    "QuarantineFile" QuarantineFileRequest QuarantineFileResponse,
    "ReleaseFile" ReleaseFileRequest ReleaseFileResponse,
    "DeleteFile" DeleteFileRequest DeleteFileResponse,
], looks: [
    "GetFileUsage" GetFileUsageRequest GetFileUsageResponse,
]);
methods!("greffe.admin.v1" admin "ReportAdminService", acts: [
    "ReadReport" ReadReportRequest ReadReportResponse,
    "ResolveReport" ResolveReportRequest ResolveReportResponse,
], looks: [
    "ListReports" ListReportsRequest ListReportsResponse,
]);
methods!("greffe.admin.v1" admin "LogAdminService", acts: [], looks: [
    "ListConnections" ListConnectionsRequest ListConnectionsResponse,
    "ListAudit" ListAuditRequest ListAuditResponse,
]);

methods!("greffe.record.v1" record "CaseService", acts: [
    "OpenCase" OpenCaseRequest OpenCaseResponse,
    "ApproveCase" ApproveCaseRequest ApproveCaseResponse,
    "CloseCase" CloseCaseRequest CloseCaseResponse,
    "ReadCase" ReadCaseRequest ReadCaseResponse,
], looks: [
    "ListCases" ListCasesRequest ListCasesResponse,
    "GetCase" GetCaseRequest GetCaseResponse,
]);
methods!("greffe.record.v1" record "HoldService", acts: [
    "AddHold" AddHoldRequest AddHoldResponse,
    "ReleaseHold" ReleaseHoldRequest ReleaseHoldResponse,
], looks: [
    "ListHolds" ListHoldsRequest ListHoldsResponse,
]);
methods!("greffe.record.v1" record "ErasureService", acts: [
    "Erase" EraseRequest EraseResponse,
    "SetRetention" SetRetentionRequest SetRetentionResponse,
], looks: [
    "GetErasure" GetErasureRequest GetErasureResponse,
    "ListErasures" ListErasuresRequest ListErasuresResponse,
    "GetRetention" GetRetentionRequest GetRetentionResponse,
]);
methods!("greffe.record.v1" record "CheckpointService", acts: [
    "RotateKey" RotateKeyRequest RotateKeyResponse,
], looks: [
    "GetCheckpoint" GetCheckpointRequest GetCheckpointResponse,
    "GetConsistencyProof" GetConsistencyProofRequest GetConsistencyProofResponse,
    "ListKeys" ListKeysRequest ListKeysResponse,
]);
methods!("greffe.record.v1" record "ExportService", acts: [
    "OrderExport" OrderExportRequest OrderExportResponse,
], looks: []);

/// A row of the audit log that records an act.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// The row.
    pub(crate) index: i64,
    /// The account that it is about.
    pub(crate) user_name: String,
    /// The account that acted.
    pub(crate) actor_name: String,
    /// What stands in it.
    pub(crate) act: v1::OperatorActed,
}

impl Recorded {
    /// The value of an argument.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        let mut arguments = self.act.arguments.iter();
        arguments
            .find(|argument| argument.name == name)
            .map(|argument| argument.value.as_str())
    }
}

/// An operator.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    channel: Channel,
    token: Option<String>,
}

impl Operator {
    /// Over a connection, without a login.
    pub(crate) fn over(channel: Channel) -> Self {
        Self { channel, token: None }
    }

    /// The connection.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Logs in at the operators' port.
    pub(crate) async fn log_in(channel: Channel, name: &str, password: &str) -> Result<Self, Refusal> {
        let operator = Self::over(channel);
        let login = operator
            .call(admin::LogInRequest {
                user_name: name.to_owned(),
                password: password.to_owned(),
                client: "tests/1".to_owned(),
            })
            .await?;
        Ok(operator.with_token(&login.token))
    }

    /// The same connection with a token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            channel: self.channel.clone(),
            token: Some(token.to_owned()),
        }
    }

    /// The token, if there is a login.
    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().expect("this operator has logged in")
    }

    /// Makes a call.
    pub(crate) async fn call<M: Method>(&self, message: M) -> Result<M::Answer, Refusal> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let value: MetadataValue<Ascii> = format!("Bearer {token}").parse().expect("a token is ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        let answer: M::Answer = unary(self.channel.clone(), M::PATH, request).await?;
        Ok(answer)
    }

    /// Makes a call as a new intention.
    pub(crate) async fn act<A: Act>(&self, request: A, reason: &str) -> Result<A::Answer, Refusal> {
        self.call(request.anew(reason)).await
    }

    /// What the server is doing.
    pub(crate) async fn status(&self) -> admin::ServerStatus {
        let answer = self.call(admin::GetStatusRequest {}).await;
        answer.expect("an operator may ask").status.expect("the answer has the facts")
    }

    /// The index of the journal's newest row.
    pub(crate) async fn newest(&self) -> i64 {
        self.status().await.rows - 1
    }

    /// An account.
    pub(crate) async fn user(&self, name: &str) -> Result<admin::AdminUser, Refusal> {
        let request = admin::GetUserRequest { user: name.to_owned() };
        Ok(self.call(request).await?.user.expect("the answer has the account"))
    }

    /// Gives an account roles.
    pub(crate) async fn set_roles(&self, name: &str, roles: &[v1::ServerRole]) -> Result<v1::Receipt, Refusal> {
        let request = admin::SetUserRolesRequest {
            user: name.to_owned(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            ..admin::SetUserRolesRequest::default()
        };
        let answer = self.act(request, "the roles are others now").await?;
        Ok(answer.receipt.expect("the answer has a receipt"))
    }

    /// Kicks an account.
    pub(crate) async fn kick(&self, name: &str, reason: &str) -> Result<admin::KickUserResponse, Refusal> {
        let request = admin::KickUserRequest {
            user: name.to_owned(),
            ..admin::KickUserRequest::default()
        };
        self.act(request, reason).await
    }

    /// Closes an account.
    pub(crate) async fn disable(&self, name: &str, reason: &str) -> Result<admin::DisableUserResponse, Refusal> {
        let request = admin::DisableUserRequest {
            user: name.to_owned(),
            ..admin::DisableUserRequest::default()
        };
        self.act(request, reason).await
    }

    /// Opens an account again.
    pub(crate) async fn enable(&self, name: &str) -> Result<admin::EnableUserResponse, Refusal> {
        let request = admin::EnableUserRequest {
            user: name.to_owned(),
            ..admin::EnableUserRequest::default()
        };
        self.act(request, "it was a mistake").await
    }

    /// Bans an account.
    pub(crate) async fn ban(&self, name: &str, reason: &str) -> Result<admin::CreateBanResponse, Refusal> {
        self.act(ban_of(name), reason).await
    }

    /// Bans an address or network.
    pub(crate) async fn ban_network(&self, network: &str, reason: &str) -> Result<admin::CreateBanResponse, Refusal> {
        self.act(ban_of_network(network), reason).await
    }

    /// The bans in force, newest first.
    pub(crate) async fn bans(&self) -> Vec<admin::Ban> {
        let answer = self.call(admin::ListBansRequest::default()).await;
        answer.expect("an operator may ask").bans
    }

    /// Makes a password void: the code that sets another.
    pub(crate) async fn reset_password(&self, name: &str) -> Result<admin::ResetUserPasswordResponse, Refusal> {
        let request = admin::ResetUserPasswordRequest {
            user: name.to_owned(),
            ..admin::ResetUserPasswordRequest::default()
        };
        self.act(request, "the password is known to others").await
    }

    /// Makes an account: the code that sets its first password.
    pub(crate) async fn create_user(&self, name: &str, roles: &[v1::ServerRole]) -> Result<String, Refusal> {
        let request = admin::CreateUserRequest {
            user_name: name.to_owned(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            ..admin::CreateUserRequest::default()
        };
        Ok(self.act(request, "somebody new comes").await?.code)
    }

    /// Tells everyone something.
    pub(crate) async fn alert(&self, text: &str) -> Result<admin::SendAlertResponse, Refusal> {
        let request = admin::SendAlertRequest {
            text: text.to_owned(),
            ..admin::SendAlertRequest::default()
        };
        self.act(request, "everyone should know").await
    }

    /// The sessions of an account, or of everyone.
    pub(crate) async fn sessions(&self, user: &str) -> Result<Vec<admin::AdminSession>, Refusal> {
        let request = admin::ListSessionsRequest {
            user: user.to_owned(),
            page_size: 500,
            ..admin::ListSessionsRequest::default()
        };
        Ok(self.call(request).await?.sessions)
    }

    /// The acts on record with a greater index.
    pub(crate) async fn acts_after(&self, index: i64) -> Vec<Recorded> {
        let entries = self.audit_after(index).await.into_iter();
        let acts = entries.filter_map(|entry| {
            let event = entry.event.expect("an entry has its row");
            let head = event.head.expect("a row has a head");
            let Some(Content::OperatorActed(act)) = event.body.and_then(|body| body.content) else {
                return None;
            };
            Some(Recorded {
                index: head.index,
                user_name: entry.user_name,
                actor_name: entry.actor_name,
                act,
            })
        });
        acts.collect()
    }

    /// The rows of the audit log with a greater index, page by page.
    pub(crate) async fn audit_after(&self, index: i64) -> Vec<admin::LogEntry> {
        let mut entries: Vec<admin::LogEntry> = Vec::new();
        let mut after = index;
        loop {
            let request = admin::ListAuditRequest {
                range: Some(log_after(after)),
                ..admin::ListAuditRequest::default()
            };
            let page = self.call(request).await.expect("an operator may ask");
            entries.extend(page.entries);
            let Some(last) = entries.last() else { return entries };
            after = index_of(last);
            if !page.has_more {
                return entries;
            }
        }
    }

    /// The rows of the connection log with a greater index, about an account or everyone.
    pub(crate) async fn connections_after(&self, index: i64, user: &str) -> Vec<admin::LogEntry> {
        let request = admin::ListConnectionsRequest {
            range: Some(log_after(index)),
            user: user.to_owned(),
        };
        let page = self.call(request).await.expect("an operator may ask");
        assert!(!page.has_more, "there are more rows than the test expects");
        page.entries
    }
}

fn log_after(index: i64) -> admin::LogRange {
    admin::LogRange {
        after_index: Some(index),
        page_size: 500,
        ..admin::LogRange::default()
    }
}

/// The index of a row of a log.
pub(crate) fn index_of(entry: &admin::LogEntry) -> i64 {
    let head = entry.event.as_ref().and_then(|event| event.head.as_ref());
    head.expect("an entry has its row").index
}

/// What stands in a row of a log.
pub(crate) fn content_of(entry: &admin::LogEntry) -> &Content {
    let body = entry.event.as_ref().and_then(|event| event.body.as_ref());
    body.and_then(|body| body.content.as_ref()).expect("nothing was erased")
}

/// A ban of an account.
pub(crate) fn ban_of(name: &str) -> admin::CreateBanRequest {
    admin::CreateBanRequest {
        target: Some(admin::create_ban_request::Target::User(name.to_owned())),
        ..admin::CreateBanRequest::default()
    }
}

/// A ban of an address or network.
pub(crate) fn ban_of_network(network: &str) -> admin::CreateBanRequest {
    admin::CreateBanRequest {
        target: Some(admin::create_ban_request::Target::Network(network.to_owned())),
        ..admin::CreateBanRequest::default()
    }
}

/// A span of whole seconds.
pub(crate) fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// Makes a unary call by its path.
pub(crate) async fn unary<Q, A>(channel: Channel, path: &str, request: Request<Q>) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let path: PathAndQuery = path.parse().expect("a method has a path");
    let call = async {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let codec = ProstCodec::<Q, A>::default();
        client.unary(request, path, codec).await
    };
    Ok(within("an answer", call).await?.into_inner())
}
