//! `FileAdminService`.

use std::cmp::Reverse;
use std::collections::HashMap;

use greffe_api::admin::v1::{
    AdminFile, AdminFileShare, DeleteFileRequest, DeleteFileResponse, FileState, FileUsage, GetFileUsageRequest,
    GetFileUsageResponse, ListFilesRequest, ListFilesResponse, QuarantineFileRequest, QuarantineFileResponse,
    ReleaseFileRequest, ReleaseFileResponse, UserFileUsage,
};
use greffe_api::server::admin::v1::file_admin_service_server::FileAdminService;
use greffe_api::v1::FileOrder;
use greffe_api::v1::event_body::Content;
use tonic::{Request, Response, Status};

use super::AdminServices;
use crate::domain::clock::{Micros, from_timestamp};
use crate::domain::error::Error;
use crate::domain::files::File;
use crate::domain::ids::{FileId, RoomId, UserId};
use crate::domain::operator::Act;
use crate::domain::state::State;
use crate::grpc::files::list::{LOOKED_AT, Place, READ_AT_ONCE, position, sorted};
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};
use crate::journal::event::{decode_content, decode_head};
use crate::store::StoredEvent;

/// Which files are listed.
struct Wanted {
    owner: Option<UserId>,
    room: Option<RoomId>,
    min_bytes: i64,
    since: Micros,
    before: Micros,
    state: FileState,
    order: FileOrder,
    tokens: Tokens,
    /// The place after which the page begins.
    after: Option<Place>,
    size: usize,
}

fn file_state(state: &State, file: &File) -> FileState {
    if state.standing().why_quarantined(file.id).is_some() {
        FileState::Quarantined
    } else if file.shares.is_empty() {
        FileState::Removed
    } else {
        FileState::Shared
    }
}

impl Wanted {
    fn new(app: &App, caller: &str, request: &ListFilesRequest) -> Result<Self, Error> {
        let given = |text: &str| !text.is_empty();
        let known = FileState::try_from(request.state).is_ok() && FileOrder::try_from(request.order).is_ok();
        if !known {
            return Err(Error::invalid("state", "this state or order is not known here"));
        }
        if request.min_bytes < 0 {
            return Err(Error::invalid("min_bytes", "it must be 0 or more"));
        }
        let since = request.since.as_ref().map_or(Micros::MIN, from_timestamp);
        let before = request.before.as_ref().map_or(Micros::MAX, from_timestamp);
        let filters = [
            &request.user,
            &request.room,
            &request.min_bytes.to_string(),
            &since.to_string(),
            &before.to_string(),
            &request.state.to_string(),
            &request.order.to_string(),
        ];
        let tokens = Tokens::new(
            &app.identity.journal_id,
            caller,
            "admin files",
            &filters.map(String::as_str),
        );
        Ok(Self {
            owner: given(&request.user).then(|| app.account(&request.user)).transpose()?,
            room: given(&request.room).then(|| app.room_called(&request.room)).transpose()?,
            min_bytes: request.min_bytes,
            since,
            before,
            state: request.state(),
            order: request.order(),
            after: tokens.read(&request.page_token)?.map(|text| position(&text)).transpose()?,
            tokens,
            size: app.page_size(request.page_size)?,
        })
    }

    /// The files, newest or largest first, as far as that can be said without reading the journal.
    fn find(&self, state: &State) -> Vec<(Place, FileId)> {
        let is_wanted = |file: &&File| {
            self.owner.is_none_or(|owner| file.owner == owner)
                && self.room.is_none_or(|room| file.shares.iter().any(|share| share.room == room))
                && file.size >= self.min_bytes
                && (self.state == FileState::Unspecified || file_state(state, file) == self.state)
        };
        let found = sorted(state.files().iter().filter(is_wanted), self.order);
        let rest = found.into_iter().rev();
        rest.filter(|(place, _)| self.after.is_none_or(|after| *place < after))
            .collect()
    }

    /// A file, of which `row` is the row that shared it first; none if it is of another time.
    fn describe(&self, state: &State, id: FileId, row: &StoredEvent) -> Option<AdminFile> {
        let file = state.files().get(id)?;
        let created_at = decode_head(&row.head)?.time;
        let time = created_at.as_ref().map_or(0, from_timestamp);
        if !(self.since..self.before).contains(&time) {
            return None;
        }
        let told = match row.body.as_ref().and_then(|body| decode_content(body)) {
            Some(Content::FileShared(told)) => told,
            // It was erased; the file is still there to be taken away.
            _ => greffe_api::v1::FileShared::default(),
        };
        let shares = file.shares.iter().map(|share| AdminFileShare {
            room_id: share.room.to_string(),
            room_name: state.room(share.room).map(|room| room.name.clone()).unwrap_or_default(),
            seq: share.seq,
        });
        Some(AdminFile {
            id: id.to_string(),
            name: told.name,
            size: file.size,
            sha256: told.sha256,
            media_type: told.media_type,
            owner_id: file.owner.to_string(),
            owner_name: state.user(file.owner).map(|user| user.name.clone()).unwrap_or_default(),
            created_at,
            shares: shares.collect(),
            state: file_state(state, file).into(),
            quarantine_reason: state.standing().why_quarantined(id).unwrap_or_default().to_owned(),
        })
    }
}

/// What files take, by owner.
fn usage(state: &State) -> HashMap<UserId, FileUsage> {
    let mut of_users: HashMap<UserId, FileUsage> = HashMap::new();
    for file in state.files().iter() {
        let usage = of_users.entry(file.owner).or_default();
        usage.files += 1;
        usage.bytes += file.size;
    }
    for upload in state.files().uploads() {
        let usage = of_users.entry(upload.owner).or_default();
        usage.uploads += 1;
        usage.upload_bytes += upload.size;
    }
    of_users
}

impl App {
    async fn admin_list_files(&self, request: Request<ListFilesRequest>) -> Result<ListFilesResponse, Error> {
        let who = self.who(&request)?;
        let request = request.into_inner();
        let wanted = Wanted::new(self, &who.name(), &request);
        let state = request.state();
        let ListFilesRequest {
            request_id,
            reason,
            page_token,
            user,
            room,
            min_bytes,
            ..
        } = request;
        let minimum = Some(min_bytes).filter(|bytes| *bytes > 0).map(|bytes| bytes.to_string());
        let asked = who
            .calls("greffe.admin.v1.FileAdminService/ListFiles", request_id, reason)
            .with("user", user)
            .with("room", room)
            .with("min_bytes", minimum.unwrap_or_default())
            .with(
                "state",
                if state == FileState::Unspecified {
                    ""
                } else {
                    state.as_str_name()
                },
            )
            .with("page_token", page_token)
            .reads();
        // That the names are read is on record before they are shown.
        let act = wanted.as_ref().map(|_| Act::Note).map_err(Clone::clone);
        let acted = self.act(asked, act).await?;
        let wanted = wanted?;
        let rest = self.view().read(|state| wanted.find(state));
        let mut files = Vec::new();
        let mut last = None;
        let mut left = rest.len();
        'pages: for portion in rest.chunks(READ_AT_ONCE).take(LOOKED_AT / READ_AT_ONCE) {
            let rows = self.reader.rows(portion.iter().map(|((_, no), _)| *no).collect()).await?;
            if rows.len() != portion.len() {
                return Err(Error::Internal);
            }
            let described: Vec<Option<AdminFile>> = self.view().read(|state| {
                let each = portion.iter().zip(&rows);
                each.map(|((_, id), row)| wanted.describe(state, *id, row)).collect()
            });
            for ((place, _), file) in portion.iter().zip(described) {
                left -= 1;
                last = Some(*place);
                files.extend(file);
                if files.len() == wanted.size {
                    break 'pages;
                }
            }
        }
        let next = last.filter(|_| left > 0);
        let next = next.map(|(key, no)| wanted.tokens.write(&format!("{key} {no}")));
        Ok(ListFilesResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
            files,
            next_page_token: next.unwrap_or_default(),
        })
    }

    fn file_usage(&self, request: &Request<GetFileUsageRequest>) -> Result<GetFileUsageResponse, Error> {
        let who = self.looks(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, who.name(), "admin file usage", &[]);
        let after = tokens.read(&request.page_token)?.map(|text| position(&text)).transpose()?;
        let (total, users) = self.view().read(|state| {
            let of_users = usage(state);
            let mut total = FileUsage::default();
            for usage in of_users.values() {
                total.files += usage.files;
                total.bytes += usage.bytes;
                total.uploads += usage.uploads;
                total.upload_bytes += usage.upload_bytes;
            }
            let placed = of_users.into_iter().filter_map(|(id, usage)| {
                let user = state.user(id)?;
                Some((
                    (usage.bytes + usage.upload_bytes, user.no),
                    user.name.clone(),
                    id,
                    usage,
                ))
            });
            let mut users: Vec<_> = placed.filter(|(place, ..)| after.is_none_or(|after| *place < after)).collect();
            users.sort_unstable_by_key(|(place, ..)| Reverse(*place));
            users.truncate(size + 1);
            (total, users)
        });
        let (users, next_page_token) = tokens.page(users, size, |((bytes, no), ..)| format!("{bytes} {no}"));
        let users = users.into_iter().map(|(_, user_name, id, usage)| UserFileUsage {
            user_id: id.to_string(),
            user_name,
            usage: Some(usage),
        });
        Ok(GetFileUsageResponse {
            total: Some(total),
            users: users.collect(),
            quota_bytes: self.config.limits.file_quota_bytes,
            next_page_token,
        })
    }

    async fn quarantine_file(&self, request: Request<QuarantineFileRequest>) -> Result<QuarantineFileResponse, Error> {
        let who = self.who(&request)?;
        let QuarantineFileRequest {
            request_id,
            reason,
            file_id,
        } = request.into_inner();
        let act = convert::file_id(&file_id).map(|file| Act::QuarantineFile { file });
        let asked = who
            .calls("greffe.admin.v1.FileAdminService/QuarantineFile", request_id, reason)
            .with("file_id", file_id);
        let acted = self.act(asked, act).await?;
        Ok(QuarantineFileResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }

    async fn release_file(&self, request: Request<ReleaseFileRequest>) -> Result<ReleaseFileResponse, Error> {
        let who = self.who(&request)?;
        let ReleaseFileRequest {
            request_id,
            reason,
            file_id,
        } = request.into_inner();
        let act = convert::file_id(&file_id).map(|file| Act::ReleaseFile { file });
        let asked = who
            .calls("greffe.admin.v1.FileAdminService/ReleaseFile", request_id, reason)
            .with("file_id", file_id);
        let acted = self.act(asked, act).await?;
        Ok(ReleaseFileResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }

    async fn admin_delete_file(&self, request: Request<DeleteFileRequest>) -> Result<DeleteFileResponse, Error> {
        let who = self.who(&request)?;
        let DeleteFileRequest {
            request_id,
            reason,
            file_id,
            room,
        } = request.into_inner();
        let file = convert::file_id(&file_id);
        let only = (!room.is_empty()).then(|| self.room_called(&room)).transpose();
        let act = file.and_then(|file| Ok(Act::DeleteFile { file, room: only? }));
        let asked = who
            .calls("greffe.admin.v1.FileAdminService/DeleteFile", request_id, reason)
            .with("file_id", file_id)
            .with("room", room);
        let acted = self.act(asked, act).await?;
        Ok(DeleteFileResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }
}

#[tonic::async_trait]
impl FileAdminService for AdminServices {
    async fn list_files(&self, request: Request<ListFilesRequest>) -> Result<Response<ListFilesResponse>, Status> {
        Ok(Response::new(self.admin_list_files(request).await?))
    }

    async fn get_file_usage(
        &self,
        request: Request<GetFileUsageRequest>,
    ) -> Result<Response<GetFileUsageResponse>, Status> {
        Ok(Response::new(self.file_usage(&request)?))
    }

    async fn quarantine_file(
        &self,
        request: Request<QuarantineFileRequest>,
    ) -> Result<Response<QuarantineFileResponse>, Status> {
        Ok(Response::new(self.0.quarantine_file(request).await?))
    }

    async fn release_file(
        &self,
        request: Request<ReleaseFileRequest>,
    ) -> Result<Response<ReleaseFileResponse>, Status> {
        Ok(Response::new(self.0.release_file(request).await?))
    }

    async fn delete_file(&self, request: Request<DeleteFileRequest>) -> Result<Response<DeleteFileResponse>, Status> {
        Ok(Response::new(self.admin_delete_file(request).await?))
    }
}
