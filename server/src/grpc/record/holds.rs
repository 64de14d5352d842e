//! `HoldService`.

use greffe_api::record_api::v1::{
    AddHoldRequest, AddHoldResponse, Hold as ApiHold, ListHoldsRequest, ListHoldsResponse, ReleaseHoldRequest,
    ReleaseHoldResponse,
};
use greffe_api::server::record_api::v1::hold_service_server::HoldService;
use tonic::{Request, Response, Status};

use super::{named_rooms, named_users};
use crate::domain::clock::timestamp;
use crate::domain::error::Error;
use crate::domain::operator::{Act, RecordAct};
use crate::domain::record::Hold;
use crate::domain::state::State;
use crate::grpc::admin::AdminServices;
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};

fn api_hold(state: &State, hold: &Hold) -> ApiHold {
    let case = state.record().case(hold.case);
    ApiHold {
        index: hold.index,
        case_index: hold.case,
        reference: case.map(|case| case.reference.clone()).unwrap_or_default(),
        scope: Some(hold.scope.to_api()),
        users: named_users(state, &hold.scope.users),
        rooms: named_rooms(state, &hold.scope.rooms),
        added_at: Some(timestamp(hold.time)),
    }
}

impl App {
    async fn add_hold(&self, request: Request<AddHoldRequest>) -> Result<AddHoldResponse, Error> {
        let who = self.who(&request)?;
        let request = request.into_inner();
        let of_case =
            request.users.is_empty() && request.rooms.is_empty() && request.from.is_none() && request.to.is_none();
        let scope = if of_case {
            Ok(None)
        } else {
            let times = [request.from.as_ref(), request.to.as_ref()];
            self.scope(&request.users, &request.rooms, times).map(Some)
        };
        let asked = who
            .calls(
                "greffe.record.v1.HoldService/AddHold",
                request.request_id,
                request.reason,
            )
            .investigates()
            .with("case_index", request.case_index.to_string())
            .compare(&format!("{scope:?}"));
        let act = scope.map(|scope| {
            Act::Record(RecordAct::AddHold {
                case: request.case_index,
                scope,
            })
        });
        let acted = self.act(asked, act).await?;
        // The row that adds it follows the one that records the call.
        let index = acted.effect.as_ref().map_or(acted.receipt.index + 1, |effect| effect.index);
        let hold = self
            .view()
            .read(|state| Ok::<_, Error>(api_hold(state, state.record().hold(index)?)))?;
        Ok(AddHoldResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            hold: Some(hold),
        })
    }

    async fn release_hold(&self, request: Request<ReleaseHoldRequest>) -> Result<ReleaseHoldResponse, Error> {
        let who = self.who(&request)?;
        let ReleaseHoldRequest {
            request_id,
            reason,
            hold_index: hold,
        } = request.into_inner();
        let asked = who
            .calls("greffe.record.v1.HoldService/ReleaseHold", request_id, reason)
            .investigates()
            .with("hold_index", hold.to_string());
        let pending: Vec<i64> = self.view().read(|state| {
            let pending = state.record().erasures().filter(|erasure| erasure.begun.is_none());
            pending.map(|erasure| erasure.index).collect()
        });
        let acted = self.act(asked, Ok(Act::Record(RecordAct::ReleaseHold { hold }))).await?;
        self.eraser.erase();
        self.eraser.apply_retention();
        let erasure_indices = self.view().read(|state| {
            let begun = |index: &i64| state.record().erasure(*index).is_ok_and(|erasure| erasure.begun.is_some());
            pending.into_iter().filter(begun).collect()
        });
        Ok(ReleaseHoldResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            erasure_indices,
        })
    }

    fn list_holds(&self, request: &Request<ListHoldsRequest>) -> Result<ListHoldsResponse, Error> {
        let who = self.investigates(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, who.name(), "holds", &[]);
        let after = tokens.read_number(&request.page_token)?.unwrap_or(-1);
        let holds: Vec<ApiHold> = self.view().read(|state| {
            let holds = state.record().holds().filter(|hold| hold.index > after);
            holds.take(size + 1).map(|hold| api_hold(state, hold)).collect()
        });
        let (holds, next_page_token) = tokens.page(holds, size, |last| last.index.to_string());
        Ok(ListHoldsResponse { holds, next_page_token })
    }
}

#[tonic::async_trait]
impl HoldService for AdminServices {
    async fn add_hold(&self, request: Request<AddHoldRequest>) -> Result<Response<AddHoldResponse>, Status> {
        Ok(Response::new(self.0.add_hold(request).await?))
    }

    async fn release_hold(
        &self,
        request: Request<ReleaseHoldRequest>,
    ) -> Result<Response<ReleaseHoldResponse>, Status> {
        Ok(Response::new(self.0.release_hold(request).await?))
    }

    async fn list_holds(&self, request: Request<ListHoldsRequest>) -> Result<Response<ListHoldsResponse>, Status> {
        Ok(Response::new(self.0.list_holds(&request)?))
    }
}
