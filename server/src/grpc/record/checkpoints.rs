//! `CheckpointService`: what members are told of checkpoints, for operators and investigators, and a new key.

use greffe_api::record_api::v1::{
    GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest, GetConsistencyProofResponse,
    ListKeysRequest, ListKeysResponse, RotateKeyRequest, RotateKeyResponse,
};
use greffe_api::server::record_api::v1::checkpoint_service_server::CheckpointService;
use greffe_api::v1;
use tonic::{Request, Response, Status};

use crate::domain::error::Error;
use crate::domain::operator::Act;
use crate::grpc::admin::AdminServices;
use crate::grpc::proofs::api_key;
use crate::grpc::{App, convert};
use crate::notary::{NotaryError, Rotation};

impl App {
    /// A caller who looks at checkpoints, as an operator or an investigator.
    fn looks_at_checkpoints<T>(&self, request: &Request<T>) -> Result<(), Error> {
        let who = self.who(request)?;
        if who.roles.is_empty() {
            self.refusals.count("SERVER_ROLE_REQUIRED");
            return Err(Error::ServerRoleRequired {
                role: "operator or investigator",
            });
        }
        Ok(())
    }

    async fn rotate_key(&self, request: Request<RotateKeyRequest>) -> Result<RotateKeyResponse, Error> {
        const METHOD: &str = "greffe.record.v1.CheckpointService/RotateKey";
        let who = self.who(&request)?;
        let RotateKeyRequest { request_id, reason } = request.into_inner();
        let may = who.roles.operator;
        let asked = who.calls(METHOD, request_id, reason);
        if !may {
            // On record, and without a key that is made for nothing.
            let refused = Err(Error::ServerRoleRequired { role: "operator" });
            self.act(asked, refused).await?;
            return Err(Error::Internal);
        }
        // A backup that is being made gets the key that its database knows.
        let _backup = self.backup.lock().await;
        let rotation = self.notary.begin_rotation().await.map_err(|error| failed(&error))?;
        let key = Box::new(rotation.row().clone());
        let acted = self.act(asked, Ok(Act::RotateKey { key })).await;
        self.end_rotation(rotation, &acted).await?;
        let receipt = acted?.receipt;
        let key = self.view().read(|state| state.standing().keys().last().map(api_key));
        Ok(RotateKeyResponse {
            receipt: Some(convert::receipt(self, &receipt)),
            key,
        })
    }

    /// Has the new key sign if the journal says so.
    async fn end_rotation<T>(&self, rotation: Rotation<'_>, acted: &Result<T, Error>) -> Result<(), Error> {
        // The writer may be slow, and do it yet.
        if matches!(acted, Err(Error::OutcomeUnknown)) && !self.journal.settled().await {
            return Ok(());
        }
        let new = &rotation.row().verifier_key;
        let added = |key: &crate::domain::standing::Key| key.verifier_key == *new;
        if !self.view().read(|state| state.standing().keys().last().is_some_and(added)) {
            rotation.give_up().await;
            return Ok(());
        }
        tracing::info!(key = *new, "Checkpoints are signed with a new key");
        let signed = rotation.take_over(&*self.reader, &self.journal).await;
        signed.map(|_| ()).map_err(|error| failed(&error))
    }
}

fn failed(error: &NotaryError) -> Error {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "The key could not be replaced in order"
    );
    Error::Unreadable
}

#[tonic::async_trait]
impl CheckpointService for AdminServices {
    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        self.looks_at_checkpoints(&request)?;
        let checkpoint = self.sign_checkpoint().await?.note.clone();
        Ok(Response::new(GetCheckpointResponse { checkpoint }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        self.looks_at_checkpoints(&request)?;
        let GetConsistencyProofRequest { old_size, new_size } = request.into_inner();
        let asked = v1::GetConsistencyProofRequest { old_size, new_size };
        let v1::GetConsistencyProofResponse { hashes } = self.consistency(&asked).await?;
        Ok(Response::new(GetConsistencyProofResponse { hashes }))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        self.looks_at_checkpoints(&request)?;
        let v1::ListKeysResponse { keys, restorations } = self.keys();
        Ok(Response::new(ListKeysResponse { keys, restorations }))
    }

    async fn rotate_key(&self, request: Request<RotateKeyRequest>) -> Result<Response<RotateKeyResponse>, Status> {
        // Who goes away gets no answer, but what was begun is finished.
        let app = self.0.clone();
        let rotated = tokio::spawn(async move { app.rotate_key(request).await });
        let rotated = rotated.await.map_err(|_| Error::Internal)?;
        Ok(Response::new(rotated?))
    }
}
