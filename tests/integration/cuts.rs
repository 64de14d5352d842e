//! Cuts are real: who is kicked, banned, disabled, logged out or revoked is told at once and gets, says and does nothing any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Code;
use v1::EndReason;
use v1::chat_request::Action;

use crate::support::chance::Chance;
use crate::support::stream::{event_of, head, text_of};
use crate::support::user::message;
use crate::support::{ErrorReason, Kind, Operator, PASSWORD, Refusal, Server, Stream, User, admin, setting, v1};

/// Events that are delivered a second, to all streams together, while sessions are cut.
const DELIVERIES: u32 = 40_000;
/// Messages that a user has on their way when their session is cut.
const QUEUED: usize = 20;
/// What is on its way then.
const IN_TIME: &str = "let me finish";
/// What is sent when everything is over.
const FENCE: &str = "the fence";

/// What ends sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Kick,
    KickSession,
    Ban,
    Disable,
    ResetPassword,
    LogOut,
    Revoke,
    ChangePassword,
}

impl Cut {
    const ALL: [Self; 8] = [
        Self::Kick,
        Self::KickSession,
        Self::Ban,
        Self::Disable,
        Self::ResetPassword,
        Self::LogOut,
        Self::Revoke,
        Self::ChangePassword,
    ];

    /// Whether both sessions of the user end, or only the laptop's.
    fn ends_all(self) -> bool {
        matches!(self, Self::Kick | Self::Ban | Self::Disable | Self::ResetPassword)
    }

    /// Whether an operator does it, with a reason.
    fn is_operators(self) -> bool {
        self.ends_all() || self == Self::KickSession
    }

    /// How the streams end.
    fn end(self) -> (EndReason, Code, ErrorReason) {
        match self {
            Self::Kick | Self::KickSession => (EndReason::Kicked, Code::PermissionDenied, ErrorReason::Kicked),
            Self::Ban => (EndReason::Banned, Code::PermissionDenied, ErrorReason::Banned),
            Self::Disable => (
                EndReason::Disabled,
                Code::PermissionDenied,
                ErrorReason::AccountDisabled,
            ),
            Self::ResetPassword => (
                EndReason::PasswordReset,
                Code::Unauthenticated,
                ErrorReason::SessionEnded,
            ),
            Self::LogOut => (EndReason::LoggedOut, Code::Unauthenticated, ErrorReason::SessionEnded),
            Self::Revoke => (EndReason::Revoked, Code::Unauthenticated, ErrorReason::SessionEnded),
            Self::ChangePassword => (
                EndReason::PasswordChanged,
                Code::Unauthenticated,
                ErrorReason::SessionEnded,
            ),
        }
    }

    /// Does it; the act's index where the answer tells it.
    async fn perform(self, operator: &Operator, victim: &Victim) -> Option<i64> {
        let (name, words) = (victim.laptop.name.as_str(), victim.words());
        let receipt = match self {
            Self::Kick => operator.kick(name, &words).await.expect("it is done").receipt,
            Self::KickSession => {
                let request = admin::KickSessionRequest {
                    session_id: victim.laptop.session_id.clone(),
                    ..admin::KickSessionRequest::default()
                };
                operator.act(request, &words).await.expect("it is done").receipt
            }
            Self::Ban => operator.ban(name, &words).await.expect("it is done").receipt,
            Self::Disable => operator.disable(name, &words).await.expect("it is done").receipt,
            Self::ResetPassword => {
                let request = admin::ResetUserPasswordRequest {
                    user: name.to_owned(),
                    ..admin::ResetUserPasswordRequest::default()
                };
                operator.act(request, &words).await.expect("it is done").receipt
            }
            Self::LogOut => {
                victim.laptop.log_out().await.expect("it is done");
                None
            }
            Self::Revoke => {
                let session = &victim.laptop.session_id;
                Some(victim.phone.revoke(session).await.expect("it is done"))
            }
            Self::ChangePassword => {
                let ended = victim.phone.change_password(PASSWORD, "another owl in the attic").await;
                assert_eq!(ended.expect("it is done"), 1);
                None
            }
        };
        receipt.map(|receipt| receipt.index)
    }
}

/// A user with two sessions, one of which talks.
struct Victim {
    laptop: User,
    phone: User,
    room: String,
    cut: Cut,
}

impl Victim {
    /// What the operator says.
    fn words(&self) -> String {
        format!("enough of {}", self.laptop.name)
    }

    /// Checks how a stream of theirs ended, and that nothing from the row `index` on came over it.
    fn is_cut_at(&self, index: i64, end: &End) {
        let cut = self.cut;
        let Some((ended, refusal)) = &end.cut else {
            panic!("{cut:?} did not end a stream");
        };
        assert_eq!((ended.reason(), refusal.code, refusal.reason), cut.end(), "{refusal:?}");
        if cut.is_operators() {
            assert_eq!(ended.message, self.words(), "{cut:?}");
        }
        let last = end.last_index;
        assert!(last < index, "{cut:?} was row {index}, and a stream got row {last}");
    }

    /// What is sent when it is too late.
    fn too_late(&self) -> String {
        format!("{} comes too late", self.laptop.name)
    }
}

/// What came of a stream.
struct End {
    /// The greatest index of an event on it.
    last_index: i64,
    /// How it was cut; none if it saw the fence.
    cut: Option<(v1::Ended, Refusal)>,
    at: Instant,
}

/// Reads a stream to its end, or to the fence.
async fn read(mut stream: Stream) -> End {
    let mut last_index = -1;
    let mut ended = None;
    while let Some(kind) = stream.next().await {
        stream.seen.clear();
        assert!(ended.is_none(), "{kind:?} came after Ended");
        if let Some(event) = event_of(&kind) {
            last_index = last_index.max(head(event).index);
            if text_of(event) == Some(FENCE) {
                return End {
                    last_index,
                    cut: None,
                    at: Instant::now(),
                };
            }
        }
        if let Kind::Ended(last) = kind {
            ended = Some((last, Instant::now()));
        }
    }
    let status = stream.status.clone().expect("the stream has ended");
    let (ended, at) = ended.unwrap_or_else(|| panic!("a stream ended without Ended: {status:?}"));
    End {
        last_index,
        cut: Some((ended, Refusal::from(status))),
        at,
    }
}

/// The sending halves of the victims' streams.
type Senders = Vec<mpsc::Sender<v1::ChatRequest>>;

/// Has a victim say something, if their stream still takes it.
fn say(senders: &Senders, victims: &[Victim], number: usize, text: &str) {
    let action = Action::SendMessage(message(&victims[number].room, text));
    // Taken by the client's library or not: it is for the server to refuse it.
    let _ = senders[number].try_send(v1::ChatRequest { action: Some(action) });
}

/// Has the victims say something in turn, whether they are cut or not, as often as the streams can be told of it.
async fn chatter(senders: Arc<Senders>, victims: Arc<Vec<Victim>>, streams: usize) {
    let pause = Duration::from_secs(1) * u32::try_from(streams).expect("it is small") / DELIVERIES;
    let mut pace = tokio::time::interval(pause);
    for number in (0..victims.len()).cycle() {
        pace.tick().await;
        say(&senders, &victims, number, "is anybody there?");
    }
}

/// A stream of a victim, being read.
struct Reader {
    victim: usize,
    on_laptop: bool,
    reads: bool,
    end: tokio::task::JoinHandle<End>,
}

/// The value below which a share of the sorted values lies.
fn quantile(sorted: &[Duration], per_cent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * per_cent / 100).copied().unwrap_or_default()
}

/// Opens the streams of all victims. Every fifth is on a connection of its own and is read only when `go` says so.
async fn open_streams(
    server: &Server,
    victims: &[Victim],
    count: usize,
    go: &watch::Receiver<bool>,
) -> (Vec<Reader>, Senders) {
    let mut readers = Vec::with_capacity(count);
    let mut senders = Senders::new();
    for number in 0..count {
        let index = number % victims.len();
        let victim = &victims[index];
        let round = number / victims.len();
        let on_laptop = round.is_multiple_of(2);
        let reads = round == 0 || number % 5 != 4;
        let session = if on_laptop { &victim.laptop } else { &victim.phone };
        let end = if reads {
            let stream = session.live().await;
            if round == 0 {
                senders.push(stream.sender());
            }
            tokio::spawn(read(stream))
        } else {
            let session = session.over(server.narrow_channel().await);
            let mut go = go.clone();
            let stream = session.live().await;
            tokio::spawn(async move {
                go.wait_for(|go| *go).await.expect("the test goes on");
                read(stream).await
            })
        };
        readers.push(Reader {
            victim: index,
            on_laptop,
            reads,
            end,
        });
    }
    (readers, senders)
}

/// Makes the users, each with two sessions, in `general` or in a room of theirs.
async fn victims(server: &Server, count: usize, chance: &mut Chance) -> Vec<Victim> {
    let host = server.user("host").await;
    let general = server.general().await;
    let den = host.public_room("den").await;
    let mut victims = Vec::with_capacity(count);
    for number in 0..count {
        let laptop = server.user(&format!("victim{number}")).await;
        let phone = server.login(&laptop.name).await;
        let room = if chance.below(2) == 0 {
            general.clone()
        } else {
            laptop.join(&den).await.expect("the room is public");
            den.clone()
        };
        let cut = Cut::ALL[number % Cut::ALL.len()];
        victims.push(Victim {
            laptop,
            phone,
            room,
            cut,
        });
    }
    victims
}

/// How many of a session's calls are taken: none, once it has ended.
async fn accepted(session: &User) -> usize {
    let unary = session.sessions().await.map(drop);
    let stream = session.chat(v1::Hello::default()).await.map(drop);
    let results = [unary, stream];
    for refusal in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(refusal.reason, ErrorReason::SessionEnded, "{refusal:?}");
    }
    results.iter().filter(|result| result.is_ok()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_under_load_lets_nothing_through_in_either_direction() {
    let streams = usize::try_from(setting("GREFFE_TEST_CUT_STREAMS", 200)).expect("it is small");
    let acts = usize::try_from(setting("GREFFE_TEST_CUTS", 40)).expect("it is small");
    let mut chance = Chance::new("cuts");
    let mut server = Server::start(&[("streams_per_connection", 100)]).await;
    let operator = server.operator().await;
    let victims = Arc::new(victims(&server, acts, &mut chance).await);
    let talker = server.user("talker").await;
    let general = server.general().await;
    let (tell, go) = watch::channel(false);
    let streams = streams.max(acts);
    let (readers, senders) = open_streams(&server, &victims, streams, &go).await;
    let senders = Arc::new(senders);
    // More than those who do not read take: what they are told next is not in their mailboxes.
    let long = "x".repeat(16_384);
    for _ in 0..40 {
        talker.send(&general, &long).await.expect("anyone may");
    }

    let chatter = tokio::spawn(chatter(Arc::clone(&senders), Arc::clone(&victims), streams));
    let mut order: Vec<usize> = (0..victims.len()).collect();
    chance.shuffle(&mut order);
    let mut answered = HashMap::new();
    let mut indices = HashMap::new();
    let mut taken = 0;
    for number in order {
        let victim = &victims[number];
        for _ in 0..QUEUED {
            say(&senders, &victims, number, IN_TIME);
        }
        let index = victim.cut.perform(&operator, victim).await;
        answered.insert(number, Instant::now());
        indices.extend(index.map(|index| (number, index)));
        say(&senders, &victims, number, &victim.too_late());
        taken += accepted(&victim.laptop).await;
        if victim.cut.ends_all() {
            taken += accepted(&victim.phone).await;
        }
    }
    assert_eq!(taken, 0, "calls and streams with tokens that were void");
    chatter.abort();
    tell.send_replace(true);
    talker.send(&general, FENCE).await.expect("anyone may");

    let mut ends = Vec::with_capacity(readers.len());
    for reader in readers {
        let end = crate::support::within("the end of a stream", reader.end)
            .await
            .expect("no reader fails");
        ends.push((reader.victim, reader.on_laptop, reader.reads, end));
    }
    let mut events = talker.events_after(&general, 0).await.expect("everyone may");
    let host = server.login("host").await;
    let den = host.room_named("den").await.expect("it is public");
    let den = crate::support::user::room_id(&den);
    events.extend(host.events_after(&den, 0).await.expect("a member may"));
    assert!(server.terminate().await.success());
    let heads = crate::journal::heads(&server);

    let bound = |number: usize| -> i64 {
        let session_end = crate::journal::end_of_session(&heads, &victims[number].laptop.session_id);
        indices.get(&number).copied().unwrap_or(session_end).min(session_end)
    };
    let mut times = Vec::new();
    for (number, on_laptop, reads, end) in ends {
        let victim = &victims[number];
        if !on_laptop && !victim.cut.ends_all() {
            assert!(end.cut.is_none(), "{:?} ended a stream of another session", victim.cut);
            continue;
        }
        victim.is_cut_at(bound(number), &end);
        if reads {
            times.push(end.at.saturating_duration_since(answered[&number]));
        }
    }
    for event in &events {
        let head = head(event);
        let Some(number) = victims.iter().position(|victim| victim.laptop.id == head.actor_id) else {
            continue;
        };
        if head.kind() == v1::EventKind::MessagePosted {
            assert!(head.index < bound(number), "a message after {:?}", victims[number].cut);
            assert_ne!(text_of(event), Some(victims[number].too_late().as_str()));
        }
    }
    times.sort_unstable();
    eprintln!(
        "{acts} cuts of {} of {streams} streams: p50 {:?}, p99 {:?}; {} events",
        times.len(),
        quantile(&times, 50),
        quantile(&times, 99),
        events.len()
    );
    assert!(!times.is_empty());
    let in_time = events.iter().filter(|event| text_of(event) == Some(IN_TIME)).count();
    assert!(
        in_time > 0,
        "of what was on its way when a session was cut, something was in time"
    );
    assert_eq!(server.check().await["ok"], true);
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_what_was_sent_before_the_cut_and_then_its_end() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let mut deaf = bob.over(server.narrow_channel().await).live().await;
    let long = "x".repeat(16_384);
    for _ in 0..60 {
        alice.send(&general, &long).await.expect("anyone may");
    }
    let answer = operator.kick("bob", "you do not listen").await.expect("it is done");
    assert_eq!((answer.sessions_ended, answer.streams_closed), (1, 1));
    let index = answer.receipt.expect("the answer has a receipt").index;
    for _ in 0..20 {
        alice.send(&general, "behind your back").await.expect("anyone may");
    }
    deaf.ends_with(EndReason::Kicked, Code::PermissionDenied, ErrorReason::Kicked)
        .await;
    assert!(deaf.events_seen().count() > 0, "what was under way arrives");
    assert!(deaf.events_seen().all(|event| head(event).index < index));
    assert!(deaf.events_seen().all(|event| text_of(event) != Some("behind your back")));
    match deaf.seen.last() {
        Some(Kind::Ended(ended)) => assert_eq!(ended.message, "you do not listen"),
        other => panic!("{other:?}"),
    }
    // The rest is there for who comes back.
    let bob = server.login("bob").await;
    let after = bob.events_after(&general, 0).await.expect("everyone may");
    assert_eq!(after.len(), 80 + 1);
}

#[tokio::test]
async fn what_a_banned_user_had_queued_is_refused_by_the_writer() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let bob = server.user("bob").await;
    let general = server.general().await;
    let mut stream = bob.live().await;
    let sender = stream.sender();
    // Always as many on their way as a stream may have unanswered, or nearly so.
    let (window, room) = (Arc::new(Semaphore::new(200)), general.clone());
    let permits = Arc::clone(&window);
    let pour = tokio::spawn(async move {
        for number in 0.. {
            // Closed once the stream has ended: what is sent then may wait in a buffer that nobody empties.
            let Ok(permit) = permits.acquire().await else { break };
            permit.forget();
            let action = Action::SendMessage(message(&room, &format!("watch {number}")));
            if sender.send(v1::ChatRequest { action: Some(action) }).await.is_err() {
                break;
            }
        }
    });
    let (flows, flowing) = watch::channel(false);
    let read = async {
        let mut results = 0;
        while let Some(kind) = stream.next().await {
            if matches!(kind, Kind::SendResult(_)) {
                window.add_permits(1);
                results += 1;
                flows.send_replace(results > 50);
            }
        }
        window.close();
    };
    let ban = async {
        flowing.clone().wait_for(|flows| *flows).await.expect("the reader lives");
        operator.ban("bob", "sold watches").await
    };
    let (answer, ()) = tokio::join!(ban, read);
    let index = answer.expect("it is done").receipt.expect("the answer has a receipt").index;
    let status = stream.status.clone().expect("the stream has ended");
    assert_eq!(Refusal::from(status).reason, ErrorReason::Banned);
    let last = stream.seen.last();
    assert!(
        matches!(last, Some(Kind::Ended(ended)) if ended.reason() == EndReason::Banned),
        "{last:?}"
    );
    crate::support::within("the end of the flood", pour)
        .await
        .expect("it does not fail");
    for kind in &stream.seen {
        if let Kind::SendResult(result) = kind {
            match crate::support::stream::outcome(result) {
                Ok(receipt) => assert!(receipt.index < index, "accepted as row {} after {index}", receipt.index),
                Err(refusal) => assert!(
                    matches!(
                        refusal.reason,
                        ErrorReason::SessionEnded | ErrorReason::Banned | ErrorReason::TooManyUnanswered
                    ),
                    "{refusal:?}"
                ),
            }
        }
    }
    assert!(server.terminate().await.success());
    let heads = crate::journal::heads(&server);
    let late = heads.iter().filter(|head| head.actor_id == bob.id && head.index > index);
    let kinds: Vec<_> = late.map(v1::EventHead::kind).collect();
    assert_eq!(kinds, [], "rows of the banned user after the ban");
}
