//! `CaseService`.

use std::sync::Arc;

use greffe_api::record_api::v1::{
    ApproveCaseRequest, ApproveCaseResponse, Case as ApiCase, CaseEntry, CaseState as ApiState, CloseCaseRequest,
    CloseCaseResponse, GetCaseRequest, GetCaseResponse, ListCasesRequest, ListCasesResponse, OpenCaseRequest,
    OpenCaseResponse, ReadCaseRequest, ReadCaseResponse,
};
use greffe_api::server::record_api::v1::case_service_server::CaseService;
use greffe_api::v1::{BodyState, Event, EventHead};
use tonic::{Request, Response, Status};

use super::{named_rooms, named_users, time, words};
use crate::domain::clock::{Micros, from_timestamp, now, timestamp};
use crate::domain::error::Error;
use crate::domain::operator::{Act, RecordAct};
use crate::domain::record::{Case, CaseState, Scope};
use crate::domain::state::State;
use crate::grpc::admin::AdminServices;
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};
use crate::journal::event::decode_body;
use crate::store::{Keep, StoredEvent};

/// Rows that are looked at in one go.
const SCAN: i64 = 20_000;
/// Bytes of a page, about.
const PAGE_BYTES: usize = 512 << 10;

fn api_case(state: &State, case: &Case, now: Micros) -> ApiCase {
    ApiCase {
        index: case.index,
        reference: case.reference.clone(),
        basis: case.basis.clone(),
        scope: Some(case.scope.to_api()),
        users: named_users(state, &case.scope.users),
        rooms: named_rooms(state, &case.scope.rooms),
        opened_at: Some(timestamp(case.opened)),
        opened_by: case.by.clone(),
        expires_at: Some(timestamp(case.expires)),
        approved_at: case.approved.as_ref().map(|(time, _)| timestamp(*time)),
        approved_by: case.approved.as_ref().map(|(_, by)| by.clone()).unwrap_or_default(),
        closed_at: case.closed.map(timestamp),
        state: match case.state(now) {
            CaseState::AwaitingApproval => ApiState::AwaitingApproval,
            CaseState::Open => ApiState::Open,
            CaseState::Expired => ApiState::Expired,
            CaseState::Closed => ApiState::Closed,
        }
        .into(),
    }
}

impl App {
    fn api_case(&self, index: i64) -> Result<ApiCase, Error> {
        self.view()
            .read(|state| Ok(api_case(state, state.record().case(index)?, now())))
    }

    async fn open_case(&self, request: Request<OpenCaseRequest>) -> Result<OpenCaseResponse, Error> {
        let who = self.who(&request)?;
        let request = request.into_inner();
        let scope = self.scope(
            &request.users,
            &request.rooms,
            [request.from.as_ref(), request.to.as_ref()],
        );
        let needs_approval = request.needs_approval || self.config.admin.cases_need_approval;
        let asked = who
            .calls(
                "greffe.record.v1.CaseService/OpenCase",
                request.request_id,
                request.reason,
            )
            .investigates()
            .with("reference", request.reference.as_str())
            .with("basis", request.basis.as_str())
            .with("scope", scope_text(scope.as_ref().ok()))
            .compare(&format!("{:?} {needs_approval}", request.expires_at));
        let act = (|| {
            Ok(Act::Record(RecordAct::OpenCase {
                reference: words("reference", request.reference)?,
                basis: words("basis", request.basis)?,
                scope: scope?,
                expires: time("expires_at", request.expires_at.as_ref())?,
                needs_approval,
            }))
        })();
        let acted = self.act(asked, act).await?;
        // The row that opens it follows the one that records the call.
        let index = acted.effect.as_ref().map_or(acted.receipt.index + 1, |effect| effect.index);
        Ok(OpenCaseResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            case: Some(self.api_case(index)?),
        })
    }

    async fn approve_case(&self, request: Request<ApproveCaseRequest>) -> Result<ApproveCaseResponse, Error> {
        let who = self.who(&request)?;
        let ApproveCaseRequest {
            request_id,
            reason,
            case_index: case,
        } = request.into_inner();
        let asked = who
            .calls("greffe.record.v1.CaseService/ApproveCase", request_id, reason)
            .investigates()
            .with("case_index", case.to_string());
        let acted = self.act(asked, Ok(Act::Record(RecordAct::ApproveCase { case }))).await?;
        Ok(ApproveCaseResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            case: Some(self.api_case(case)?),
        })
    }

    async fn close_case(&self, request: Request<CloseCaseRequest>) -> Result<CloseCaseResponse, Error> {
        let who = self.who(&request)?;
        let CloseCaseRequest {
            request_id,
            reason,
            case_index: case,
        } = request.into_inner();
        let asked = who
            .calls("greffe.record.v1.CaseService/CloseCase", request_id, reason)
            .investigates()
            .with("case_index", case.to_string());
        let acted = self.act(asked, Ok(Act::Record(RecordAct::CloseCase { case }))).await?;
        Ok(CloseCaseResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            case: Some(self.api_case(case)?),
        })
    }

    fn list_cases(&self, request: &Request<ListCasesRequest>) -> Result<ListCasesResponse, Error> {
        let who = self.investigates(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, who.name(), "cases", &[]);
        let before = tokens.read_number(&request.page_token)?.unwrap_or(i64::MAX);
        let now = now();
        let cases: Vec<ApiCase> = self.view().read(|state| {
            let cases = state.record().cases().rev().filter(|case| case.index < before);
            cases.take(size + 1).map(|case| api_case(state, case, now)).collect()
        });
        let (cases, next_page_token) = tokens.page(cases, size, |last| last.index.to_string());
        Ok(ListCasesResponse { cases, next_page_token })
    }

    async fn read_case(&self, request: Request<ReadCaseRequest>) -> Result<ReadCaseResponse, Error> {
        let who = self.who(&request)?;
        let request = request.into_inner();
        let asked = who
            .calls(
                "greffe.record.v1.CaseService/ReadCase",
                request.request_id,
                request.reason,
            )
            .investigates()
            .reads()
            .with("case_index", request.case_index.to_string())
            .with("room", request.room.as_str())
            .with("user", request.user.as_str())
            .with(
                "from",
                request.from.as_ref().map(ToString::to_string).unwrap_or_default(),
            )
            .with("to", request.to.as_ref().map(ToString::to_string).unwrap_or_default())
            .with("after_index", request.after_index.to_string());
        let some = |text: String| if text.is_empty() { Vec::new() } else { vec![text] };
        let (users, rooms) = (some(request.user), some(request.room));
        let part = self.scope(&users, &rooms, [request.from.as_ref(), request.to.as_ref()]);
        let asked = asked.about_room(part.as_ref().ok().and_then(Scope::only_room));
        let size = self.page_size(request.page_size);
        let act = (|| {
            size.as_ref().map_err(Clone::clone)?;
            Ok(Act::Record(RecordAct::ReadCase {
                case: request.case_index,
                part: part.clone()?,
            }))
        })();
        // What is read is on record before it is shown.
        let acted = self.act(asked, act).await?;
        let (part, size) = (part?, size?);
        let case = self
            .view()
            .read(|state| state.record().case(request.case_index).map(|case| case.scope.clone()))?;
        let (rows, next, has_more) = self.rows_in(case, part, request.after_index, size).await?;
        Ok(ReadCaseResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            entries: self
                .view()
                .read(|state| rows.into_iter().map(|row| entry(state, row)).collect()),
            next_index: next,
            has_more,
        })
    }

    /// Rows that are in both scopes, after a row: at most `size`, the last one that was looked at, and whether there may be more.
    async fn rows_in(
        &self,
        scope: Scope,
        part: Scope,
        after: i64,
        size: usize,
    ) -> Result<(Vec<(EventHead, StoredEvent)>, i64, bool), Error> {
        let begin = scope.from.max(part.from);
        let mut next = match begin {
            Some(begin) => self.reader.first_since(begin).await?,
            None => 0,
        };
        if after > 0 {
            next = next.max(after.saturating_add(1));
        }
        let ends = [scope.to, part.to].into_iter().flatten().min();
        let end = match ends {
            Some(end) => self.reader.first_since(end).await?,
            None => self.view().read(|state| state.size),
        };
        let keep: Keep = Arc::new(move |head, _| in_scope(&scope, head) && in_scope(&part, head));
        let (mut found, mut bytes) = (Vec::new(), 0);
        while next < end {
            let (rows, following) = self.reader.scan(next, SCAN.min(end - next), Arc::clone(&keep)).await?;
            for (head, event) in rows {
                bytes += event.head.len() + event.body.as_ref().map_or(0, bytes::Bytes::len);
                let last = head.index;
                if found.len() == size || (bytes > PAGE_BYTES && !found.is_empty()) {
                    return Ok((found, last - 1, true));
                }
                found.push((head, event));
            }
            match following {
                Some(following) => next = following,
                None => break,
            }
        }
        Ok((found, end.max(1) - 1, false))
    }
}

fn in_scope(scope: &Scope, head: &EventHead) -> bool {
    let time = head.time.as_ref().map_or(0, from_timestamp);
    scope.covers(head.actor_id.parse().ok(), head.room_id.parse().ok(), time)
}

/// A scope for the record of the call, by ids: names are not for ever.
fn scope_text(scope: Option<&Scope>) -> String {
    let Some(scope) = scope else { return String::new() };
    let ids = scope.users.iter().map(ToString::to_string);
    let ids: Vec<String> = ids.chain(scope.rooms.iter().map(ToString::to_string)).collect();
    let at = |time: Option<Micros>| time.map(|time| timestamp(time).to_string()).unwrap_or_default();
    format!("{} {}/{}", ids.join(","), at(scope.from), at(scope.to))
}

fn entry(state: &State, (head, event): (EventHead, StoredEvent)) -> CaseEntry {
    let actor = head.actor_id.parse().ok().and_then(|id| state.user(id));
    let room = head.room_id.parse().ok().and_then(|id| state.room(id));
    let body = event.body.as_ref().and_then(|body| decode_body(body));
    let body_state = if body.is_some() {
        BodyState::Unspecified
    } else {
        BodyState::Erased
    };
    CaseEntry {
        actor_name: actor.map(|user| user.name.clone()).unwrap_or_default(),
        room_name: room.map(|room| room.name.clone()).unwrap_or_default(),
        room_kind: room.map(|room| room.kind).unwrap_or_default().into(),
        event: Some(Event {
            head: Some(head),
            body,
            body_state: body_state.into(),
        }),
    }
}

#[tonic::async_trait]
impl CaseService for AdminServices {
    async fn open_case(&self, request: Request<OpenCaseRequest>) -> Result<Response<OpenCaseResponse>, Status> {
        Ok(Response::new(self.0.open_case(request).await?))
    }

    async fn approve_case(
        &self,
        request: Request<ApproveCaseRequest>,
    ) -> Result<Response<ApproveCaseResponse>, Status> {
        Ok(Response::new(self.0.approve_case(request).await?))
    }

    async fn close_case(&self, request: Request<CloseCaseRequest>) -> Result<Response<CloseCaseResponse>, Status> {
        Ok(Response::new(self.0.close_case(request).await?))
    }

    async fn list_cases(&self, request: Request<ListCasesRequest>) -> Result<Response<ListCasesResponse>, Status> {
        Ok(Response::new(self.0.list_cases(&request)?))
    }

    async fn get_case(&self, request: Request<GetCaseRequest>) -> Result<Response<GetCaseResponse>, Status> {
        self.0.investigates(&request)?;
        let case = self.0.api_case(request.get_ref().case_index)?;
        Ok(Response::new(GetCaseResponse { case: Some(case) }))
    }

    async fn read_case(&self, request: Request<ReadCaseRequest>) -> Result<Response<ReadCaseResponse>, Status> {
        Ok(Response::new(self.0.read_case(request).await?))
    }
}
