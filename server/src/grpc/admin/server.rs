//! `ServerAdminService`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use greffe_api::admin::v1::{
    CancelStopRequest, CancelStopResponse, CreateBackupRequest, CreateBackupResponse, GetStatusRequest,
    GetStatusResponse, Rates, SelfCheck, SendAlertRequest, SendAlertResponse, ServerStatus, SetDrainingRequest,
    SetDrainingResponse, SetNoticeRequest, SetNoticeResponse, StopServerRequest, StopServerResponse,
};
use greffe_api::server::admin::v1::server_admin_service_server::ServerAdminService;
use tonic::{Request, Response, Status};

use super::{AdminServices, number, span, span_text};
use crate::backup::{self, Note};
use crate::domain::clock::{Micros, SECOND, now, timestamp};
use crate::domain::error::Error;
use crate::domain::operator::{Act, Operator, Order};
use crate::domain::text::AlertText;
use crate::grpc::server_info::VERSION;
use crate::grpc::{App, convert};
use crate::lifecycle::DATABASE;
use crate::search;

/// How long an alert is shown to people who connect, unless a request says otherwise, and at most, in seconds.
const ALERT_SECONDS: (i64, i64) = (600, 30 * 24 * 3600);
/// When clients come back from a drain, unless a request says otherwise, and at most, in seconds.
const DRAIN_SECONDS: (i64, i64) = (60, 24 * 3600);
/// In how many seconds a stop may be, at most.
const STOP_SECONDS: i64 = 7 * 24 * 3600;

/// Sizes on the disk.
struct Sizes {
    database: u64,
    search: u64,
    free: u64,
}

/// Bytes of a database, its log included.
fn database_bytes(path: &Path) -> u64 {
    let size = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |file| file.len())
    };
    size("") + size("-wal")
}

impl Sizes {
    /// Looks at the disk; blocks.
    fn of(data_dir: &Path) -> Self {
        // A file system that does not tell is shown as full rather than as endless.
        let free = nix::sys::statvfs::statvfs(data_dir)
            .map_or(0, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
        Self {
            database: database_bytes(&data_dir.join(DATABASE)),
            search: database_bytes(&data_dir.join(search::DATABASE)),
            free,
        }
    }
}

/// A span in words, such as `5 min`.
fn words(span: Micros) -> String {
    let seconds = span / SECOND;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

impl App {
    async fn status(&self) -> Result<ServerStatus, Error> {
        let data_dir = self.config.data_dir.clone();
        let sizes = tokio::task::spawn_blocking(move || Sizes::of(&data_dir));
        let sizes = sizes.await.map_err(|_| Error::Internal)?;
        let streams = self.feed.streams(None);
        let now = now();
        let mut status = self.view().read(|state| ServerStatus {
            rows: state.size,
            users: number(state.user_count() - usize::from(state.operator_identity().is_some())),
            sessions: number(state.sessions().count()),
            rooms: number(state.rooms().count()),
            bans: number(state.standing().bans(now).count()),
            open_reports: number(state.standing().reports().count()),
            file_bytes: state.files().bytes(),
            search_lag: (state.size - self.search.next()).max(0),
            ..ServerStatus::default()
        });
        let rates = self.activity.rates();
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        status.version = VERSION.into();
        status.started_at = Some(timestamp(self.activity.started));
        status.time = Some(timestamp(now));
        status.journal_id.clone_from(&self.identity.journal_id);
        status.epoch.clone_from(&self.identity.epoch);
        status.users_online = number(self.feed.users_online());
        status.streams = number(streams.len());
        status.connections = number(self.connections.open());
        status.database_bytes = bytes(sizes.database);
        status.search_bytes = bytes(sizes.search);
        status.disk_free_bytes = bytes(sizes.free);
        status.writer_queue = number(self.journal.queued());
        status.mailbox_bytes = number(streams.iter().map(|stream| stream.load.queued).sum());
        status.rates = Some(Rates {
            rows: rates.rows,
            deliveries: rates.deliveries,
            logins: rates.logins,
            login_refusals: rates.refusals,
        });
        status.draining = self.feed.draining().is_some();
        status.stop_at = self.stopping.ordered().map(|order| timestamp(order.time));
        let data_dir = std::path::absolute(&self.config.data_dir).unwrap_or_else(|_| self.config.data_dir.clone());
        status.data_dir = data_dir.display().to_string();
        status.listen = self.listen.to_string();
        status.pid = std::process::id();
        status.self_check = self.self_check.last().map(|outcome| SelfCheck {
            time: Some(timestamp(outcome.begun)),
            rows: outcome.rows,
            finding: outcome.finding.unwrap_or_default(),
        });
        Ok(status)
    }

    async fn send_alert(&self, request: Request<SendAlertRequest>) -> Result<SendAlertResponse, Error> {
        let who = self.who(&request)?;
        let SendAlertRequest {
            request_id,
            reason,
            text,
            valid_for,
        } = request.into_inner();
        let (default, most) = ALERT_SECONDS;
        let valid_for = span("valid_for", valid_for.as_ref(), default * SECOND, 1, most);
        let mut asked = who
            .calls("greffe.admin.v1.ServerAdminService/SendAlert", request_id, reason)
            .with("text", text.as_str())
            .compare(&text);
        if let Ok(valid_for) = valid_for {
            asked = asked.with("valid_for", span_text(valid_for));
        }
        let text = AlertText::parse("text", text).and_then(|text| {
            if text.as_str().trim().is_empty() {
                return Err(Error::invalid("text", "it must not be empty"));
            }
            Ok(text)
        });
        let act = text.and_then(|text| {
            Ok(Act::Alert {
                text,
                valid_for: valid_for?,
                replaces: None,
                order: None,
            })
        });
        let acted = self.act(asked, act).await?;
        Ok(SendAlertResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            alert_index: acted.effect.map_or(0, |effect| effect.index),
            streams: acted.streams,
        })
    }

    async fn set_notice(&self, request: Request<SetNoticeRequest>) -> Result<SetNoticeResponse, Error> {
        let who = self.who(&request)?;
        let SetNoticeRequest {
            request_id,
            reason,
            text,
        } = request.into_inner();
        let asked = who
            .calls("greffe.admin.v1.ServerAdminService/SetNotice", request_id, reason)
            .with("text", text.as_str())
            .compare(&text);
        let act = AlertText::parse("text", text).map(|text| Act::SetNotice { text });
        let acted = self.act(asked, act).await?;
        Ok(SetNoticeResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }

    async fn set_draining(&self, request: Request<SetDrainingRequest>) -> Result<SetDrainingResponse, Error> {
        let who = self.who(&request)?;
        let SetDrainingRequest {
            request_id,
            reason,
            draining,
            reconnect_after,
        } = request.into_inner();
        let (default, most) = DRAIN_SECONDS;
        let after = span("reconnect_after", reconnect_after.as_ref(), default * SECOND, 1, most);
        let mut asked = who
            .calls(
                "greffe.admin.v1.ServerAdminService/SetDraining",
                request_id,
                reason.clone(),
            )
            .with("draining", draining.to_string());
        if let (Ok(after), true) = (&after, draining) {
            asked = asked.with("reconnect_after", span_text(*after));
        }
        let act = after.map(|after| {
            let order = if draining {
                let reconnect_after = Duration::from_micros(u64::try_from(after).unwrap_or_default());
                Order::Drain {
                    reason,
                    reconnect_after,
                }
            } else {
                Order::TakeAgain
            };
            Act::Drain { order }
        });
        let acted = self.act(asked, act).await?;
        // Upkeep would tell it within a second.
        self.health.tell(self.feed.draining().is_none()).await;
        Ok(SetDrainingResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            streams_closed: acted.streams,
        })
    }

    async fn stop_server(&self, request: Request<StopServerRequest>) -> Result<StopServerResponse, Error> {
        let who = self.who(&request)?;
        let StopServerRequest {
            request_id,
            reason,
            after,
        } = request.into_inner();
        let after = span("after", after.as_ref(), 0, 0, STOP_SECONDS);
        let mut asked = who.calls(
            "greffe.admin.v1.ServerAdminService/StopServer",
            request_id,
            reason.clone(),
        );
        if let Ok(after) = after {
            asked = asked.with("after", span_text(after));
        }
        let replaces = self.stopping.ordered().and_then(|order| order.alert);
        let act = after.clone().and_then(|after| {
            let when = if after == 0 {
                "now".to_owned()
            } else {
                format!("in {}", words(after))
            };
            let text = AlertText::parse("reason", format!("The server stops {when} for maintenance: {reason}"))?;
            // Until the stop, and not when the server is back.
            let valid_for = after.max(SECOND);
            Ok(Act::Alert {
                text,
                valid_for,
                replaces,
                order: Some(Order::Stop { reason, after }),
            })
        });
        let acted = self.act(asked, act).await?;
        Ok(StopServerResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            stop_at: self.stopping.ordered().map(|order| timestamp(order.time)),
        })
    }

    async fn cancel_stop(&self, request: Request<CancelStopRequest>) -> Result<CancelStopResponse, Error> {
        let who = self.who(&request)?;
        let CancelStopRequest { request_id, reason } = request.into_inner();
        let asked = who.calls(
            "greffe.admin.v1.ServerAdminService/CancelStop",
            request_id,
            reason.clone(),
        );
        let act = match self.stopping.ordered() {
            None => Err(Error::NothingToChange("no stop is ordered")),
            Some(order) => {
                AlertText::parse("reason", format!("The server does not stop after all: {reason}")).map(|text| {
                    Act::Alert {
                        text,
                        valid_for: ALERT_SECONDS.0 * SECOND,
                        replaces: order.alert,
                        order: Some(Order::GoOn),
                    }
                })
            }
        };
        let acted = self.act(asked, act).await?;
        Ok(CancelStopResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }

    /// A place for a backup, if it is one: found out before anything is recorded as begun.
    async fn place_of(&self, target: Result<PathBuf, Error>) -> Result<PathBuf, Error> {
        let (data_dir, target) = (self.config.data_dir.clone(), target?);
        let looked = tokio::task::spawn_blocking(move || backup::look(&data_dir, &target).map(|()| target));
        looked.await.map_err(|_| Error::Internal)?.map_err(|error| failed(&error))
    }

    async fn create_backup(&self, request: Request<CreateBackupRequest>) -> Result<CreateBackupResponse, Error> {
        const METHOD: &str = "greffe.admin.v1.ServerAdminService/CreateBackup";
        let who = self.who(&request)?;
        let CreateBackupRequest {
            request_id,
            reason,
            path,
        } = request.into_inner();
        let (operator, roles) = (who.operator.clone(), who.roles);
        let target = match &operator {
            Operator::Account { .. } => backup::named(&self.config.data_dir, &path).map_err(|error| failed(&error)),
            Operator::Local { .. } if Path::new(&path).is_absolute() => Ok(PathBuf::from(&path)),
            Operator::Local { .. } => Err(Error::invalid("path", "it must be absolute")),
        };
        let place = self.place_of(target.clone()).await;
        let running = self.backup.try_lock();
        let act = match (&place, &running) {
            (Err(error), _) => Err(error.clone()),
            (Ok(_), Err(_)) => Err(Error::BackupFailed("another one is being made; wait for it".into())),
            (Ok(_), Ok(_)) => Ok(Act::Note),
        };
        let asked = who.calls(METHOD, request_id, reason.clone()).with("path", path.as_str());
        let acted = self.act(asked, act).await?;
        let target = target?;
        let Ok(_running) = running else {
            // A repeated request, or it would have been refused.
            return Err(Error::BackupFailed("it is being made; ask again in a moment".into()));
        };
        if acted.repeated {
            let there = target.clone();
            let made = tokio::task::spawn_blocking(move || there.exists()).await;
            if !made.map_err(|_| Error::Internal)? {
                let text = "it was tried under this request_id, and there is none; the audit log says why";
                return Err(Error::BackupFailed(text.into()));
            }
            return Ok(CreateBackupResponse {
                receipt: Some(convert::receipt(self, &acted.receipt)),
                path: target.display().to_string(),
                ..CreateBackupResponse::default()
            });
        }
        let note = Note {
            made_at: acted.receipt.time,
            made_by: who_made(&operator),
            reason: reason.clone(),
        };
        let data_dir = self.config.data_dir.clone();
        let making = move || backup::make(&data_dir.join(DATABASE), &data_dir, &target, &note);
        let failed = match tokio::task::spawn_blocking(making).await {
            Ok(Ok(report)) => {
                return Ok(CreateBackupResponse {
                    receipt: Some(convert::receipt(self, &acted.receipt)),
                    path: report.path.display().to_string(),
                    rows: report.rows,
                    root: report.root,
                    bytes: i64::try_from(report.bytes).unwrap_or(i64::MAX),
                });
            }
            Ok(Err(error)) => failed(&error),
            Err(_) => Error::Internal,
        };
        tracing::error!(error = %failed, "A backup was not made");
        // The record says that it was begun; it must say, too, that it failed.
        let who = super::Who { operator, roles };
        let asked = who.calls(METHOD, uuid(), reason).with("path", path);
        match self.act(asked, Err(failed)).await {
            Err(error) => Err(error),
            Ok(_) => Err(Error::Internal),
        }
    }
}

/// Why there is no backup, with all its causes: only operators are told.
fn failed(error: &backup::BackupError) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        _ = write!(text, ": {source}");
        cause = source.source();
    }
    Error::BackupFailed(text)
}

/// Who made a backup, for whoever starts a server on it.
fn who_made(operator: &Operator) -> String {
    match operator {
        Operator::Local { name, .. } | Operator::Account { name, .. } => name.clone(),
    }
}

/// The name of an intention of the server itself.
fn uuid() -> String {
    let bytes = crate::domain::ids::random::<16>();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[tonic::async_trait]
impl ServerAdminService for AdminServices {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        self.looks(&request)?;
        Ok(Response::new(GetStatusResponse {
            status: Some(self.0.status().await?),
        }))
    }

    async fn send_alert(&self, request: Request<SendAlertRequest>) -> Result<Response<SendAlertResponse>, Status> {
        Ok(Response::new(self.0.send_alert(request).await?))
    }

    async fn set_notice(&self, request: Request<SetNoticeRequest>) -> Result<Response<SetNoticeResponse>, Status> {
        Ok(Response::new(self.0.set_notice(request).await?))
    }

    async fn set_draining(
        &self,
        request: Request<SetDrainingRequest>,
    ) -> Result<Response<SetDrainingResponse>, Status> {
        Ok(Response::new(self.0.set_draining(request).await?))
    }

    async fn stop_server(&self, request: Request<StopServerRequest>) -> Result<Response<StopServerResponse>, Status> {
        Ok(Response::new(self.0.stop_server(request).await?))
    }

    async fn cancel_stop(&self, request: Request<CancelStopRequest>) -> Result<Response<CancelStopResponse>, Status> {
        Ok(Response::new(self.0.cancel_stop(request).await?))
    }

    async fn create_backup(
        &self,
        request: Request<CreateBackupRequest>,
    ) -> Result<Response<CreateBackupResponse>, Status> {
        // Who goes away gets no answer, but what was begun is finished and recorded.
        let app = self.0.clone();
        let made = tokio::spawn(async move { app.create_backup(request).await });
        let made = made.await.map_err(|_| Error::Internal)?;
        Ok(Response::new(made?))
    }
}
