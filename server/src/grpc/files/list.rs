//! Lists of files. Which there are is in the state; what they are called is read from the journal, a page at a time.

use std::collections::BTreeSet;

use greffe_api::v1::{self, FileFilter, FileOrder, ListFilesRequest, ListFilesResponse};

use super::super::paging::Tokens;
use super::super::{App, convert};
use super::describe;
use crate::domain::caller::Caller;
use crate::domain::error::Error;
use crate::domain::files::{File, readable};
use crate::domain::ids::FileId;
use crate::domain::permissions;
use crate::domain::state::State;

/// Files whose names are read at a time.
pub(in crate::grpc) const READ_AT_ONCE: usize = 250;
/// Files that one call looks at; if a page is not full by then, the next call goes on.
pub(in crate::grpc) const LOOKED_AT: usize = 5_000;

/// A file's place in a list: what it is sorted by, then its number, both descending.
pub(in crate::grpc) type Place = (i64, i64);

/// Files in the order of a list.
pub(in crate::grpc) type Sorted = BTreeSet<(Place, FileId)>;

/// Files in the order of a list.
pub(in crate::grpc) fn sorted<'a>(files: impl Iterator<Item = &'a File>, order: FileOrder) -> Sorted {
    let place = |file: &File| match order {
        FileOrder::Unspecified => (0, file.no),
        FileOrder::Size => (file.size, file.no),
    };
    files.map(|file| (place(file), file.id)).collect()
}

/// The files that a request asks for.
fn find(state: &State, caller: &Caller, request: &ListFilesRequest) -> Result<Sorted, Error> {
    let files = state.files();
    let order = request.order();
    match request.filter() {
        FileFilter::Mine => {
            let shared = files.of_owner(caller.user).filter(|file| !file.shares.is_empty());
            Ok(sorted(shared, order))
        }
        FileFilter::Room => {
            let (room, member) = permissions::member(state, caller.user, convert::room_id(&request.room_id)?)?;
            Ok(sorted(files.in_room(room.id, member.first_seq), order))
        }
        FileFilter::Unspecified => {
            let own = files.of_owner(caller.user).filter(|file| !file.shares.is_empty());
            let rooms = state.rooms_of(caller.user).filter(|(_, member)| member.role.is_in());
            let shared = rooms.flat_map(|(room, member)| files.in_room(room.id, member.first_seq));
            Ok(sorted(own.chain(shared), order))
        }
    }
}

/// Reads a place out of a page's token.
pub(in crate::grpc) fn position(text: &str) -> Result<Place, Error> {
    let read = |part: &str| part.parse().map_err(|_| Error::InvalidPageToken);
    let (key, no) = text.split_once(' ').ok_or(Error::InvalidPageToken)?;
    Ok((read(key)?, read(no)?))
}

impl App {
    pub(super) async fn list_files(
        &self,
        caller: &Caller,
        request: &ListFilesRequest,
    ) -> Result<ListFilesResponse, Error> {
        let size = self.page_size(request.page_size)?;
        let (filter, order) = (request.filter.to_string(), request.order.to_string());
        if FileFilter::try_from(request.filter).is_err() || FileOrder::try_from(request.order).is_err() {
            return Err(Error::invalid("filter", "this filter or order is not known here"));
        }
        let filters = [filter.as_str(), order.as_str(), &request.room_id, &request.name];
        let tokens = Tokens::new(&self.identity.journal_id, caller.user, "files", &filters);
        let after = tokens.read(&request.page_token)?.map(|text| position(&text)).transpose()?;
        let found = self.view().read(|state| find(state, caller, request))?;
        let rest: Vec<(Place, FileId)> = found
            .into_iter()
            .rev()
            .filter(|(place, _)| after.is_none_or(|after| *place < after))
            .collect();

        let mut files = Vec::new();
        let mut last = None;
        let mut left = rest.len();
        let portion = if request.name.is_empty() {
            size.min(READ_AT_ONCE)
        } else {
            READ_AT_ONCE
        };
        'pages: for portion in rest.chunks(portion.max(1)).take(LOOKED_AT / portion.max(1)) {
            let described = self.describe_all(caller, portion).await?;
            for ((place, _), file) in portion.iter().zip(described) {
                left -= 1;
                last = Some(*place);
                files.extend(file.filter(|file| request.name.is_empty() || file.name == request.name));
                if files.len() == size {
                    break 'pages;
                }
            }
        }
        let next = last.filter(|_| left > 0).map(|(key, no)| tokens.write(&format!("{key} {no}")));
        Ok(ListFilesResponse {
            files,
            next_page_token: next.unwrap_or_default(),
        })
    }

    /// Files as the caller sees them; none of those that are gone or were erased.
    async fn describe_all(&self, caller: &Caller, places: &[(Place, FileId)]) -> Result<Vec<Option<v1::File>>, Error> {
        let rows = self.reader.rows(places.iter().map(|((_, no), _)| *no).collect()).await?;
        if rows.len() != places.len() {
            return Err(Error::Internal);
        }
        Ok(self.view().read(|state| {
            let described = places.iter().zip(&rows).map(|((_, id), row)| {
                let file = readable(state, caller.user, *id)?;
                describe(state, caller, file, row)
            });
            described.collect()
        }))
    }
}
