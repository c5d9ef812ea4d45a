//! A TCP way to an API server that can be shut in one direction: requests are held, answers and watches come through.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// The way. Closed for good when it goes out of scope.
pub struct Valve {
    address: SocketAddr,
    shut: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Valve {
    /// Listens on loopback and leads to `server`.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shut = watch::Sender::new(false);
        let state = shut.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, state.subscribe()));
            }
        });
        Ok(Self { address, shut, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds what clients send from now on.
    pub fn shut(&self) {
        self.shut.send_replace(true);
    }

    /// Lets everything through, that which was held first.
    pub fn open(&self) {
        self.shut.send_replace(false);
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a client sent is delivered even when the client is gone: so it is with what is on its way in a network.
async fn carry(client: TcpStream, server: SocketAddr, mut shut: watch::Receiver<bool>) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    let (sent, mut held) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if sent.send(buffer.get(..length).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(bytes) = held.recv().await {
            // The valve lives as long as the test.
            drop(shut.wait_for(|shut| !shut).await);
            if to_server.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The server answers what it got before the way is closed.
        let mut open = shut;
        drop(open.wait_for(|shut| !shut).await);
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    });
    tokio::io::copy(&mut from_server, &mut to_client).await?;
    Ok(())
}
