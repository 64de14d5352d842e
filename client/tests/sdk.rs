//! The SDK against a real server, over links that break at random.

#[cfg(unix)]
mod links {
    use std::collections::HashMap;
    use std::io::{BufRead as _, BufReader};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use std::time::Duration;

    use greffe::api::{RoomState, event_body::Content};
    use greffe::{Action, Client, Error, Feed, FeedOptions, Item, NewFile, Options, Progress, Sha256, Ticket};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;
    use tokio::time::timeout;

    /// How long anything may take. Generous: the tests share a busy machine.
    const PATIENCE: Duration = Duration::from_secs(120);
    const PASSWORD: &str = "violet-harbour-anvil-27";

    struct Server {
        process: Child,
        _data: tempfile::TempDir,
        address: String,
    }

    impl Server {
        fn start() -> Self {
            let binary = Path::new(env!("CARGO_BIN_EXE_greffe")).with_file_name("greffe-server");
            assert!(
                binary.exists(),
                "{} is missing: run `cargo build --workspace` first",
                binary.display()
            );
            let data = tempfile::tempdir().expect("a temporary directory can be made");
            let mut process = Command::new(binary)
                .arg("--data-dir")
                .arg(data.path())
                .args(["--listen", "127.0.0.1:0", "--limit", "messages_per_second=0"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("the server can be started");
            let mut first = String::new();
            let stdout = process.stdout.take().expect("stdout is a pipe");
            BufReader::new(stdout)
                .read_line(&mut first)
                .expect("the server says that it is ready");
            let address = first
                .strip_prefix("ready grpc=")
                .and_then(|rest| rest.split_whitespace().next())
                .expect("it says where it listens")
                .to_owned();
            Self {
                process,
                _data: data,
                address,
            }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            // It may have ended by itself.
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }

    /// A way to the server that can be cut.
    struct Wire {
        address: String,
        cuts: watch::Sender<u32>,
    }

    impl Wire {
        async fn to(server: &str) -> std::io::Result<Self> {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            let (cuts, cut) = watch::channel(0);
            let server = server.to_owned();
            tokio::spawn(async move {
                while let Ok((mut near, _)) = listener.accept().await {
                    let (server, mut cut) = (server.clone(), cut.clone());
                    cut.mark_unchanged();
                    tokio::spawn(async move {
                        let Ok(mut far) = TcpStream::connect(server).await else {
                            return;
                        };
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                            _ = cut.changed() => {}
                        }
                    });
                }
            });
            Ok(Self { address, cuts })
        }

        fn cut(&self) {
            self.cuts.send_modify(|count| *count += 1);
        }
    }

    async fn user(address: &str, name: &str) -> Result<Client, Error> {
        let client = Client::connect(&format!("http://{address}"), Options::default()).await?;
        let token = client.register(name, PASSWORD, "", "").await?.token;
        client.with_token(&token)
    }

    /// The seqs and texts of a room's messages, until there are `count` of them.
    async fn read(feed: &mut Feed, room_id: &str, count: usize, wire: &Wire, cut_each: usize) -> Vec<(i64, String)> {
        let mut read = Vec::new();
        let mut last = None;
        while read.len() < count {
            let item = timeout(PATIENCE, feed.next())
                .await
                .expect("something happens in time")
                .expect("the feed goes on");
            let Item::Event(event) = item else { continue };
            let head = event.head.clone().expect("every event has a head");
            if head.room_id != room_id {
                continue;
            }
            assert_eq!(
                head.seq,
                last.map_or(head.seq, |last: i64| last + 1),
                "seqs have neither gaps nor doubles"
            );
            last = Some(head.seq);
            if let Some(Content::MessagePosted(message)) = event.body.and_then(|body| body.content) {
                read.push((head.seq, message.text));
                if read.len() % cut_each == 0 {
                    wire.cut();
                }
            }
        }
        read
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn cut_links_neither_lose_nor_double_nor_reorder() -> Result<(), Box<dyn std::error::Error>> {
        const COUNT: usize = 200;
        let server = Server::start();
        let (sender_wire, reader_wire) = (Wire::to(&server.address).await?, Wire::to(&server.address).await?);
        let alice = user(&sender_wire.address, "alice").await?;
        let bob = user(&reader_wire.address, "bob").await?;
        let room_id = alice.server_info().await?.general_room_id.clone();
        let whole = || FeedOptions {
            other_rooms_after_seq: Some(0),
            ..FeedOptions::default()
        };
        let (mut sending, mut reading) = (alice.feed(whole()), bob.feed(whole()));

        let tickets: Result<Vec<Ticket>, Error> = (0..COUNT)
            .map(|n| sending.outbox().send(Action::send(&room_id, format!("message {n}"))))
            .collect();
        let tickets = tickets?;
        let own = read(&mut sending, &room_id, COUNT, &sender_wire, 23);
        let theirs = read(&mut reading, &room_id, COUNT, &reader_wire, 17);
        let receipts = async {
            let mut seqs = Vec::new();
            for ticket in tickets {
                seqs.push(ticket.receipt().await.map(|receipt| receipt.seq));
            }
            seqs
        };
        let (own, theirs) = tokio::join!(own, theirs);
        // The feed has to be read for the last answers to come.
        let seqs = tokio::select! {
            seqs = timeout(PATIENCE, receipts) => seqs?,
            () = async { while sending.next().await.is_some() {} } => return Err("the feed ended".into()),
        };
        let expected: Vec<_> = (0..COUNT).map(|n| format!("message {n}")).collect();
        assert_eq!(own.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(own, theirs);
        let seqs: Result<Vec<i64>, Error> = seqs.into_iter().collect();
        assert_eq!(seqs?, own.iter().map(|(seq, _)| *seq).collect::<Vec<_>>());
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn files_come_whole_over_links_that_are_cut() -> Result<(), Box<dyn std::error::Error>> {
        const SIZE: usize = 24 * 1024 * 1024;
        const CUT_EACH: u64 = 5 * 1024 * 1024;
        let server = Server::start();
        let wire = Wire::to(&server.address).await?;
        let alice = user(&wire.address, "alice").await?;
        let content: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
        let (cuts, next) = (AtomicU32::new(0), AtomicU64::new(CUT_EACH));
        let cut_now_and_then = |progress: Progress| {
            if progress.done >= next.load(Ordering::Relaxed) {
                next.store(progress.done + CUT_EACH, Ordering::Relaxed);
                cuts.fetch_add(1, Ordering::Relaxed);
                wire.cut();
            }
        };
        let new = NewFile {
            name: "content".into(),
            room_id: alice.server_info().await?.general_room_id.clone(),
            ..NewFile::default()
        };
        let upload = alice.create_upload(&new, SIZE as u64, &greffe::new_request_id()).await?;
        let mut source = std::io::Cursor::new(content.clone());
        let sent = timeout(PATIENCE, alice.send_bytes(&upload, &mut source, &cut_now_and_then)).await??;
        let request_id = greffe::new_request_id();
        let (file, receipt) = alice.complete_upload(&upload.id, sent, &request_id).await?;
        assert_eq!(alice.complete_upload(&upload.id, sent, &request_id).await?.1, receipt);
        assert!(cuts.swap(0, Ordering::Relaxed) >= 3, "the link was cut on the way up");

        next.store(CUT_EACH, Ordering::Relaxed);
        let mut sink = Vec::new();
        let download = alice.download(&file, Sha256::new(), &mut sink, &cut_now_and_then);
        timeout(PATIENCE, download).await??;
        assert!(sink == content, "what comes back is what was sent");
        assert!(cuts.load(Ordering::Relaxed) >= 3, "the link was cut on the way down");
        assert!(alice.uploads().await?.is_empty());
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_room_that_was_missed_too_long_is_read_in_pages() -> Result<(), Box<dyn std::error::Error>> {
        const COUNT: usize = 40;
        let server = Server::start();
        let wire = Wire::to(&server.address).await?;
        let alice = user(&server.address, "alice").await?;
        let room_id = alice.server_info().await?.general_room_id.clone();
        for n in 0..COUNT {
            alice.send_message(&room_id, &format!("message {n}"), 0).await?;
        }
        let options = FeedOptions {
            other_rooms_after_seq: Some(0),
            max_replay: Some(5),
            ..FeedOptions::default()
        };
        let whole = read(&mut alice.feed(options.clone()), &room_id, COUNT, &wire, COUNT + 1).await;
        assert_eq!(whole.len(), COUNT);

        let mut feed = alice.feed(FeedOptions {
            newest_only: Some(10),
            ..options
        });
        let mut skipped = None;
        let newest = loop {
            match timeout(PATIENCE, feed.next()).await?.ok_or("the feed ended")? {
                Item::Skipped { first, last, .. } => skipped = Some((first, last)),
                Item::Event(event) => break event.head.ok_or("no head")?.seq,
                _ => {}
            }
        };
        assert_eq!(skipped, Some((1, newest - 1)));
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn positions_of_another_server_are_forgotten() -> Result<(), Box<dyn std::error::Error>> {
        let server = Server::start();
        let wire = Wire::to(&server.address).await?;
        let alice = user(&server.address, "alice").await?;
        let room_id = alice.server_info().await?.general_room_id.clone();
        alice.send_message(&room_id, "one", 0).await?;
        let positions = HashMap::from([(room_id.clone(), 1_000_000)]);
        let mut feed = alice.feed(FeedOptions {
            epoch: "elsewhere".into(),
            positions,
            ..FeedOptions::default()
        });
        assert_eq!(read(&mut feed, &room_id, 1, &wire, 2).await[0].1, "one");
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_room_that_one_comes_into_is_told_and_followed() -> Result<(), Box<dyn std::error::Error>> {
        let server = Server::start();
        let (alice, bob) = (
            user(&server.address, "alice").await?,
            user(&server.address, "bob").await?,
        );
        let mut feed = bob.feed(FeedOptions::default());
        while !matches!(timeout(PATIENCE, feed.next()).await?, Some(Item::CaughtUp)) {}
        let (state, _) = alice
            .create_room(greffe::NewRoom {
                name: "plaza".into(),
                ..greffe::NewRoom::default()
            })
            .await?;
        let RoomState { room: Some(room), .. } = state else {
            return Err("no room".into());
        };
        alice.send_message(&room.id, "before", 0).await?;
        bob.join_room(&room.id).await?;
        alice.send_message(&room.id, "after", 0).await?;
        let (mut told, mut seqs) = (false, Vec::new());
        loop {
            match timeout(PATIENCE, feed.next()).await?.ok_or("the feed ended")? {
                Item::RoomState(state) => told |= state.room.is_some_and(|known| known.id == room.id),
                Item::Event(event) if event.head.as_ref().is_some_and(|head| head.room_id == room.id) => {
                    assert!(told, "the room is told before its events");
                    seqs.push(event.head.ok_or("no head")?.seq);
                    if let Some(Content::MessagePosted(message)) = event.body.and_then(|body| body.content)
                        && message.text == "after"
                    {
                        break;
                    }
                }
                _ => {}
            }
        }
        assert_eq!(seqs, [3, 4]);
        Ok(())
    }
}
