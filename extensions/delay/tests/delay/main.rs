//! `$delayed` as a whole: alone with a driver, and with a host that answers when a test says so.

mod bench;
mod cancels;
mod duplicates;
mod messages;
mod model;
mod publications;
mod restarts;

use std::time::Duration;

use nexum_delay::{Delay, Settings};
use nexum_extension_api::Options;
use nexum_extension_api::driver::Driver;

fn driver() -> Driver<Delay> {
    Driver::new(|| Delay::new(Settings::default()))
}

fn after(seconds: u64) -> Options {
    Options {
        delay: Some(Duration::from_secs(seconds)),
        ..Options::default()
    }
}

fn after_with_id(seconds: u64, id: &str) -> Options {
    Options {
        id: Some(Box::from(id)),
        ..after(seconds)
    }
}

/// Topics and payloads of what was published since the last time.
fn published(driver: &mut Driver<Delay>) -> Vec<(String, String)> {
    let published = driver.published();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let published = published.iter();
    published
        .map(|it| (it.topic.to_string(), text(it.message.payload())))
        .collect()
}

fn payloads(driver: &mut Driver<Delay>) -> Vec<String> {
    let published = published(driver).into_iter();
    published.map(|(_, payload)| payload).collect()
}

fn gauges(delay: &Delay) -> (f64, f64) {
    use nexum_extension_api::Extension;
    let gauges = delay.gauges();
    let value = |name| {
        let gauge = gauges.iter().find(|gauge| gauge.name == name);
        gauge.expect("a gauge of this name").value
    };
    (
        value("nexum_delayed_messages"),
        value("nexum_delayed_bytes"),
    )
}
