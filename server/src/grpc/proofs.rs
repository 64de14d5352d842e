//! `ProofService`.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use greffe_api::record::proof::{Span, consistency_spans, inclusion_spans};
use greffe_api::server::v1::proof_service_server::ProofService;
use greffe_api::v1::export_my_data_response::Piece as Own;
use greffe_api::v1::{
    EventHead, ExportMyDataRequest, ExportMyDataResponse, GetCheckpointRequest, GetCheckpointResponse,
    GetConsistencyProofRequest, GetConsistencyProofResponse, GetInclusionProofRequest, GetInclusionProofResponse,
    ListKeysRequest, ListKeysResponse, RecordKey, Restoration,
};
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::convert::stored;
use super::{App, Services};
use crate::domain::clock::timestamp;
use crate::domain::command::Command;
use crate::domain::error::Error;
use crate::domain::ids::UserId;
use crate::domain::permissions;
use crate::domain::standing::{self, Key};
use crate::domain::state::State;
use crate::exporter::{Ordered, Piece};
use crate::journal::event::decode_head;
use crate::journal::tree::{Hash, leaf_hash};

impl App {
    /// The newest checkpoint, as a signed note.
    pub(super) async fn checkpoint(&self) -> Result<GetCheckpointResponse, Error> {
        let newest = match self.notary.newest() {
            Some(newest) => newest,
            None => self.sign_checkpoint().await?,
        };
        Ok(GetCheckpointResponse {
            checkpoint: newest.note.clone(),
        })
    }

    /// All keys that checkpoints were signed with, and all restores.
    pub(super) fn keys(&self) -> ListKeysResponse {
        self.view().read(|state| ListKeysResponse {
            keys: state.standing().keys().iter().map(api_key).collect(),
            restorations: state.standing().restorations().iter().map(api_restoration).collect(),
        })
    }

    /// Proves that one size of the journal goes on from another.
    pub(super) async fn consistency(
        &self,
        request: &GetConsistencyProofRequest,
    ) -> Result<GetConsistencyProofResponse, Error> {
        let new = self.proved_size("new_size", request.new_size)?;
        let spans = u64::try_from(request.old_size)
            .ok()
            .and_then(|old| consistency_spans(old, new).ok())
            .ok_or(Error::invalid("old_size", "it must be 1 or more, and at most new_size"))?;
        let hashes = bytes(self.roots(spans).await?);
        Ok(GetConsistencyProofResponse { hashes })
    }

    /// A size that proofs may be about: one that a checkpoint may have.
    fn proved_size(&self, field: &'static str, size: i64) -> Result<u64, Error> {
        let newest = self.notary.newest().map_or(0, |newest| newest.checkpoint.size);
        u64::try_from(size)
            .ok()
            .filter(|size| (1..=newest).contains(size))
            .ok_or_else(|| Error::invalid(field, "it must be 1 or more, and at most that of the newest checkpoint"))
    }

    async fn roots(&self, spans: Vec<Span>) -> Result<Vec<Hash>, Error> {
        self.reader.roots(spans).await.map_err(|error| {
            tracing::error!(%error, "The tree could not be read");
            Error::Unreadable
        })
    }

    async fn inclusion(
        &self,
        user: UserId,
        request: &GetInclusionProofRequest,
    ) -> Result<GetInclusionProofResponse, Error> {
        let size = self.proved_size("size", request.size)?;
        let index = u64::try_from(request.index)
            .ok()
            .filter(|index| *index < size)
            .ok_or(Error::invalid("index", "it must be 0 or more, and less than size"))?;
        let row = self.reader.row(request.index).await.map_err(|error| {
            tracing::error!(%error, "A row could not be read");
            Error::Unreadable
        })?;
        let row = row.ok_or(Error::EventNotFound)?;
        let head = decode_head(&row.head).ok_or(Error::Internal)?;
        if !self.view().read(|state| may_see(state, user, &head)) {
            return Err(Error::EventNotFound);
        }
        let spans = inclusion_spans(index, size).map_err(|_| Error::Internal)?;
        Ok(GetInclusionProofResponse {
            leaf_hash: leaf_hash(&row.head).to_vec().into(),
            hashes: bytes(self.roots(spans).await?),
        })
    }
}

/// Whether a user is told of an event, now or by an earlier stay: one of a room that they are in, from where they see it on, or one outside of rooms
/// that they did, or that was done to them.
fn may_see(state: &State, user: UserId, head: &EventHead) -> bool {
    let me = user.to_string();
    if head.seq == 0 {
        return head.room_id.is_empty() && (head.actor_id == me || head.subject_id == me);
    }
    let room = head.room_id.parse().ok();
    room.and_then(|room| permissions::member(state, user, room).ok())
        .is_some_and(|(_, member)| head.seq >= member.first_seq)
}

pub(super) fn api_key(key: &Key) -> RecordKey {
    RecordKey {
        verifier_key: key.verifier_key.clone(),
        succession: key.succession.clone(),
        index: key.index,
        time: Some(timestamp(key.time)),
    }
}

fn api_restoration(restoration: &standing::Restoration) -> Restoration {
    Restoration {
        previous_journal_id: restoration.previous_journal_id.clone(),
        journal_id: restoration.journal_id.clone(),
        previous_size: restoration.previous_size,
        previous_root: restoration.previous_root.clone(),
        reason: restoration.reason.clone(),
        index: restoration.index,
        time: Some(timestamp(restoration.time)),
    }
}

fn bytes(hashes: Vec<Hash>) -> Vec<bytes::Bytes> {
    hashes.into_iter().map(|hash| hash.to_vec().into()).collect()
}

#[tonic::async_trait]
impl ProofService for Services {
    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        caller(&self.0, &request)?;
        Ok(Response::new(self.0.checkpoint().await?))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        caller(&self.0, &request)?;
        Ok(Response::new(self.0.consistency(request.get_ref()).await?))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Result<Response<GetInclusionProofResponse>, Status> {
        let caller = caller(&self.0, &request)?;
        Ok(Response::new(self.0.inclusion(caller.user, request.get_ref()).await?))
    }

    type ExportMyDataStream = BoxStream<'static, Result<ExportMyDataResponse, Status>>;

    async fn export_my_data(
        &self,
        request: Request<ExportMyDataRequest>,
    ) -> Result<Response<Self::ExportMyDataStream>, Status> {
        let caller = caller(&self.0, &request)?;
        let (user, session) = (caller.user, caller.session);
        let receipt = stored(self.journal.append(Command::ExportOwn { caller }).await?)?;
        let pieces = self.0.export(Ordered::own(receipt.index, user), String::new(), 0).await?;
        let app = Arc::clone(&self.0);
        let answers = pieces.filter_map(move |piece| {
            // Whoever is logged out in the middle gets no more.
            let goes_on = app.view().read(|state| state.session(session).is_some());
            std::future::ready(own_piece(if goes_on { piece } else { Err(Error::SessionEnded) }))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        caller(&self.0, &request)?;
        Ok(Response::new(self.0.keys()))
    }
}

/// A piece of an export of what a member did; none of those that only say how far it is.
fn own_piece(piece: Result<Piece, Error>) -> Option<Result<ExportMyDataResponse, Status>> {
    let piece = match piece {
        Ok(Piece::Progress(..)) => return None,
        Ok(Piece::File(name, _)) => Own::File(name),
        Ok(Piece::Data(bytes)) => Own::Data(bytes.into()),
        Err(error) => return Some(Err(Status::from(error))),
    };
    Some(Ok(ExportMyDataResponse { piece: Some(piece) }))
}
