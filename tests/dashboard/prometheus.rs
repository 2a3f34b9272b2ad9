//! A Prometheus of our own: scrapes one target each second, answers on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nexum_harness::TemporaryDirectory;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running Prometheus. Dropping it ends the process.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    /// Its configuration and its data.
    _directory: TemporaryDirectory,
}

impl Prometheus {
    /// Starts one that scrapes `target` and waits until it answers.
    #[track_caller]
    pub(crate) fn start(target: SocketAddr) -> Prometheus {
        let directory = TemporaryDirectory::new();
        let configuration = directory.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: nexum\n    \
             static_configs:\n      - targets: ['{target}']\n"
        );
        std::fs::write(&configuration, text).expect("the directory is ours");
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start prometheus ({error}); tests/install-tools installs it")
            });
        let stderr = child.stderr.take().expect("it is piped");
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody listens any more once it has started; its log must still be read.
                let _ = lines.send(line);
            }
        });
        let mut said = String::new();
        let (mut address, mut ready) = (None, false);
        while address.is_none() || !ready {
            let line = log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("prometheus did not start:\n{said}"));
            // level=info component=web msg="Listening on" address=127.0.0.1:41783
            if line.contains("Listening on") {
                let (_, shown) = line.rsplit_once("address=").expect("it has an address");
                address = Some(shown.trim().parse().expect("it is an address"));
            }
            ready |= line.contains("ready to receive web requests");
            said.push_str(&line);
            said.push('\n');
        }
        Prometheus {
            child,
            address: address.expect("the loop ended with it"),
            _directory: directory,
        }
    }

    /// Asks for the present value of an expression.
    ///
    /// # Errors
    /// What was wrong with the answer, unless it is at least one series with a value that is a
    /// number.
    pub(crate) fn query(&self, expression: &str) -> Result<(), String> {
        let path = format!("/api/v1/query?query={}", percent_encoded(expression));
        let body = get(self.address, &path).map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        if answer["status"] != "success" {
            return Err(body);
        }
        let series = answer["data"]["result"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let is_number = |sample: &Value| {
            let value = sample["value"][1].as_str()?.parse::<f64>().ok()?;
            value.is_finite().then_some(())
        };
        match series.iter().find_map(is_number) {
            Some(()) => Ok(()),
            None if series.is_empty() => Err("no series".to_owned()),
            None => Err(format!("no number: {body}")),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // An error says that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of what is at this path. HTTP 1.0, so that it comes whole and the connection ends.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) => Ok(body.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, answer)),
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
