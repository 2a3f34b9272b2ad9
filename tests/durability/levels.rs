//! `storage.durability`: what each level promises.

use std::fs;

use nexum_harness::{Broker, Publish, Subscribe, TemporaryDirectory, Version};

use crate::scene::{absent, builder, come_back, numbered, publish_all, resume, settle, take_all};

/// A session with five messages at each QoS that waits, and a retained message.
fn script(broker: &Broker) {
    for version in Version::ALL {
        absent(broker, version, &format!("absent {version:?}"), "queue", 2);
    }
    publish_all(
        broker,
        (0..10).map(|number| {
            let qos = if number < 5 { 1 } else { 2 };
            Publish::new("queue", &number.to_string()).qos(qos, number + 1)
        }),
    );
    publish_all(broker, [Publish::new("shown", "now").retain().qos1(1)]);
}

#[track_caller]
fn expect_everything(broker: &Broker) {
    for version in Version::ALL {
        let mut subscriber = come_back(broker, resume(version, &format!("absent {version:?}")));
        assert_eq!(take_all(&mut subscriber), numbered(0..10), "{version:?}");
        subscriber.subscribe("shown", 0);
        assert_eq!(subscriber.expect_message().payload, b"now");
        subscriber.expect_ping();
    }
}

#[test]
fn os_and_fsync_survive_kill_9() {
    for durability in ["os", "fsync"] {
        let mut broker = builder().set("storage.durability", durability).start();
        script(&broker);
        broker.kill_and_restart();
        expect_everything(&broker);
        settle(&broker);
        broker.kill_and_restart();
        for version in Version::ALL {
            let client = resume(version, &format!("absent {version:?}"));
            assert!(take_all(&mut come_back(&broker, client)).is_empty());
        }
    }
}

#[test]
fn os_and_fsync_survive_a_clean_end() {
    for durability in ["os", "fsync"] {
        let directory = TemporaryDirectory::new();
        let configured = builder()
            .set("storage.durability", durability)
            .data_directory(directory.path());
        let mut broker = configured.clone().start();
        script(&broker);
        assert!(broker.terminate().success());
        expect_everything(&configured.start());
    }
}

/// Levels may change from start to start, as the configuration does.
#[test]
fn one_level_reads_what_another_has_written() {
    let directory = TemporaryDirectory::new();
    let configured = |durability: &str| {
        builder()
            .set("storage.durability", durability)
            .data_directory(directory.path())
    };
    let mut broker = configured("os").start();
    script(&broker);
    broker.kill();
    expect_everything(&configured("fsync").start());
}

#[test]
fn memory_keeps_sessions_until_its_end_and_touches_no_file() {
    let directory = TemporaryDirectory::new();
    let data = directory.path().join("data");
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(&data).expect("it is ours");
        }
        let mut broker = builder()
            .set("storage.durability", "memory")
            .data_directory(&data)
            .start();
        script(&broker);
        expect_everything(&broker);
        script(&broker);
        if is_there {
            let entries = fs::read_dir(&data).expect("it is there").count();
            assert_eq!(entries, 0, "no file is touched");
        } else {
            assert!(!data.exists(), "no directory is made");
        }
        broker.kill_and_restart();
        for version in Version::ALL {
            let mut client = broker.connect(resume(version, &format!("absent {version:?}")));
            assert!(!client.connack().session_present, "{version:?}");
            client.send(Subscribe::new(9).filter("shown", 1));
            client.expect_suback(9, &[1]);
            client.expect_ping();
        }
        assert!(broker.terminate().success());
    }
}
