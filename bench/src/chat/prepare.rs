//! What a Greffe server must have before a run: accounts, sessions, rooms and members.
//!
//! A password's hash costs 15 ms and more, so this is done once for each crowd and as a client would do it; each run starts a server on
//! a copy of the directory that comes of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use greffe_api::v1::auth_service_client::AuthServiceClient;
use greffe_api::v1::get_room_request::By;
use greffe_api::v1::room_service_client::RoomServiceClient;
use greffe_api::v1::{
    CreateRoomRequest, GetRoomRequest, Hello, JoinRoomRequest, OpenDirectRequest, RegisterRequest, RoomKind,
    RoomPosition, RoomState,
};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

use super::drivers::greffe::Member;
use super::ledger::Crowd;
use super::workload::Rooms;
use crate::{disk, server, ui};

/// Calls at a time. Enough to keep both cores hashing.
const AT_ONCE: usize = 8;

/// A server's directory with a crowd in it.
#[derive(Debug)]
pub(super) struct Prepared {
    directory: PathBuf,
    /// For each user, how to talk.
    pub(super) members: Vec<Member>,
}

/// Those that were made, each once.
#[derive(Debug)]
pub(super) struct Preparations<'a> {
    binary: &'a Path,
    home: &'a Path,
    made: HashMap<(Crowd, Rooms), Prepared>,
}

impl<'a> Preparations<'a> {
    /// None yet. They will be made with the server `binary` in `home`.
    pub(super) fn new(binary: &'a Path, home: &'a Path) -> Self {
        Self {
            binary,
            home,
            made: HashMap::new(),
        }
    }

    /// The one for `crowd` in `rooms`.
    pub(super) fn get(&mut self, crowd: Crowd, rooms: Rooms) -> anyhow::Result<&Prepared> {
        let number = self.made.len();
        match self.made.entry((crowd, rooms)) {
            Entry::Occupied(made) => Ok(made.into_mut()),
            Entry::Vacant(place) => {
                ui::note(format_args!("preparing {} accounts", crowd.users));
                let directory = self.home.join(format!("prepared-{number}"));
                Ok(place.insert(Prepared::make(self.binary, directory, crowd, rooms)?))
            }
        }
    }
}

/// Someone who has an account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    id: String,
    pub(super) token: String,
}

impl Prepared {
    /// Makes a server's directory at `directory`, with `crowd` in `rooms`.
    fn make(binary: &Path, directory: PathBuf, crowd: Crowd, rooms: Rooms) -> anyhow::Result<Self> {
        let cores: Vec<usize> = (0..std::thread::available_parallelism()?.get()).collect();
        let server = server::greffe(binary, &directory, &cores, &[])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let members = runtime.block_on(people(server.address, crowd, rooms))?;
        // With it goes the connection: a server that stops waits for those that are open.
        drop(runtime);
        server.stop()?;
        Ok(Self { directory, members })
    }

    /// Makes a copy of it at `to`, on which a server can be started.
    pub(super) fn copy(&self, to: &Path) -> anyhow::Result<()> {
        disk::copy_directory(&self.directory, to)
    }
}

/// Makes accounts, rooms and members.
pub(super) async fn people(address: SocketAddr, crowd: Crowd, kind: Rooms) -> anyhow::Result<Vec<Member>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let accounts: Vec<Account> = stream::iter(0..crowd.users)
        .map(|user| register(channel.clone(), user))
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .context("accounts cannot be made")?;
    let accounts = Arc::new(accounts);
    let made = if kind == Rooms::Nowhere { 0 } else { crowd.rooms };
    let rooms: Vec<String> = stream::iter(0..made)
        .map(|room| {
            let accounts = Arc::clone(&accounts);
            let channel = channel.clone();
            async move {
                let first = &accounts[room as usize];
                let mut client = RoomServiceClient::new(channel);
                if kind == Rooms::Direct {
                    open_direct(&mut client, first, &accounts[crowd.partner_of(room) as usize]).await
                } else {
                    create(&mut client, first, room).await
                }
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .context("rooms cannot be made")?;
    let rooms = Arc::new(rooms);
    // Who made a room is in it, and so are both of a direct one.
    let others = if kind == Rooms::Public {
        crowd.rooms..crowd.users
    } else {
        0..0
    };
    stream::iter(others)
        .map(|user| {
            let client = RoomServiceClient::new(channel.clone());
            let room = rooms[crowd.room_of(user) as usize].clone();
            join(client, accounts[user as usize].clone(), room)
        })
        .buffered(AT_ONCE)
        .try_collect::<()>()
        .await
        .context("rooms cannot be joined")?;
    let mut heads = Vec::new();
    for (room, owner) in rooms.iter().zip(accounts.iter()) {
        heads.push(head_seq(RoomServiceClient::new(channel.clone()), owner, room).await?);
    }
    let member = |user: u32| Member {
        token: accounts[user as usize].token.clone(),
        room: rooms.get(crowd.room_of(user) as usize).cloned().unwrap_or_default(),
        hello: Hello {
            client_name: "greffe-bench".to_owned(),
            // Who is there from the beginning wants what happens from then on, who comes late what they missed.
            positions: missed(crowd, user, &rooms, &heads),
            ..Hello::default()
        },
    };
    Ok((0..crowd.users).map(member).collect())
}

pub(super) async fn register(channel: Channel, user: u32) -> Result<Account, Status> {
    let request = RegisterRequest {
        user_name: format!("user{user}"),
        password: format!("only for benches {user}"),
        client: "greffe-bench".to_owned(),
        ..RegisterRequest::default()
    };
    let answer = AuthServiceClient::new(channel).register(request).await?.into_inner();
    let user = answer.user.ok_or_else(|| Status::internal("the answer has no user"))?;
    Ok(Account {
        id: user.id,
        token: answer.token,
    })
}

pub(super) async fn create(
    client: &mut RoomServiceClient<Channel>,
    owner: &Account,
    room: u32,
) -> Result<String, Status> {
    let request = CreateRoomRequest {
        request_id: Uuid::new_v4().to_string(),
        kind: RoomKind::Public.into(),
        name: format!("room {room}"),
        ..CreateRoomRequest::default()
    };
    id(client.create_room(owner.request(request)?).await?.into_inner().room)
}

async fn open_direct(
    client: &mut RoomServiceClient<Channel>,
    one: &Account,
    other: &Account,
) -> Result<String, Status> {
    let request = OpenDirectRequest {
        request_id: Uuid::new_v4().to_string(),
        user_id: other.id.clone(),
    };
    id(client.open_direct(one.request(request)?).await?.into_inner().room)
}

pub(super) async fn join(mut client: RoomServiceClient<Channel>, user: Account, room: String) -> Result<(), Status> {
    let request = JoinRoomRequest {
        request_id: Uuid::new_v4().to_string(),
        room_id: room,
    };
    client.join_room(user.request(request)?).await.map(drop)
}

/// The seq of the newest event in a room.
pub(super) async fn head_seq(
    mut client: RoomServiceClient<Channel>,
    member: &Account,
    room: &str,
) -> Result<i64, Status> {
    let request = GetRoomRequest {
        by: Some(By::RoomId(room.to_owned())),
    };
    let answer = client.get_room(member.request(request)?).await?.into_inner();
    answer
        .room
        .map(|room| room.head_seq)
        .ok_or_else(|| Status::internal("the answer has no room"))
}

/// From where on `user` wants what they missed.
fn missed(crowd: Crowd, user: u32, rooms: &[String], heads: &[i64]) -> Vec<RoomPosition> {
    let room = crowd.room_of(user) as usize;
    match (rooms.get(room), heads.get(room)) {
        (Some(id), Some(head)) if crowd.is_late(user) => vec![RoomPosition {
            room_id: id.clone(),
            after_seq: *head,
        }],
        _ => Vec::new(),
    }
}

/// The id of the room in an answer.
fn id(state: Option<RoomState>) -> Result<String, Status> {
    let room = state.and_then(|state| state.room);
    room.map(|room| room.id)
        .ok_or_else(|| Status::internal("the answer has no room"))
}

impl Account {
    /// A request in the user's name.
    pub(super) fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let token = MetadataValue::try_from(format!("Bearer {}", self.token))
            .map_err(|_| Status::internal("the token does not fit into metadata"))?;
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", token);
        Ok(request)
    }
}
