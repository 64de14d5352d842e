//! `SessionAdminService`.

use std::collections::HashMap;

use greffe_api::admin::v1::{
    AdminSession, KickSessionRequest, KickSessionResponse, KickUserRequest, KickUserResponse, ListSessionsRequest,
    ListSessionsResponse, LiveStream,
};
use greffe_api::server::admin::v1::session_admin_service_server::SessionAdminService;
use tonic::{Request, Response, Status};

use super::AdminServices;
use crate::domain::clock::timestamp;
use crate::domain::error::Error;
use crate::domain::ids::SessionId;
use crate::domain::operator::Act;
use crate::domain::state::Session;
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};
use crate::live::feed::OpenStream;

fn live_stream(stream: &OpenStream) -> LiveStream {
    LiveStream {
        address: stream.owner.address.ip().to_string(),
        port: u32::from(stream.owner.address.port()),
        connection: i64::try_from(stream.owner.connection).unwrap_or(i64::MAX),
        opened_at: Some(timestamp(stream.opened)),
        sent_bytes: i64::try_from(stream.load.sent).unwrap_or(i64::MAX),
        queued_bytes: super::number(stream.load.queued),
        catching_up: stream.load.catching_up,
    }
}

impl App {
    fn admin_sessions(&self, request: &Request<ListSessionsRequest>) -> Result<ListSessionsResponse, Error> {
        let who = self.looks(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let live_only = request.live_only.to_string();
        let tokens = Tokens::new(
            &self.identity.journal_id,
            who.name(),
            "admin sessions",
            &[&request.user, &live_only],
        );
        let before = tokens.read_number(&request.page_token)?.unwrap_or(i64::MAX);
        let user = match request.user.as_str() {
            "" => None,
            user => Some(self.account(user)?),
        };
        let mut streams: HashMap<SessionId, Vec<LiveStream>> = HashMap::new();
        for stream in self.feed.streams(user.as_ref().map(std::slice::from_ref)) {
            streams.entry(stream.owner.session).or_default().push(live_stream(&stream));
        }
        let found: Vec<(Session, String)> = self.view().read(|state| {
            let wanted =
                |session: &&Session| session.no < before && (!request.live_only || streams.contains_key(&session.id));
            let mut sessions: Vec<&Session> = match user {
                Some(user) => state.sessions_of(user).filter(wanted).collect(),
                None => state.sessions().filter(wanted).collect(),
            };
            sessions.sort_unstable_by_key(|session| std::cmp::Reverse(session.no));
            sessions.truncate(size + 1);
            let named = |session: &Session| {
                let name = state.user(session.user).map(|user| user.name.clone()).unwrap_or_default();
                (session.clone(), name)
            };
            sessions.into_iter().map(named).collect()
        });
        let (found, next_page_token) = tokens.page(found, size, |(last, _)| last.no.to_string());
        let sessions = found.into_iter().map(|(session, user_name)| AdminSession {
            id: session.id.to_string(),
            user_id: session.user.to_string(),
            user_name,
            client: session.client,
            created_at: Some(timestamp(session.created)),
            last_used_at: Some(timestamp(session.used)),
            address: session.address.map(|address| address.to_string()).unwrap_or_default(),
            streams: streams.remove(&session.id).unwrap_or_default(),
            is_operator_session: session.for_operators,
        });
        Ok(ListSessionsResponse {
            sessions: sessions.collect(),
            next_page_token,
        })
    }

    async fn kick_user(&self, request: Request<KickUserRequest>) -> Result<KickUserResponse, Error> {
        let who = self.who(&request)?;
        let KickUserRequest {
            request_id,
            reason,
            user,
        } = request.into_inner();
        let account = self.account(&user);
        let asked = who
            .calls("greffe.admin.v1.SessionAdminService/KickUser", request_id, reason)
            .with("user", user)
            .about(&account);
        let acted = self.act(asked, account.map(|user| Act::KickUser { user })).await?;
        Ok(KickUserResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            sessions_ended: acted.sessions,
            streams_closed: acted.streams,
        })
    }

    async fn kick_session(&self, request: Request<KickSessionRequest>) -> Result<KickSessionResponse, Error> {
        let who = self.who(&request)?;
        let KickSessionRequest {
            request_id,
            reason,
            session_id,
        } = request.into_inner();
        let session = convert::session_id(&session_id);
        let owner = match &session {
            Ok(session) => self
                .view()
                .read(|state| state.session(*session).map(|session| session.user))
                .ok_or(Error::SessionNotFound),
            Err(error) => Err(error.clone()),
        };
        let asked = who
            .calls("greffe.admin.v1.SessionAdminService/KickSession", request_id, reason)
            .with("session_id", session_id)
            .about(&owner);
        let acted = self.act(asked, session.map(|session| Act::KickSession { session })).await?;
        Ok(KickSessionResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            streams_closed: acted.streams,
        })
    }
}

#[tonic::async_trait]
impl SessionAdminService for AdminServices {
    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        Ok(Response::new(self.admin_sessions(&request)?))
    }

    async fn kick_user(&self, request: Request<KickUserRequest>) -> Result<Response<KickUserResponse>, Status> {
        Ok(Response::new(self.0.kick_user(request).await?))
    }

    async fn kick_session(
        &self,
        request: Request<KickSessionRequest>,
    ) -> Result<Response<KickSessionResponse>, Status> {
        Ok(Response::new(self.0.kick_session(request).await?))
    }
}
