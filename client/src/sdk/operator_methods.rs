//! The unary methods of the operators' API; see [`methods`](super::methods).

#[allow(clippy::wildcard_imports, reason = "the tables below name all of them")]
use greffe_api::admin::v1::*;

use super::methods::Method;

/// A change, or a read of content: with a `request_id`.
macro_rules! changes {
    ($package:literal $($service:ident { $($method:ident: $request:ty => $response:ty),* $(,)? })*) => { $($(
        impl Method for $request {
            type Response = $response;
            const PATH: &'static str = concat!("/", $package, ".", stringify!($service), "/", stringify!($method));
            const REPEATABLE: bool = true;
            fn request_id(&mut self) -> Option<&mut String> {
                Some(&mut self.request_id)
            }
        }
    )*)* };
}

/// A call without a `request_id`.
macro_rules! calls {
    ($package:literal $repeatable:literal $($service:ident { $($method:ident: $request:ty => $response:ty),* $(,)? })*) => { $($(
        impl Method for $request {
            type Response = $response;
            const PATH: &'static str = concat!("/", $package, ".", stringify!($service), "/", stringify!($method));
            const REPEATABLE: bool = $repeatable;
            fn request_id(&mut self) -> Option<&mut String> {
                None
            }
        }
    )*)* };
}

pub(super) use {calls, changes};

changes! {
    "greffe.admin.v1"
    BanAdminService {
        CreateBan: CreateBanRequest => CreateBanResponse,
        LiftBan: LiftBanRequest => LiftBanResponse,
    }
    FileAdminService {
        ListFiles: ListFilesRequest => ListFilesResponse,
        QuarantineFile: QuarantineFileRequest => QuarantineFileResponse,
        ReleaseFile: ReleaseFileRequest => ReleaseFileResponse,
        DeleteFile: DeleteFileRequest => DeleteFileResponse,
    }
    ReportAdminService {
        ReadReport: ReadReportRequest => ReadReportResponse,
        ResolveReport: ResolveReportRequest => ResolveReportResponse,
    }
    RoomAdminService {
        ArchiveRoom: ArchiveRoomRequest => ArchiveRoomResponse,
    }
    ServerAdminService {
        SendAlert: SendAlertRequest => SendAlertResponse,
        SetNotice: SetNoticeRequest => SetNoticeResponse,
        SetDraining: SetDrainingRequest => SetDrainingResponse,
        StopServer: StopServerRequest => StopServerResponse,
        CancelStop: CancelStopRequest => CancelStopResponse,
        CreateBackup: CreateBackupRequest => CreateBackupResponse,
    }
    SessionAdminService {
        KickUser: KickUserRequest => KickUserResponse,
        KickSession: KickSessionRequest => KickSessionResponse,
    }
    UserAdminService {
        CreateUser: CreateUserRequest => CreateUserResponse,
        SetUserRoles: SetUserRolesRequest => SetUserRolesResponse,
        ResetUserPassword: ResetUserPasswordRequest => ResetUserPasswordResponse,
        DisableUser: DisableUserRequest => DisableUserResponse,
        EnableUser: EnableUserRequest => EnableUserResponse,
        MessageUser: MessageUserRequest => MessageUserResponse,
        ListUserMessages: ListUserMessagesRequest => ListUserMessagesResponse,
        CreateInvitation: CreateInvitationRequest => CreateInvitationResponse,
        RevokeInvitation: RevokeInvitationRequest => RevokeInvitationResponse,
    }
}

calls! {
    "greffe.admin.v1" true
    AdminAuthService {
        LogOut: LogOutRequest => LogOutResponse,
        WhoAmI: WhoAmIRequest => WhoAmIResponse,
    }
    BanAdminService {
        ListBans: ListBansRequest => ListBansResponse,
    }
    FileAdminService {
        GetFileUsage: GetFileUsageRequest => GetFileUsageResponse,
    }
    LogAdminService {
        ListConnections: ListConnectionsRequest => ListConnectionsResponse,
        ListAudit: ListAuditRequest => ListAuditResponse,
    }
    ReportAdminService {
        ListReports: ListReportsRequest => ListReportsResponse,
    }
    RoomAdminService {
        ListRooms: ListRoomsRequest => ListRoomsResponse,
    }
    ServerAdminService {
        GetStatus: GetStatusRequest => GetStatusResponse,
    }
    SessionAdminService {
        ListSessions: ListSessionsRequest => ListSessionsResponse,
    }
    UserAdminService {
        ListUsers: ListUsersRequest => ListUsersResponse,
        GetUser: GetUserRequest => GetUserResponse,
        ListInvitations: ListInvitationsRequest => ListInvitationsResponse,
    }
}

// It takes and gives a secret: never replayed.
calls! {
    "greffe.admin.v1" false
    AdminAuthService {
        LogIn: LogInRequest => LogInResponse,
    }
}
