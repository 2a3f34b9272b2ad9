//! `mosquitto_sub` and `mosquitto_pub`: the commands a user types first.
//!
//! A session is a running `mosquitto_sub`; each message it publishes is a `mosquitto_pub` with a
//! connection of its own. The debug output of the former says when a subscription is granted.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::Place;
use crate::client::{Client, Failure, Message, Open, PATIENCE, Session, Transport, Version};

/// Starts the line of a message: topic, QoS, RETAIN, Response Topic, Correlation Data, User
/// Properties, payload.
const MESSAGE: &str = "message\t";
const FORMAT: &str = "message\\t%t\\t%q\\t%r\\t%R\\t%D\\t%P\\t%p";

pub(crate) struct Commands<'a> {
    place: &'a Place,
    version: Version,
}

impl<'a> Commands<'a> {
    pub(crate) fn new(place: &'a Place, version: Version) -> Commands<'a> {
        Commands { place, version }
    }

    /// The arguments that say where and how to connect.
    fn connection(&self, transport: Transport) -> Vec<String> {
        let certificates = &self.place.certificates;
        let (address, show_certificate) = match transport {
            Transport::Plain => (self.place.tcp, false),
            Transport::Tls => (self.place.tls, false),
            Transport::MutualTlsWithoutCertificate => (self.place.mutual_tls, false),
            Transport::MutualTls => (self.place.mutual_tls, true),
        };
        let version = match self.version {
            Version::V311 => "mqttv311",
            Version::V5 => "mqttv5",
        };
        let mut arguments = ["-V", version, "-h", "localhost", "-p"]
            .map(str::to_owned)
            .to_vec();
        arguments.push(address.port().to_string());
        let mut file = |option: &str, path: &std::path::Path| {
            arguments.push(option.to_owned());
            arguments.push(path.display().to_string());
        };
        if transport != Transport::Plain {
            file("--cafile", &certificates.authority);
        }
        if show_certificate {
            file("--cert", &certificates.client);
            file("--key", &certificates.client_key);
        }
        arguments
    }
}

impl Client for Commands<'_> {
    fn name(&self) -> &'static str {
        "mosquitto"
    }

    fn version(&self) -> Version {
        self.version
    }

    fn open(&self, open: &Open) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(CommandSession {
            connection: self.connection(open.transport),
            open: open.clone(),
            subscriber: None,
            last_words: Message::default(),
        }))
    }
}

struct CommandSession {
    connection: Vec<String>,
    open: Open,
    subscriber: Option<Subscriber>,
    /// A message to itself.
    last_words: Message,
}

impl CommandSession {
    fn publisher(&self, topic: &str, qos: u8) -> Command {
        let mut command = Command::new("mosquitto_pub");
        command
            .args(&self.connection)
            .args(["-i", &format!("{}-pub", self.open.client_id)])
            .args(["-t", topic, "-q", &qos.to_string()]);
        command
    }
}

impl Session for CommandSession {
    fn subscribe(&mut self, filters: &[&str], qos: u8) -> Result<(), Failure> {
        // Into a pipe it would keep its debug output to itself until the buffer is full.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "mosquitto_sub"])
            .args(&self.connection)
            .args(["-d", "-F", FORMAT, "-i", &self.open.client_id])
            .args(["-q", &qos.to_string()]);
        for filter in filters {
            command.args(["-t", filter]);
        }
        if !self.open.clean {
            command.arg("-c");
        }
        if let Some(will) = &self.open.will {
            command
                .args(["-C", "1"])
                .args(["--will-topic", &will.topic, "--will-payload", &will.payload])
                .args(["--will-qos", &will.qos.to_string()]);
        }
        let mut subscriber = Subscriber::start(command)?;
        subscriber.await_grant()?;
        self.subscriber = Some(subscriber);
        self.last_words = Message::new(filters[0], "leave", 0);
        Ok(())
    }

    fn publish(&mut self, message: &Message) -> Result<(), Failure> {
        let mut command = self.publisher(&message.topic, message.qos);
        if message.payload.is_empty() {
            command.arg("-n");
        } else {
            command.args(["-m", &message.payload]);
        }
        if message.retain {
            command.arg("-r");
        }
        for (name, value) in &message.user_properties {
            command.args(["-D", "publish", "user-property", name, value]);
        }
        if let Some(topic) = &message.response_topic {
            command.args(["-D", "publish", "response-topic", topic]);
        }
        if let Some(data) = &message.correlation_data {
            command.args(["-D", "publish", "correlation-data", data]);
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("mosquitto_pub: {error}"))?;
        succeeded("mosquitto_pub", &output)
    }

    /// One command with a line for each: messages of several commands come over several
    /// connections, and nothing orders those.
    fn publish_all(&mut self, topic: &str, payloads: &[&str], qos: u8) -> Result<(), Failure> {
        let mut process = self
            .publisher(topic, qos)
            .arg("-l")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("mosquitto_pub: {error}"))?;
        let mut input = process.stdin.take().expect("it is piped");
        input.write_all((payloads.join("\n") + "\n").as_bytes())?;
        drop(input);
        succeeded("mosquitto_pub", &process.wait_with_output()?)
    }

    fn next(&mut self, patience: Duration) -> Result<Option<Message>, Failure> {
        let subscriber = self.subscriber.as_mut().ok_or("it has not subscribed")?;
        let deadline = Instant::now() + patience;
        while let Some(line) = subscriber.line(deadline) {
            if let Some(message) = parse(&line) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn disconnect(mut self: Box<Self>) -> Result<(), Failure> {
        let Some(mut subscriber) = self.subscriber.take() else {
            return Ok(());
        };
        if self.open.will.is_some() {
            // Its answer to a signal would be DISCONNECT with Will Message. After its message, to
            // which -C limits it, it says a normal one.
            self.publish(&self.last_words.clone())?;
        } else {
            let output = Command::new("kill")
                .args(["-TERM", &subscriber.process.id().to_string()])
                .output()
                .map_err(|error| format!("kill: {error}"))?;
            succeeded("kill", &output)?;
        }
        let status = subscriber.process.wait()?;
        if !status.success() {
            return Err(subscriber.failure(&status.to_string()));
        }
        Ok(())
    }

    fn abort(mut self: Box<Self>) -> Result<(), Failure> {
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.process.kill()?;
            subscriber.process.wait()?;
        }
        Ok(())
    }
}

/// A running `mosquitto_sub`.
struct Subscriber {
    process: Child,
    lines: Receiver<String>,
    /// Lines that were read before anybody asked for messages.
    early: Vec<String>,
}

impl Subscriber {
    fn start(mut command: Command) -> Result<Subscriber, Failure> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("mosquitto_sub: {error}"))?;
        let (sender, lines) = mpsc::channel();
        follow(process.stdout.take().expect("it is piped"), sender.clone());
        follow(process.stderr.take().expect("it is piped"), sender);
        Ok(Subscriber {
            process,
            lines,
            early: Vec::new(),
        })
    }

    /// Waits until the broker has granted the subscriptions.
    fn await_grant(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut early = Vec::new();
        while let Some(line) = self.line(deadline) {
            let granted = line.starts_with("Subscribed");
            // Messages of a session that was there before come ahead of the SUBACK.
            early.push(line);
            if granted {
                early.reverse();
                self.early = early;
                return Ok(());
            }
        }
        self.early = early;
        Err(self.failure("no subscription was granted"))
    }

    /// The next line of its output, or `None` at the deadline or its end.
    fn line(&mut self, deadline: Instant) -> Option<String> {
        if let Some(line) = self.early.pop() {
            return Some(line);
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(patience).ok()
    }

    fn failure(&mut self, what: &str) -> Failure {
        let mut said = std::mem::take(&mut self.early);
        said.extend(self.lines.try_iter());
        Failure(format!("mosquitto_sub: {what}; it said {said:?}"))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // An error says that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn follow(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
}

fn succeeded(name: &str, output: &Output) -> Result<(), Failure> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{name}: {}: {said}", output.status)))
}

/// Reads a line of [`FORMAT`]; other lines are debug output. No field of a scenario contains a tab,
/// and no value of a User Property a space.
fn parse(line: &str) -> Option<Message> {
    let mut fields = line.strip_prefix(MESSAGE)?.splitn(7, '\t');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    Some(Message {
        topic: field(),
        qos: field().parse().ok()?,
        retain: field() == "1",
        response_topic: Some(field()).filter(|topic| !topic.is_empty()),
        correlation_data: Some(field()).filter(|data| !data.is_empty()),
        user_properties: field()
            .split_whitespace()
            .filter_map(|property| property.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        payload: field(),
    })
}
