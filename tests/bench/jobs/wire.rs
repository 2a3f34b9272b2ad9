//! What all protocols need: a socket, a buffer of what came, and one of what is to be sent.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    /// How much of it was looked at.
    at: usize,
    pub(crate) out: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: &str) -> Result<Wire, String> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| format!("{address}: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        Ok(Wire {
            stream,
            received: Vec::new(),
            at: 0,
            out: Vec::new(),
        })
    }

    pub(crate) async fn send(&mut self) -> Result<(), String> {
        if !self.out.is_empty() {
            let sent = self.stream.write_all(&self.out).await;
            sent.map_err(|error| error.to_string())?;
            self.out.clear();
        }
        Ok(())
    }

    /// What came and was not taken yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.received[self.at..]
    }

    pub(crate) fn take(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Waits for more.
    pub(crate) async fn receive(&mut self) -> Result<(), String> {
        self.received.drain(..self.at);
        self.at = 0;
        let read = self.stream.read_buf(&mut self.received).await;
        match read.map_err(|error| error.to_string())? {
            0 => Err("the server closed a connection".to_owned()),
            _ => Ok(()),
        }
    }

    /// Takes a line, without its end.
    pub(crate) fn line(&self) -> Option<&str> {
        let pending = self.pending();
        let end = pending.windows(2).position(|it| it == b"\r\n")?;
        std::str::from_utf8(&pending[..end]).ok()
    }

    /// A line, waited for.
    pub(crate) async fn next_line(&mut self) -> Result<String, String> {
        loop {
            if let Some(line) = self.line() {
                let line = line.to_owned();
                self.take(line.len() + 2);
                return Ok(line);
            }
            self.receive().await?;
        }
    }
}

/// Runs a connection to its end; an error ends the program, since a measurement that goes on with
/// fewer connections is none.
pub(crate) fn spawn(task: impl Future<Output = Result<(), String>> + 'static) {
    tokio::task::spawn_local(async {
        if let Err(error) = task.await {
            eprintln!("jobs: {error}");
            std::process::exit(2);
        }
    });
}
