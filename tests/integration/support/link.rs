//! A way to a server that has a speed, counts what passes, and breaks where it is told to, the way a link does: without a word to either end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::Server;

/// Bytes that are passed on at a time.
const PIECE: usize = 16 * 1024;
/// Bytes a second in each direction. Slower than what is at its ends: what is on its way waits in front of the link, as it does in front of any.
const SPEED: u64 = 80_000_000;

/// In which direction bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// What happens once so many bytes have passed.
struct Mark {
    way: Way,
    at: u64,
    breaks: bool,
    passed: oneshot::Sender<()>,
}

#[derive(Default)]
struct State {
    target: String,
    up: u64,
    down: u64,
    mark: Option<Mark>,
}

struct Shared {
    state: Mutex<State>,
    /// How often the link has broken: who sees it change is cut off.
    broken: watch::Sender<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that came, before they go on.
    fn count(&self, way: Way, bytes: usize) {
        let mut state = self.state();
        let count = match way {
            Way::Up => &mut state.up,
            Way::Down => &mut state.down,
        };
        *count += bytes as u64;
        let now = *count;
        let Some(mark) = state.mark.take_if(|mark| mark.way == way && mark.at <= now) else {
            return;
        };
        if mark.breaks {
            self.broken.send_modify(|times| *times += 1);
        }
        // Nobody may wait for it any more.
        let _ = mark.passed.send(());
    }
}

/// A way to a server. Ends when dropped.
pub(crate) struct Link {
    url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    /// Opens a way to a server.
    pub(crate) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            broken: watch::Sender::new(0),
        });
        let link = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut ways = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let target = link.state().target.clone();
                // Nobody may be there: then the link is as good as broken.
                if let Ok(far) = TcpStream::connect(target).await {
                    ways.spawn(pass(near, far, Arc::clone(&link)));
                }
                while ways.try_join_next().is_some() {}
            }
        });
        let link = Self { url, shared, task };
        link.lead_to(server);
        link
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Leads new connections to where a server is now.
    pub(crate) fn lead_to(&self, server: &Server) {
        server.address().clone_into(&mut self.shared.state().target);
    }

    /// Bytes that have passed.
    pub(crate) fn passed(&self, way: Way) -> u64 {
        let state = self.shared.state();
        match way {
            Way::Up => state.up,
            Way::Down => state.down,
        }
    }

    /// Tells when `bytes` more have passed; if it `breaks` there, these get no further, and every connection ends as if a cable were pulled.
    pub(crate) fn mark(&self, way: Way, bytes: u64, breaks: bool) -> oneshot::Receiver<()> {
        let at = self.passed(way) + bytes;
        let (passed, told) = oneshot::channel();
        self.shared.state().mark = Some(Mark {
            way,
            at,
            breaks,
            passed,
        });
        told
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes on in both directions, until one end closes or the link breaks.
async fn pass(near: TcpStream, far: TcpStream, link: Arc<Shared>) {
    let mut broken = link.broken.subscribe();
    for end in [&near, &far] {
        end.set_nodelay(true).expect("a socket can be told so");
        // Whatever waits in it is lost when the link breaks, and the other end is told nothing but that.
        end.set_zero_linger().expect("a socket can be told so");
    }
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::select! {
        _ = broken.changed() => {}
        () = one_way(from_near, to_far, Way::Up, &link) => {}
        () = one_way(from_far, to_near, Way::Down, &link) => {}
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, link: &Shared) {
    let mut piece = vec![0; PIECE];
    let mut free = Instant::now();
    loop {
        tokio::time::sleep_until(free).await;
        let count = match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let taken = Duration::from_nanos(count as u64 * 1_000_000_000 / SPEED);
        // A timer's millisecond too much is made good by the next pieces.
        free = free.max(Instant::now() - Duration::from_millis(2)) + taken;
        let before = *link.broken.borrow();
        link.count(way, count);
        if *link.broken.borrow() != before || to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
