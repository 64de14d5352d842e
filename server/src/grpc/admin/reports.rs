//! `ReportAdminService`.

use greffe_api::admin::v1::{
    ListReportsRequest, ListReportsResponse, ReadReportRequest, ReadReportResponse, Report as ApiReport,
    ResolveReportRequest, ResolveReportResponse,
};
use greffe_api::server::admin::v1::report_admin_service_server::ReportAdminService;
use greffe_api::v1::event_body::Content;
use tonic::{Request, Response, Status};

use super::AdminServices;
use crate::domain::clock::timestamp;
use crate::domain::error::Error;
use crate::domain::operator::Act;
use crate::domain::standing::Report;
use crate::domain::state::State;
use crate::domain::text::Line;
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};
use crate::journal::event::{decode_content, decode_head};

fn api_report(state: &State, report: &Report) -> ApiReport {
    ApiReport {
        index: report.index,
        reporter_id: report.reporter.to_string(),
        reporter_name: state.user(report.reporter).map(|user| user.name.clone()).unwrap_or_default(),
        room_id: report.room.to_string(),
        room_name: state.room(report.room).map(|room| room.name.clone()).unwrap_or_default(),
        seq: report.seq,
        reason: report.reason.clone(),
        time: Some(timestamp(report.time)),
    }
}

impl App {
    fn list_reports(&self, request: &Request<ListReportsRequest>) -> Result<ListReportsResponse, Error> {
        let who = self.looks(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, who.name(), "admin reports", &[]);
        let after = tokens.read_number(&request.page_token)?.unwrap_or(-1);
        let reports: Vec<ApiReport> = self.view().read(|state| {
            let reports = state.standing().reports().filter(|report| report.index > after);
            reports.take(size + 1).map(|report| api_report(state, report)).collect()
        });
        let (reports, next_page_token) = tokens.page(reports, size, |last| last.index.to_string());
        Ok(ListReportsResponse {
            reports,
            next_page_token,
        })
    }

    async fn read_report(&self, request: Request<ReadReportRequest>) -> Result<ReadReportResponse, Error> {
        let who = self.who(&request)?;
        let ReadReportRequest {
            request_id,
            reason,
            report_index: index,
        } = request.into_inner();
        let asked = who
            .calls("greffe.admin.v1.ReportAdminService/ReadReport", request_id, reason)
            .with("report_index", index.to_string())
            .reads();
        // What was read is on record before it is shown.
        let acted = self.act(asked, Ok(Act::ReadReport { index })).await?;
        let found = self.view().read(|state| {
            let report = state.standing().report(index)?;
            Some((api_report(state, report), report.text_index))
        });
        let (report, text_index) = found.ok_or(Error::ReportNotFound)?;
        let row = self.reader.row(text_index).await?.ok_or(Error::Internal)?;
        let head = decode_head(&row.head).ok_or(Error::Internal)?;
        let text = match row.body.as_ref().and_then(|body| decode_content(body)) {
            Some(Content::MessagePosted(posted)) => posted.text,
            Some(Content::MessageEdited(edited)) => edited.text,
            _ => String::new(),
        };
        let author_name = head.actor_id.parse().map(|author| self.name_of(author)).unwrap_or_default();
        Ok(ReadReportResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            report: Some(report),
            author_id: head.actor_id,
            author_name,
            written_at: head.time,
            text,
        })
    }

    async fn resolve_report(&self, request: Request<ResolveReportRequest>) -> Result<ResolveReportResponse, Error> {
        let who = self.who(&request)?;
        let ResolveReportRequest {
            request_id,
            reason,
            report_index: index,
            resolution,
        } = request.into_inner();
        let asked = who
            .calls("greffe.admin.v1.ReportAdminService/ResolveReport", request_id, reason)
            .with("report_index", index.to_string())
            .with("resolution", resolution.as_str());
        let act = Line::parse("resolution", resolution).map(|resolution| Act::ResolveReport { index, resolution });
        let acted = self.act(asked, act).await?;
        Ok(ResolveReportResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }
}

#[tonic::async_trait]
impl ReportAdminService for AdminServices {
    async fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> Result<Response<ListReportsResponse>, Status> {
        Ok(Response::new(self.0.list_reports(&request)?))
    }

    async fn read_report(&self, request: Request<ReadReportRequest>) -> Result<Response<ReadReportResponse>, Status> {
        Ok(Response::new(self.0.read_report(request).await?))
    }

    async fn resolve_report(
        &self,
        request: Request<ResolveReportRequest>,
    ) -> Result<Response<ResolveReportResponse>, Status> {
        Ok(Response::new(self.0.resolve_report(request).await?))
    }
}
