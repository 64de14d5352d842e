//! Who lives where: accounts, and rooms whose sizes follow a power law.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use greffe_api::v1::room_service_client::RoomServiceClient;
use tonic::transport::Endpoint;

use crate::chat::prepare::{self, Account};
use crate::words::Chance;
use crate::{disk, server};

/// The largest room has this share of all people.
const LARGEST: f64 = 0.2;
/// The room of rank r, from 1, has r to this power times fewer.
const POWER: f64 = 0.8;
/// Members that a room has at least.
const LEAST: usize = 2;
/// Accounts that are made at a time: enough to keep all cores hashing.
const REGISTERING: usize = 8;
/// Rooms that are made or joined at a time: as many calls as one connection may have open.
const CALLING: usize = 32;

/// A server's directory with people and rooms in it.
#[derive(Debug)]
pub(super) struct Town {
    directory: PathBuf,
    /// For each person, the session's token.
    pub(super) tokens: Vec<String>,
    /// The rooms, the largest one first.
    pub(super) rooms: Vec<Room>,
}

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) id: String,
    /// The numbers of the people in it.
    pub(super) members: Vec<u32>,
    /// The seq of its newest event.
    pub(super) head: i64,
}

impl Town {
    /// Makes a server's directory at `directory` with so many people and rooms, by the calls that clients use.
    pub(super) fn make(binary: &Path, directory: PathBuf, people: usize, rooms: usize) -> anyhow::Result<Self> {
        let cores: Vec<usize> = (0..std::thread::available_parallelism()?.get()).collect();
        let server = server::greffe(binary, &directory, &cores, &[])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tokens, rooms) = runtime.block_on(settle(server.address, people, members(people, rooms)))?;
        // A server that stops waits for its connections, which end with who drives them.
        drop(runtime);
        server.stop()?;
        Ok(Self {
            directory,
            tokens,
            rooms,
        })
    }

    /// Makes a copy of it at `to`, on which a server can be started.
    pub(super) fn copy(&self, to: &Path) -> anyhow::Result<()> {
        disk::copy_directory(&self.directory, to)
    }
}

/// Makes accounts and rooms with `members`, and returns the tokens and the rooms.
async fn settle(
    address: SocketAddr,
    people: usize,
    members: Vec<Vec<u32>>,
) -> anyhow::Result<(Vec<String>, Vec<Room>)> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let accounts: Vec<Account> = stream::iter(0..people)
        .map(|person| prepare::register(channel.clone(), person as u32))
        .buffered(REGISTERING)
        .try_collect()
        .await
        .context("accounts cannot be made")?;
    let (accounts, channel) = (&accounts, &channel);
    let client = || RoomServiceClient::new(channel.clone());
    let owner = |members: &[u32]| &accounts[members[0] as usize];
    let ids: Vec<String> = stream::iter(members.iter().enumerate())
        .map(|(room, members)| async move { prepare::create(&mut client(), owner(members), room as u32).await })
        .buffered(CALLING)
        .try_collect()
        .await
        .context("rooms cannot be made")?;
    // Who made a room is in it.
    let others = ids
        .iter()
        .zip(&members)
        .flat_map(|(id, members)| members[1..].iter().map(move |member| (id, *member)));
    stream::iter(others)
        .map(|(id, member)| prepare::join(client(), accounts[member as usize].clone(), id.clone()))
        .buffer_unordered(CALLING)
        .try_collect::<()>()
        .await
        .context("rooms cannot be joined")?;
    let heads: Vec<i64> = stream::iter(ids.iter().zip(&members))
        .map(|(id, members)| prepare::head_seq(client(), owner(members), id))
        .buffered(CALLING)
        .try_collect()
        .await
        .context("rooms cannot be read")?;
    let rooms = ids.into_iter().zip(members).zip(heads);
    let rooms = rooms.map(|((id, members), head)| Room { id, members, head });
    let tokens = accounts.iter().map(|account| account.token.clone());
    Ok((tokens.collect(), rooms.collect()))
}

/// Members of the room of a rank from 0.
fn size(rank: usize, people: usize) -> usize {
    let size = people as f64 * LARGEST / (rank as f64 + 1.0).powf(POWER);
    (size as usize).max(LEAST).min(people)
}

/// Who is in which room, the same each time: everyone is in as many as everyone else, or in one more or less.
fn members(people: usize, rooms: usize) -> Vec<Vec<u32>> {
    let mut chance = Chance::new(11);
    let mut waiting: Vec<u32> = Vec::new();
    let mut members = Vec::with_capacity(rooms);
    let mut last_room = vec![usize::MAX; people];
    for room in 0..rooms {
        let mut chosen = Vec::with_capacity(size(room, people));
        let mut skipped = Vec::new();
        while chosen.len() < size(room, people) {
            if waiting.is_empty() {
                waiting.extend(0..people as u32);
                shuffle(&mut waiting, &mut chance);
            }
            let Some(person) = waiting.pop() else { break };
            // The last of one round may be among the first of the next.
            if std::mem::replace(&mut last_room[person as usize], room) == room {
                skipped.push(person);
            } else {
                chosen.push(person);
            }
        }
        waiting.append(&mut skipped);
        members.push(chosen);
    }
    members
}

fn shuffle(people: &mut [u32], chance: &mut Chance) {
    for place in (1..people.len()).rev() {
        people.swap(place, chance.below(place as u32 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rooms_have_their_sizes_and_everyone_is_somewhere() {
        let rooms = members(5000, 500);
        assert_eq!([0, 1, 99, 499].map(|room| rooms[room].len()), [1000, 574, 25, 6]);
        let mut counts = vec![0; 5000];
        for room in &rooms {
            assert_eq!(
                room.iter().collect::<HashSet<_>>().len(),
                room.len(),
                "nobody is in it twice"
            );
            for person in room {
                counts[*person as usize] += 1;
            }
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least >= 1 && most - least <= 1, "{least} to {most}");
    }

    #[test]
    fn a_small_town_has_rooms_too() {
        let rooms = members(2, 5);
        assert!(rooms.iter().all(|room| room.len() == 2), "{rooms:?}");
    }
}
