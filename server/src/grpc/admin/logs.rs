//! `LogAdminService`.

use greffe_api::admin::v1::{
    ListAuditRequest, ListAuditResponse, ListConnectionsRequest, ListConnectionsResponse, LogEntry, LogRange as Asked,
};
use greffe_api::server::admin::v1::log_admin_service_server::LogAdminService;
use greffe_api::v1::{BodyState, Event};
use tonic::{Request, Response, Status};

use super::AdminServices;
use crate::domain::clock::from_timestamp;
use crate::domain::error::Error;
use crate::domain::log::Log;
use crate::grpc::App;
use crate::journal::event::{decode_body, decode_head};
use crate::store::{LogRange, LoggedEvent};

impl App {
    async fn list_log(&self, log: Log, range: Option<Asked>, user: &str) -> Result<(Vec<LogEntry>, bool), Error> {
        let Asked {
            after_index,
            before_index,
            since,
            page_size,
        } = range.unwrap_or_default();
        if after_index.is_some() && before_index.is_some() {
            return Err(Error::invalid("range", "give after_index or before_index, not both"));
        }
        let about = match user {
            "" => None,
            user => {
                let account = self.account(user)?;
                self.view().read(|state| state.user(account).map(|user| user.no))
            }
        };
        let size = self.view().read(|state| state.size);
        let range = LogRange {
            log,
            about,
            first: after_index.map_or(0, |after| after.saturating_add(1)),
            last: before_index.map_or(size - 1, |before| before.saturating_sub(1).min(size - 1)),
            since: since.as_ref().map_or(0, from_timestamp),
            limit: self.page_size(page_size)?,
            // From a time on, the first ones are asked for; without any bound, the newest.
            newest: after_index.is_none() && (before_index.is_some() || since.is_none()),
        };
        let (rows, more) = self.reader.log(range).await?;
        Ok((rows.iter().filter_map(|row| self.log_entry(row)).collect(), more))
    }

    /// A row with names for its ids. None if the stored bytes are damaged.
    fn log_entry(&self, row: &LoggedEvent) -> Option<LogEntry> {
        let head = decode_head(&row.event.head)?;
        let body = row.event.body.as_ref().and_then(|body| decode_body(body));
        let state = if body.is_none() {
            BodyState::Erased
        } else {
            BodyState::Unspecified
        };
        let actor_name = head.actor_id.parse().map(|actor| self.name_of(actor)).unwrap_or_default();
        Some(LogEntry {
            event: Some(Event {
                head: Some(head),
                body,
                body_state: state.into(),
            }),
            user_name: row.about.map(|user| self.name_of(user)).unwrap_or_default(),
            actor_name,
        })
    }
}

#[tonic::async_trait]
impl LogAdminService for AdminServices {
    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        self.who(&request)?;
        let ListConnectionsRequest { range, user } = request.into_inner();
        let (entries, has_more) = self.list_log(Log::Connections, range, &user).await?;
        Ok(Response::new(ListConnectionsResponse { entries, has_more }))
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Result<Response<ListAuditResponse>, Status> {
        self.who(&request)?;
        let ListAuditRequest { range, user } = request.into_inner();
        let (entries, has_more) = self.list_log(Log::Audit, range, &user).await?;
        Ok(Response::new(ListAuditResponse { entries, has_more }))
    }
}
