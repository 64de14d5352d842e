//! `ExportService`.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use greffe_api::record_api::v1::download_export_response::Piece as ApiPiece;
use greffe_api::record_api::v1::{
    DownloadExportRequest, DownloadExportResponse, ExportFile, ExportProgress, OrderExportRequest, OrderExportResponse,
};
use greffe_api::server::record_api::v1::export_service_server::ExportService;
use tonic::{Request, Response, Status};

use crate::domain::clock::now;
use crate::domain::error::Error;
use crate::domain::ids::SessionId;
use crate::domain::operator::{Act, Operator, RecordAct};
use crate::exporter::{Piece, Pieces};
use crate::grpc::admin::AdminServices;
use crate::grpc::{App, convert};

fn api_piece(piece: Piece) -> DownloadExportResponse {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let piece = match piece {
        Piece::Progress(step, done, total) => ApiPiece::Progress(ExportProgress {
            step: step.to_owned(),
            done: number(done),
            total: number(total),
        }),
        Piece::File(name, offset) => ApiPiece::File(ExportFile {
            name,
            offset: number(offset),
        }),
        Piece::Data(bytes) => ApiPiece::Data(bytes.into()),
    };
    DownloadExportResponse { piece: Some(piece) }
}

impl App {
    async fn order_export(&self, request: Request<OrderExportRequest>) -> Result<OrderExportResponse, Error> {
        let who = self.who(&request)?;
        let OrderExportRequest {
            request_id,
            reason,
            case_index: case,
            bodies_only,
        } = request.into_inner();
        let asked = who
            .calls("greffe.record.v1.ExportService/OrderExport", request_id, reason)
            .investigates()
            .with("case_index", case.to_string())
            .with("bodies_only", if bodies_only { "true" } else { "" });
        let act = Act::Record(RecordAct::OrderExport { case, bodies_only });
        let acted = self.act(asked, Ok(act)).await?;
        // So that everybody else's checkpoints are as new as that of the export.
        self.sign_checkpoint().await?;
        Ok(OrderExportResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            // The row that orders it follows the one that records the call.
            export_index: acted.effect.as_ref().map_or(acted.receipt.index + 1, |effect| effect.index),
        })
    }
}

impl App {
    /// Refuses to go on with an export once its case is closed, or its login has ended or lost its role.
    fn may_go_on(&self, export: i64, session: Option<SessionId>) -> Result<(), Error> {
        self.view().read(|state| {
            let record = state.record();
            record.case(record.export(export)?.case)?.open(now())?;
            let Some(session) = session else { return Ok(()) };
            let session = state.session(session).ok_or(Error::SessionEnded)?;
            let user = state.user(session.user).ok_or(Error::SessionEnded)?;
            if user.roles.investigator {
                Ok(())
            } else {
                Err(Error::ServerRoleRequired { role: "investigator" })
            }
        })
    }
}

impl AdminServices {
    /// The pieces of an export, with the login that has to last until the last one.
    async fn download(&self, request: Request<DownloadExportRequest>) -> Result<(Pieces, Option<SessionId>), Error> {
        let who = self.who(&request)?;
        let session = match &who.operator {
            Operator::Account { caller, .. } => Some(caller.session),
            Operator::Local { .. } => None,
        };
        let DownloadExportRequest {
            request_id,
            reason,
            export_index: export,
            file,
            offset,
        } = request.into_inner();
        let from = u64::try_from(offset).map_err(|_| Error::invalid("offset", "it must not be negative"));
        let asked = who
            .calls("greffe.record.v1.ExportService/DownloadExport", request_id, reason)
            .investigates()
            .reads()
            .with("export_index", export.to_string())
            .with("file", file.as_str())
            .with("offset", if offset == 0 { String::new() } else { offset.to_string() });
        let act = from.clone().map(|_| Act::Record(RecordAct::DownloadExport { export }));
        self.act(asked, act).await?;
        let ordered = self.ordered(export).await?;
        Ok((self.0.export(ordered, file, from?).await?, session))
    }
}

#[tonic::async_trait]
impl ExportService for AdminServices {
    type DownloadExportStream = BoxStream<'static, Result<DownloadExportResponse, Status>>;

    async fn order_export(
        &self,
        request: Request<OrderExportRequest>,
    ) -> Result<Response<OrderExportResponse>, Status> {
        Ok(Response::new(self.0.order_export(request).await?))
    }

    async fn download_export(
        &self,
        request: Request<DownloadExportRequest>,
    ) -> Result<Response<Self::DownloadExportStream>, Status> {
        let export = request.get_ref().export_index;
        let (pieces, session) = self.download(request).await?;
        let app = Arc::clone(&self.0);
        let answers = pieces.map(move |piece| {
            app.may_go_on(export, session)?;
            Ok(api_piece(piece?))
        });
        Ok(Response::new(
            answers.map(|answer: Result<_, Error>| answer.map_err(Status::from)).boxed(),
        ))
    }
}
