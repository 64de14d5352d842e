use greffe_api::v1::{FileRemoved, FileShared};
use proptest::prelude::*;

use super::*;
use crate::domain::entry::Draft;
use crate::domain::ids::{RequestId, RequestKey};

/// What happens, in small numbers, so that things meet.
#[derive(Debug, Clone)]
enum Step {
    Begin {
        file: u8,
        owner: usize,
        size: i64,
    },
    GiveUp {
        file: u8,
    },
    Share {
        file: u8,
        owner: usize,
        room: usize,
        size: i64,
    },
    Remove {
        room: usize,
        seq: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (file, owner, room, size) = (0..4_u8, 0..2_usize, 0..3_usize, 0..100_i64);
    prop_oneof![
        (file.clone(), owner.clone(), size.clone()).prop_map(|(file, owner, size)| Step::Begin { file, owner, size }),
        file.clone().prop_map(|file| Step::GiveUp { file }),
        (file, owner, room.clone(), size).prop_map(|(file, owner, room, size)| Step::Share {
            file,
            owner,
            room,
            size
        }),
        (room, 1..20_i64).prop_map(|(room, seq)| Step::Remove { room, seq }),
    ]
}

fn id(file: u8) -> FileId {
    FileId::of_request(RequestKey([file; 16]))
}

fn entry(index: i64, room: RoomId, actor: UserId, content: Content, target: i64) -> Entry {
    Entry {
        index,
        time: index,
        // The row's number serves as the seq: both only grow.
        seq: index,
        request: None,
        draft: Draft::in_room(room, actor, content).on(target),
    }
}

fn take(files: &mut Files, index: i64, step: &Step, users: &[UserId], rooms: &[RoomId]) {
    match *step {
        Step::Begin { file, owner, size } => {
            if files.get(id(file)).is_none() {
                files.set_upload(Upload {
                    id: id(file),
                    owner: users[owner],
                    room: rooms[0],
                    name: "name".into(),
                    media_type: String::new(),
                    size,
                    committed: 0,
                    created: index,
                    used: index,
                });
            }
        }
        Step::GiveUp { file } => _ = files.drop_upload(id(file)),
        Step::Share {
            file,
            owner,
            room,
            size,
        } => {
            let shared = FileShared {
                file_id: id(file).to_string(),
                size,
                owner_id: users[owner].to_string(),
                ..FileShared::default()
            };
            files.apply(
                &entry(index, rooms[room], users[owner], Content::FileShared(shared), 0),
                rooms[room],
            );
        }
        Step::Remove { room, seq } => {
            let removed = Content::FileRemoved(FileRemoved::default());
            files.apply(&entry(index, rooms[room], users[0], removed, seq), rooms[room]);
        }
    }
}

proptest! {
    #[test]
    fn what_is_found_by_room_and_owner_is_what_there_is(steps in prop::collection::vec(step(), 0..40)) {
        let users = [UserId::random(), UserId::random()];
        let rooms = [RoomId::random(), RoomId::random(), RoomId::random()];
        let mut files = Files::default();
        for (index, step) in (1..).zip(&steps) {
            take(&mut files, index, step, &users, &rooms);
        }
        for user in users {
            let sent: i64 = files.iter().filter(|file| file.owner == user).map(|file| file.size).sum();
            let coming: i64 = files.uploads().filter(|upload| upload.owner == user).map(|upload| upload.size).sum();
            prop_assert_eq!(files.bytes_of(user), sent + coming);
            prop_assert_eq!(files.upload_count_of(user), files.uploads_of(user).count());
            prop_assert_eq!(files.of_owner(user).count(), files.iter().filter(|file| file.owner == user).count());
        }
        for room in rooms {
            let mut shares = 0;
            for file in files.iter() {
                for share in file.shares.iter().filter(|share| share.room == room) {
                    shares += 1;
                    prop_assert_eq!(files.shared_by(room, share.seq), Some(file));
                }
                // A file is not on its way any more.
                prop_assert!(files.upload(file.id).is_none());
            }
            prop_assert_eq!(files.in_room(room, 1).count(), shares);
        }
    }

    #[test]
    fn what_the_tables_hold_leads_to_the_same(steps in prop::collection::vec(step(), 0..40)) {
        let users = [UserId::random(), UserId::random()];
        let rooms = [RoomId::random(), RoomId::random(), RoomId::random()];
        let mut files = Files::default();
        for (index, step) in (1..).zip(&steps) {
            take(&mut files, index, step, &users, &rooms);
        }
        let mut loaded = Files::default();
        for file in files.iter() {
            loaded.load(File { shares: Vec::new(), ..file.clone() });
        }
        let mut shares: Vec<(Share, FileId)> =
            files.iter().flat_map(|file| file.shares.iter().map(|share| (*share, file.id))).collect();
        shares.sort_by_key(|(share, _)| share.seq);
        for (share, id) in shares {
            loaded.load_share(id, share);
        }
        prop_assert_eq!(&loaded.by_id, &files.by_id);
        for room in rooms {
            prop_assert!(loaded.in_room(room, 1).eq(files.in_room(room, 1)));
        }
    }
}

#[test]
fn a_repeated_request_names_the_same_file_and_another_users_does_not() {
    let request = RequestId::parse("0f8fad5b-d9cb-469f-a165-70867728950e").unwrap();
    let (alice, bob) = (UserId::random(), UserId::random());
    let of = |user| FileId::of_request(request.key(user));
    assert_eq!(of(alice), of(alice));
    assert_ne!(of(alice), of(bob));
}
