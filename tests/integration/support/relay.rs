//! A way to a server that can be frozen, so that the server has a client that takes nothing any more and says nothing either.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use super::{Server, within};

/// A way to a server. Ends when dropped.
pub(crate) struct Relay {
    address: String,
    frozen: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Opens a way to a server.
    pub(crate) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let (frozen, state) = watch::channel(false);
        let target = server.address().to_owned();
        let task = tokio::spawn(async move {
            let mut ways = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.expect("the server accepts");
                ways.spawn(pass(near, far, state.clone()));
            }
        });
        Self { address, frozen, task }
    }

    /// A connection over it.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("the address is one");
        within("a connection", endpoint.connect()).await.expect("the server accepts")
    }

    /// Lets nothing pass any more; connections stay open.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes on in both directions, until it is frozen; holds both ends until it is dropped.
async fn pass(mut near: TcpStream, mut far: TcpStream, mut frozen: watch::Receiver<bool>) {
    tokio::select! {
        _ = frozen.wait_for(|frozen| *frozen) => {}
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
    }
    std::future::pending::<()>().await;
}
