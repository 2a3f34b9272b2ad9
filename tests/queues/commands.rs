//! `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`, which speak MQTT 3.1.1 here: topic, payload
//! and QoS are all they have. `tests/install-tools` provides them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::scene::{PATIENCE, Scene};

/// Starts the line of a message: topic, QoS, RETAIN, payload.
const MESSAGE: &str = "message\t";
const FORMAT: &str = "message\\t%t\\t%q\\t%r\\t%p";

/// A message as `mosquitto_sub` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) payload: String,
}

impl Heard {
    fn parse(line: &str) -> Heard {
        let mut fields = line.splitn(4, '\t');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        Heard {
            topic: field(),
            qos: field().parse().expect("it prints a number"),
            retain: field() == "1",
            payload: field(),
        }
    }
}

/// A running `mosquitto_sub`.
pub(crate) struct Listener {
    process: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

fn command(program: &str, scene: &Scene) -> Command {
    // Into a pipe they would keep what they say to themselves until the buffer is full.
    let mut command = Command::new("stdbuf");
    command
        .args(["-oL", program, "-V", "mqttv311", "-h", "127.0.0.1"])
        .args(["-p", &scene.port().to_string(), "-q", "1"])
        .stdin(Stdio::null());
    command
}

#[track_caller]
fn run(program: &str, mut command: Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("stdbuf: {error}"));
    assert_ne!(
        output.status.code(),
        Some(127),
        "{program} is missing: run tests/install-tools"
    );
    output
}

/// `mosquitto_pub` at QoS 1: it ends well when its message is acknowledged.
#[track_caller]
pub(crate) fn publish(scene: &Scene, topic: &str, payload: &str) {
    publish_with(scene, topic, payload, &[]);
}

/// The same with more arguments.
#[track_caller]
pub(crate) fn publish_with(scene: &Scene, topic: &str, payload: &str, arguments: &[&str]) {
    let mut command = command("mosquitto_pub", scene);
    command.args(["-t", topic]).args(arguments);
    if payload.is_empty() {
        command.arg("-n");
    } else {
        command.args(["-m", payload]);
    }
    let output = run("mosquitto_pub", command);
    assert!(output.status.success(), "mosquitto_pub {topic}: {output:?}");
}

/// `mosquitto_rr`: subscribes to a topic, publishes, and prints the first message that comes back.
/// Returns its payload.
#[track_caller]
fn request(scene: &Scene, topic: &str, answer: &str, payload: &str) -> Value {
    let mut command = command("mosquitto_rr", scene);
    command
        .args(["-t", topic, "-e", answer, "-F", FORMAT])
        .args(["-W", &PATIENCE.as_secs().to_string()]);
    if payload.is_empty() {
        command.arg("-n");
    } else {
        command.args(["-m", payload]);
    }
    let output = run("mosquitto_rr", command);
    assert!(output.status.success(), "mosquitto_rr {topic}: {output:?}");
    let said = String::from_utf8(output.stdout).expect("it prints UTF-8");
    let line = said.trim_end_matches('\n').strip_prefix(MESSAGE);
    let heard = Heard::parse(line.unwrap_or_else(|| panic!("mosquitto_rr printed {said:?}")));
    assert_eq!(heard.topic, answer);
    match heard.payload.as_str() {
        "" => Value::Null,
        payload => serde_json::from_str(payload).expect("it is JSON"),
    }
}

/// `$req/t1/<target>`, which has to succeed.
#[track_caller]
pub(crate) fn ask(scene: &Scene, target: &str, payload: &str) -> Value {
    request(scene, &format!("$req/t1/{target}"), "$reply/t1/ok", payload)
}

/// `$req/t1/<target>`, which has to fail.
#[track_caller]
pub(crate) fn ask_in_vain(scene: &Scene, target: &str, payload: &str) -> Value {
    request(
        scene,
        &format!("$req/t1/{target}"),
        "$reply/t1/err",
        payload,
    )
}

/// Publishes what is refused. Returns the notice.
#[track_caller]
pub(crate) fn notice(scene: &Scene, topic: &str, payload: &str) -> Value {
    request(scene, topic, "$reply/-/err", payload)
}

impl Listener {
    /// Starts `mosquitto_sub` on a filter, and waits until it is granted.
    #[track_caller]
    pub(crate) fn start(scene: &Scene, filter: &str) -> Listener {
        let mut listener = Listener::spawn(scene, filter, &[]);
        let granted = listener.wait_for("Subscribed");
        assert!(granted.ends_with(": 1"), "{filter}: {granted}");
        listener
    }

    /// `mosquitto_sub` is told that it may not.
    #[track_caller]
    pub(crate) fn is_refused(scene: &Scene, filter: &str, arguments: &[&str]) {
        let mut listener = Listener::spawn(scene, filter, arguments);
        let answer = listener.wait_for("Subscribed");
        assert!(answer.ends_with(": 128"), "{filter}: {answer}");
    }

    #[track_caller]
    fn spawn(scene: &Scene, filter: &str, arguments: &[&str]) -> Listener {
        let mut command = command("mosquitto_sub", scene);
        command
            .args(["-d", "-F", FORMAT, "-t", filter])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("stdbuf: {error}"));
        let (sender, lines) = mpsc::channel();
        follow(process.stdout.take().expect("it is piped"), sender.clone());
        follow(process.stderr.take().expect("it is piped"), sender);
        Listener {
            process,
            lines,
            said: Vec::new(),
        }
    }

    /// The next line that begins so.
    #[track_caller]
    fn wait_for(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(beginning) => return line,
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!(
                        "mosquitto_sub says no '{beginning}', but {:?}; is it there? \
                         tests/install-tools installs it",
                        self.said
                    )
                }
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "mosquitto_sub ended without '{beginning}'; it said {:?}. If it is missing: run \
                     tests/install-tools",
                    self.said
                ),
            }
        }
    }

    /// The next message. It is acknowledged when it is printed.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Heard {
        let line = self.wait_for(MESSAGE);
        Heard::parse(&line[MESSAGE.len()..])
    }

    /// The next message, which has this topic and payload.
    #[track_caller]
    pub(crate) fn expect(&mut self, topic: &str, payload: &str) {
        let expected = Heard {
            topic: topic.to_owned(),
            qos: 1,
            retain: false,
            payload: payload.to_owned(),
        };
        assert_eq!(self.next(), expected);
    }
}

impl Drop for Listener {
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
