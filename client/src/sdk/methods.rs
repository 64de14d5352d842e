//! The unary methods of the API: for each request its path, its answer, and whether it may be repeated.

#[allow(clippy::wildcard_imports, reason = "the tables below name nearly all of them")]
use greffe_api::v1::*;
use prost::Message;

/// A request of the members' API that [`Client::call`](super::client::Client::call) can make. Implemented for every request of a unary call.
pub trait Method: Message + Clone + 'static {
    /// What the server answers.
    type Response: Message + Default + 'static;
    /// The path of the HTTP/2 request.
    const PATH: &'static str;
    /// Whether it can be made again after a lost answer: reads, and changes with a `request_id`.
    const REPEATABLE: bool;
    /// The place of the `request_id`, if the request has one.
    fn request_id(&mut self) -> Option<&mut String>;
}

/// A change with a `request_id`.
macro_rules! changes {
    ($($service:ident { $($method:ident: $request:ty => $response:ty),* $(,)? })*) => { $($(
        impl Method for $request {
            type Response = $response;
            const PATH: &'static str = concat!("/greffe.v1.", stringify!($service), "/", stringify!($method));
            const REPEATABLE: bool = true;
            fn request_id(&mut self) -> Option<&mut String> {
                Some(&mut self.request_id)
            }
        }
    )*)* };
}

/// A call without a `request_id`.
macro_rules! calls {
    ($repeatable:literal $($service:ident { $($method:ident: $request:ty => $response:ty),* $(,)? })*) => { $($(
        impl Method for $request {
            type Response = $response;
            const PATH: &'static str = concat!("/greffe.v1.", stringify!($service), "/", stringify!($method));
            const REPEATABLE: bool = $repeatable;
            fn request_id(&mut self) -> Option<&mut String> {
                None
            }
        }
    )*)* };
}

changes! {
    AuthService {
        RevokeSession: RevokeSessionRequest => RevokeSessionResponse,
    }
    UserService {
        UpdateProfile: UpdateProfileRequest => UpdateProfileResponse,
    }
    RoomService {
        CreateRoom: CreateRoomRequest => CreateRoomResponse,
        UpdateRoom: UpdateRoomRequest => UpdateRoomResponse,
        ArchiveRoom: ArchiveRoomRequest => ArchiveRoomResponse,
        JoinRoom: JoinRoomRequest => JoinRoomResponse,
        LeaveRoom: LeaveRoomRequest => LeaveRoomResponse,
        InviteMember: InviteMemberRequest => InviteMemberResponse,
        RemoveMember: RemoveMemberRequest => RemoveMemberResponse,
        SetMemberRole: SetMemberRoleRequest => SetMemberRoleResponse,
        OpenDirect: OpenDirectRequest => OpenDirectResponse,
    }
    ChatService {
        SendMessage: SendMessageRequest => SendMessageResponse,
        EditMessage: EditMessageRequest => EditMessageResponse,
        DeleteMessage: DeleteMessageRequest => DeleteMessageResponse,
        AddReaction: AddReactionRequest => AddReactionResponse,
        RemoveReaction: RemoveReactionRequest => RemoveReactionResponse,
        ReportMessage: ReportMessageRequest => ReportMessageResponse,
    }
    FileService {
        CreateUpload: CreateUploadRequest => CreateUploadResponse,
        CompleteUpload: CompleteUploadRequest => CompleteUploadResponse,
        UploadFile: UploadFileRequest => UploadFileResponse,
        ShareFile: ShareFileRequest => ShareFileResponse,
        DeleteFile: DeleteFileRequest => DeleteFileResponse,
    }
}

calls! { true
    ServerService {
        GetServerInfo: GetServerInfoRequest => GetServerInfoResponse,
    }
    AuthService {
        LogOut: LogOutRequest => LogOutResponse,
        ListSessions: ListSessionsRequest => ListSessionsResponse,
    }
    UserService {
        GetUser: GetUserRequest => GetUserResponse,
        ListUsers: ListUsersRequest => ListUsersResponse,
    }
    RoomService {
        GetRoom: GetRoomRequest => GetRoomResponse,
        ListRooms: ListRoomsRequest => ListRoomsResponse,
        ListMembers: ListMembersRequest => ListMembersResponse,
    }
    ChatService {
        MarkRead: MarkReadRequest => MarkReadResponse,
        SetTyping: SetTypingRequest => SetTypingResponse,
        ListEvents: ListEventsRequest => ListEventsResponse,
        ListMessages: ListMessagesRequest => ListMessagesResponse,
        SearchMessages: SearchMessagesRequest => SearchMessagesResponse,
    }
    FileService {
        GetUpload: GetUploadRequest => GetUploadResponse,
        ListUploads: ListUploadsRequest => ListUploadsResponse,
        CancelUpload: CancelUploadRequest => CancelUploadResponse,
        GetFile: GetFileRequest => GetFileResponse,
        ListFiles: ListFilesRequest => ListFilesResponse,
    }
    ProofService {
        GetCheckpoint: GetCheckpointRequest => GetCheckpointResponse,
        GetConsistencyProof: GetConsistencyProofRequest => GetConsistencyProofResponse,
        GetInclusionProof: GetInclusionProofRequest => GetInclusionProofResponse,
        ListKeys: ListKeysRequest => ListKeysResponse,
    }
}

// Calls that take or give a secret are never replayed.
calls! { false
    AuthService {
        Register: RegisterRequest => RegisterResponse,
        LogIn: LogInRequest => LogInResponse,
        ChangePassword: ChangePasswordRequest => ChangePasswordResponse,
        ResetPassword: ResetPasswordRequest => ResetPasswordResponse,
    }
}
