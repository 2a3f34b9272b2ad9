//! What the program does beside serving: it heeds signals and publishes the broker's own report.
//!
//! SIGTERM and SIGINT end the broker in good order, however often they come: supervisors send them to
//! the process and to its group at once. SIGHUP reloads certificates and users.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nexum_types::QoS;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::VERSION;
use crate::run::Broker;
use crate::sys_topics;

/// Signals are caught from its making on, and heeded once it is started.
pub(crate) struct Steward {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// `None` if no report is wanted.
    report: Option<Interval>,
}

impl Steward {
    /// # Errors
    /// If signals cannot be caught.
    pub(crate) fn new(report_seconds: u32) -> io::Result<Steward> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let context = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hang_up = signal(SignalKind::hangup())?;
        let report = (report_seconds > 0).then(|| {
            let mut report = interval(Duration::from_secs(u64::from(report_seconds)));
            report.set_missed_tick_behavior(MissedTickBehavior::Delay);
            report
        });
        drop(context);
        Ok(Steward {
            runtime,
            terminate,
            interrupt,
            hang_up,
            report,
        })
    }

    /// Goes to work on a thread of its own, which ends with the process.
    ///
    /// # Errors
    /// If there is no thread left.
    pub(crate) fn start(self, broker: Arc<Broker>) -> io::Result<()> {
        let thread = thread::Builder::new().name("nexum-steward".to_owned());
        thread.spawn(move || self.work(&broker)).map(drop)
    }

    fn work(self, broker: &Broker) {
        let Steward {
            runtime,
            mut terminate,
            mut interrupt,
            mut hang_up,
            mut report,
        } = self;
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hang_up.recv() => {
                        tracing::info!("reloading on SIGHUP");
                        // It logs what it could not read, and keeps what was there.
                        let _ = broker.handle.reload();
                        continue;
                    }
                    () = tick(&mut report) => {
                        publish_report(broker);
                        continue;
                    }
                };
                tracing::info!("ending on {name}");
                broker.shut_down();
                // Signals stay caught, and nobody heeds them any more.
                return;
            }
        });
    }
}

/// The next time that a report is due; never if none is wanted.
async fn tick(report: &mut Option<Interval>) {
    match report {
        Some(report) => {
            report.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn publish_report(broker: &Broker) {
    for (topic, value) in sys_topics::report(VERSION, &broker.handle.snapshot()) {
        broker
            .handle
            .publish(topic.to_owned(), value.into_bytes(), QoS::AtMostOnce, true);
    }
}
