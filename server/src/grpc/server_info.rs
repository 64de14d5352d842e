//! `ServerService`.

use greffe_api::server::v1::server_service_server::ServerService;
use greffe_api::v1::{
    GetServerInfoRequest, GetServerInfoResponse, Limits, RegistrationPolicy as ApiPolicy, ServerInfo,
};
use tonic::{Request, Response, Status};

use super::{App, Services};
use crate::config::RegistrationPolicy;

/// Name and version of this software.
pub const VERSION: &str = concat!("greffe/", env!("CARGO_PKG_VERSION"));

/// A limit as the API carries it.
fn number<T: TryInto<i64>>(limit: T) -> i64 {
    limit.try_into().unwrap_or(i64::MAX)
}

fn limits(app: &App) -> Limits {
    let limits = &app.config.limits;
    Limits {
        text_bytes: number(limits.text_bytes),
        metadata_bytes: number(limits.metadata_bytes),
        request_bytes: number(limits.request_bytes),
        streams_per_connection: number(limits.streams_per_connection),
        connections: number(limits.connections),
        connections_per_address: number(limits.connections_per_address),
        connections_per_user: number(limits.connections_per_user),
        mailbox_bytes: number(limits.mailbox_bytes),
        result_bytes: number(limits.result_bytes),
        unanswered_sends: number(limits.unanswered_sends),
        messages_per_second: number(limits.messages_per_second),
        messages_burst: number(limits.messages_burst),
        failed_logins_per_address: number(limits.failed_logins_per_address),
        failed_logins_per_account: number(limits.failed_logins_per_account),
        password_min: number(limits.password_min),
        password_max: number(limits.password_max),
        session_seconds: number(limits.session_seconds),
        session_idle_seconds: number(limits.session_idle_seconds),
        page_default: number(limits.page_default),
        page_max: number(limits.page_max),
        presence_members: number(limits.presence_members),
        request_id_seconds: number(limits.request_id_seconds),
        heartbeat_seconds: number(limits.heartbeat_seconds),
        rooms_per_user: number(limits.rooms_per_user),
        invitations_per_user: number(limits.invitations_per_user),
        sessions_per_user: number(limits.sessions_per_user),
        read_marks_per_second: number(limits.read_marks_per_second),
        read_marks_burst: number(limits.read_marks_burst),
        file_bytes: limits.file_bytes,
        file_quota_bytes: limits.file_quota_bytes,
        file_chunk_bytes: number(limits.file_chunk_bytes),
        uploads_per_user: number(limits.uploads_per_user),
        upload_idle_seconds: number(limits.upload_idle_seconds),
    }
}

impl App {
    /// What everyone who comes here is told: what an operator set or, until one did, what is configured.
    fn notice(&self) -> String {
        let set = self.view().read(|state| state.standing().notice().map(ToOwned::to_owned));
        set.unwrap_or_else(|| self.config.notice.clone())
    }
}

#[tonic::async_trait]
impl ServerService for Services {
    async fn get_server_info(
        &self,
        _request: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        let policy = match self.config.registration.policy {
            RegistrationPolicy::Open => ApiPolicy::Open,
            RegistrationPolicy::Invite => ApiPolicy::Invite,
            RegistrationPolicy::Closed => ApiPolicy::Closed,
        };
        let server = ServerInfo {
            version: VERSION.into(),
            epoch: self.identity.epoch.clone(),
            general_room_id: self.view().read(|state| state.general().to_string()),
            registration_policy: policy.into(),
            notice: self.notice(),
            recording_notice: self.config.recording_notice.clone(),
            features: vec!["search".into(), "presence".into(), "typing".into(), "files".into()],
            limits: Some(limits(self)),
        };
        Ok(Response::new(GetServerInfoResponse { server: Some(server) }))
    }
}
