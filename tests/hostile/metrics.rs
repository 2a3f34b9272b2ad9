//! What the broker counts, by its own `/metrics`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nexum_harness::Broker;

/// Gauges are copied out a few times a second; more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Metrics {
    pub(crate) address: SocketAddr,
}

impl Metrics {
    /// Where the `ready` line says that they are.
    #[track_caller]
    pub(crate) fn of(broker: &Broker) -> Metrics {
        let log = broker.log();
        let (_, rest) = log.split_once("http://").expect("the administration is on");
        let address = rest.split([' ', '\n', '"', '/']).next();
        let address = address.and_then(|address| address.parse().ok());
        Metrics {
            address: address.expect("it is an address"),
        }
    }

    /// The value of one series, written as it stands on the page.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let page = self.page();
        page.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {series} in {page}"))
    }

    /// Waits until a series has this value.
    #[track_caller]
    pub(crate) fn wait_for(&self, series: &str, value: f64) {
        self.wait_until(series, |now| (now - value).abs() < 0.5);
    }

    /// Waits until a series has a value that is right. There is no event to wait for.
    #[track_caller]
    pub(crate) fn wait_until(&self, series: &str, is_right: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.value(series);
            if is_right(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{series} stays at {value}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn page(&self) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the administration listens");
        let mut page = String::new();
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n"))
            .and_then(|()| stream.read_to_string(&mut page))
            .unwrap_or_else(|error| panic!("no metrics: {error}"));
        assert!(
            page.starts_with("HTTP/1.0 200 ") || page.starts_with("HTTP/1.1 200 "),
            "{page}"
        );
        page
    }
}
