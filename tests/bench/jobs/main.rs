//! Pushes jobs, takes them and settles them, as fast as a window of unanswered pushes and of
//! unsettled deliveries lets it, and prints one line of JSON:
//!
//! ```sh
//! cargo run --release -p nexum-harness --example jobs -- --server nexum --address 127.0.0.1:1883 \
//!     --pid 4711 --producers 64 --consumers 64 --window 100
//! ```
//!
//! A job is counted when its settlement was sent. Each carries its number, so that what is lost or
//! comes twice is seen: producers stop, consumers go on until all have come.

mod beanstalk;
mod mqtt;
mod nats;
mod redis;
mod tally;
mod wire;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;

use crate::tally::Tally;

/// What is measured, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) server: String,
    pub(crate) address: String,
    /// The server's process, for its use of the processors.
    pub(crate) process: Option<u32>,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    /// Pushes without an answer, for each producer; deliveries without a settlement, for each
    /// consumer.
    pub(crate) window: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) warm_up: Duration,
    pub(crate) lasts: Duration,
}

impl Load {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Load, String> {
        let mut load = Load {
            server: "nexum".to_owned(),
            address: "127.0.0.1:1883".to_owned(),
            process: None,
            producers: 1,
            consumers: 1,
            window: 100,
            payload_bytes: 256,
            warm_up: Duration::from_secs(2),
            lasts: Duration::from_secs(5),
        };
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} has no value"))?;
            let number = || {
                let number = value.parse::<usize>();
                number.map_err(|error| format!("{name} {value}: {error}"))
            };
            match name.as_str() {
                "--server" => load.server = value,
                "--address" => load.address = value,
                "--pid" => load.process = Some(number()? as u32),
                "--producers" => load.producers = number()?,
                "--consumers" => load.consumers = number()?,
                "--window" => load.window = number()?.max(1),
                "--payload" => load.payload_bytes = number()?.max(24),
                "--secs" => load.lasts = Duration::from_secs(number()? as u64),
                _ => return Err(format!("there is no {name}")),
            }
        }
        Ok(load)
    }
}

fn main() -> ExitCode {
    let load = match Load::parse(std::env::args().skip(1)) {
        Ok(load) => load,
        Err(error) => {
            eprintln!("jobs: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = LocalSet::new().block_on(&runtime, measure(Rc::new(load)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("jobs: {error}");
            ExitCode::from(2)
        }
    }
}

/// False if a job was lost or came twice.
async fn measure(load: Rc<Load>) -> Result<bool, String> {
    let tally = Rc::new(Tally::new(&load));
    match load.server.as_str() {
        "nexum" => mqtt::start(&load, &tally).await?,
        "redis" => redis::start(&load, &tally).await?,
        "beanstalkd" => beanstalk::start(&load, &tally).await?,
        "nats" => nats::start(&load, &tally).await?,
        other => return Err(format!("no server is called {other}")),
    }
    tokio::time::sleep(load.warm_up).await;
    let begin = tally.begin(load.process);
    tokio::time::sleep(load.lasts).await;
    let line = tally.end(&begin, &load);
    tally.stop_pushing();
    let whole = tally.wait_for_all(Duration::from_secs(20)).await;
    println_json(&line, &tally);
    Ok(whole)
}

#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn println_json(line: &str, tally: &Tally) {
    println!("{{{line},{}}}", tally.faults());
}
