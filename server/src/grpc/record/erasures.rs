//! `ErasureService`.

use std::time::Duration;

use greffe_api::record_api::v1::erase_request::Target as Asked;
use greffe_api::record_api::v1::{
    EraseRequest, EraseResponse, Erasure as ApiErasure, ErasureState, GetErasureRequest, GetErasureResponse,
    GetRetentionRequest, GetRetentionResponse, ListErasuresRequest, ListErasuresResponse, Retention as ApiRetention,
    SetRetentionRequest, SetRetentionResponse,
};
use greffe_api::server::record_api::v1::erasure_service_server::ErasureService;
use greffe_api::v1::RetentionClass;
use tonic::{Request, Response, Status};

use super::{named_rooms, named_users, words};
use crate::domain::clock::timestamp;
use crate::domain::entry::Subject;
use crate::domain::error::Error;
use crate::domain::operator::{Act, RecordAct};
use crate::domain::record::{CLASSES, Erasure, Record, Target};
use crate::domain::state::State;
use crate::grpc::admin::AdminServices;
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};

/// How long an answer waits until nobody is shown any more what is erased.
const PATIENCE: Duration = Duration::from_secs(20);

fn api_erasure(state: &State, erasure: &Erasure) -> ApiErasure {
    let (user, room) = match erasure.target {
        Target::User(user) => (named_users(state, &[user]).pop(), None),
        Target::Room(room) => (None, named_rooms(state, &[room]).pop()),
    };
    let progress = match (erasure.begun, erasure.done) {
        (_, Some(_)) => ErasureState::Done,
        (Some(_), None) => ErasureState::Running,
        (None, None) => ErasureState::Held,
    };
    ApiErasure {
        index: erasure.index,
        user,
        room,
        basis: erasure.basis.clone(),
        ordered_at: Some(timestamp(erasure.ordered)),
        state: progress.into(),
        done_at: erasure.done.map(|done| timestamp(done.time)),
        rows: erasure.done.map_or(0, |done| done.rows),
        files: erasure.done.map_or(0, |done| done.files),
    }
}

fn api_retention(record: &Record) -> Vec<ApiRetention> {
    let one = |class: &RetentionClass| {
        let retention = record.retention(*class);
        ApiRetention {
            class: (*class).into(),
            keep: (retention.seconds > 0).then_some(prost_types::Duration {
                seconds: retention.seconds,
                nanos: 0,
            }),
            set_at: retention.set.map(|(_, time)| timestamp(time)),
        }
    };
    CLASSES.iter().map(one).collect()
}

impl App {
    fn api_erasure(&self, index: i64) -> Result<ApiErasure, Error> {
        self.view().read(|state| Ok(api_erasure(state, state.record().erasure(index)?)))
    }

    async fn erase(&self, request: Request<EraseRequest>) -> Result<EraseResponse, Error> {
        let who = self.who(&request)?;
        let EraseRequest {
            request_id,
            reason,
            basis,
            target,
        } = request.into_inner();
        let target = match target {
            Some(Asked::User(user)) => self.account(&user).map(Target::User),
            Some(Asked::Room(room)) => self.any_room(&room).map(Target::Room),
            None => Err(Error::invalid("target", "name a user or a room")),
        };
        let asked = who
            .calls("greffe.record.v1.ErasureService/Erase", request_id, reason)
            .investigates()
            // By id: a name that is erased must not stay in the row that orders it.
            .subject(target.as_ref().map_or(Subject::None, |target| target.subject()))
            .with("basis", basis.as_str())
            .compare(&format!("{:?}", target.as_ref().ok()));
        let act = (|| {
            Ok(Act::Record(RecordAct::Erase {
                target: target.clone()?,
                basis: words("basis", basis)?,
            }))
        })();
        let acted = self.act(asked, act).await?;
        self.eraser.erase();
        // The row that orders it follows the one that records the call.
        let index = acted.effect.as_ref().map_or(acted.receipt.index + 1, |effect| effect.index);
        if self.api_erasure(index)?.state() == ErasureState::Running {
            let _ = tokio::time::timeout(PATIENCE, self.eraser.hidden(index)).await;
        }
        Ok(EraseResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            erasure: Some(self.api_erasure(index)?),
        })
    }

    fn list_erasures(&self, request: &Request<ListErasuresRequest>) -> Result<ListErasuresResponse, Error> {
        let who = self.investigates(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, who.name(), "erasures", &[]);
        let before = tokens.read_number(&request.page_token)?.unwrap_or(i64::MAX);
        let erasures: Vec<ApiErasure> = self.view().read(|state| {
            let erasures = state.record().erasures().rev().filter(|erasure| erasure.index < before);
            erasures.take(size + 1).map(|erasure| api_erasure(state, erasure)).collect()
        });
        let (erasures, next_page_token) = tokens.page(erasures, size, |last| last.index.to_string());
        Ok(ListErasuresResponse {
            erasures,
            next_page_token,
        })
    }

    async fn set_retention(&self, request: Request<SetRetentionRequest>) -> Result<SetRetentionResponse, Error> {
        let who = self.who(&request)?;
        let SetRetentionRequest {
            request_id,
            reason,
            class,
            keep,
        } = request.into_inner();
        let known = RetentionClass::try_from(class).ok().filter(|class| CLASSES.contains(class));
        let name = known.map_or("", |class| class.as_str_name());
        let text = keep
            .as_ref()
            .map_or("for ever".to_owned(), |keep| format!("{} s", keep.seconds));
        let asked = who
            .calls("greffe.record.v1.ErasureService/SetRetention", request_id, reason)
            .investigates()
            .with("class", name.trim_start_matches("RETENTION_CLASS_").to_lowercase())
            .with("keep", text);
        let act = known
            .ok_or_else(|| Error::invalid("class", "it must be messages, files or connections"))
            .and_then(|class| {
                let seconds = match keep {
                    None => 0,
                    Some(keep) if keep.seconds > 0 && keep.nanos == 0 => keep.seconds,
                    Some(_) => return Err(Error::invalid("keep", "it must be an hour to a thousand years")),
                };
                Ok(Act::Record(RecordAct::SetRetention { class, seconds }))
            });
        let acted = self.act(asked, act).await?;
        self.eraser.apply_retention();
        Ok(SetRetentionResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            retention: self.view().read(|state| api_retention(state.record())),
        })
    }
}

#[tonic::async_trait]
impl ErasureService for AdminServices {
    async fn erase(&self, request: Request<EraseRequest>) -> Result<Response<EraseResponse>, Status> {
        Ok(Response::new(self.0.erase(request).await?))
    }

    async fn get_erasure(&self, request: Request<GetErasureRequest>) -> Result<Response<GetErasureResponse>, Status> {
        self.0.investigates(&request)?;
        let erasure = self.0.api_erasure(request.get_ref().erasure_index)?;
        Ok(Response::new(GetErasureResponse { erasure: Some(erasure) }))
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        Ok(Response::new(self.0.list_erasures(&request)?))
    }

    async fn get_retention(
        &self,
        request: Request<GetRetentionRequest>,
    ) -> Result<Response<GetRetentionResponse>, Status> {
        self.0.investigates(&request)?;
        let retention = self.0.view().read(|state| api_retention(state.record()));
        Ok(Response::new(GetRetentionResponse { retention }))
    }

    async fn set_retention(
        &self,
        request: Request<SetRetentionRequest>,
    ) -> Result<Response<SetRetentionResponse>, Status> {
        Ok(Response::new(self.0.set_retention(request).await?))
    }
}
