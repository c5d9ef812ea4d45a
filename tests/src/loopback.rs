//! Listeners of loopback: ports for them, and what they answer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A port that was free a moment ago.
///
/// # Panics
/// When there is none.
#[expect(clippy::expect_used, reason = "only tests call this")]
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// What is answered to a GET, whole: status line, headers and body.
///
/// # Errors
/// Where nobody listens yet, or nothing comes for five seconds.
pub fn answer(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // Of HTTP 1.0, so that no answer comes in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: it\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
