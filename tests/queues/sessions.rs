//! What becomes of unsettled deliveries when their consumer goes, and when it comes back.

use std::time::{Duration, Instant};

use nexum_harness::{
    Broker, Connect, Disconnect, Packet, Peer, Property, Received, Subscribe, Version, puback,
    reason,
};

use crate::scene::{
    PATIENCE, Scene, answer, attempt, builder, next, refused_filter, take, unsubscribe,
};

/// A consumer with a session that outlives its connection, and has taken `x`.
#[track_caller]
fn holder(scene: &mut Scene, version: Version) -> Peer {
    let connect = Connect::new(version, "holder").persistent();
    let mut holder = scene.broker.connect(connect);
    holder.subscribe("$queue/jobs", 1);
    scene.push("$queue/jobs", "x");
    next(&mut holder, "x");
    holder
}

#[track_caller]
fn come_back(broker: &Broker, version: Version) -> Peer {
    let connect = Connect::new(version, "holder").persistent().resume();
    let peer = broker.connect(connect);
    assert!(peer.connack().session_present);
    peer
}

#[test]
fn clean_session_gives_back_at_once() {
    for version in Version::ALL {
        for in_good_order in [true, false] {
            let mut scene = Scene::start();
            let mut gone = scene.worker(version, "gone", "$queue/jobs");
            scene.push_numbers(3);
            for number in 0..3 {
                next(&mut gone, &number.to_string());
            }
            let mut other = scene.worker(Version::V5, "other", "$queue/jobs");
            other.expect_ping();
            if in_good_order {
                gone.disconnect();
            } else {
                gone.cut();
            }
            for number in 0..3 {
                let delivery = next(&mut other, &number.to_string());
                assert_eq!(attempt(&delivery), 2);
                answer(&mut other, &delivery, reason::SUCCESS);
            }
            scene.wait_until_done();
        }
    }
}

#[test]
fn kept_session_gives_back_when_the_visibility_is_over() {
    for version in Version::ALL {
        let mut scene = Scene::with(r#"{"visibility": "1s"}"#);
        let begun = Instant::now();
        let holder = holder(&mut scene, version);
        let mut other = scene.worker(Version::V5, "other", "$queue/jobs");
        holder.cut();
        other.expect_ping();
        assert_eq!(scene.info()["leased"], 1);
        let delivery = next(&mut other, "x");
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(attempt(&delivery), 2);
    }
}

#[test]
fn session_that_ends_gives_back_at_once() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        holder(&mut scene, version).cut();
        let mut other = scene.worker(Version::V5, "other", "$queue/jobs");
        other.expect_ping();
        // A clean start ends the session of before.
        drop(scene.broker.client(version, "holder"));
        assert_eq!(attempt(&next(&mut other, "x")), 2);
    }
}

#[test]
fn session_that_expires_gives_back_at_once() {
    let mut scene = Scene::start();
    let mut holder = holder(&mut scene, Version::V5);
    let mut other = scene.worker(Version::V5, "other", "$queue/jobs");
    holder.send(Disconnect::normal().property(Property::session_expiry_interval(1)));
    other.expect_ping();
    assert_eq!(attempt(&next(&mut other, "x")), 2);
}

/// It is resent nothing: what it had comes as a new message when its time is over.
#[test]
fn session_that_comes_back_is_given_the_message_anew() {
    for version in Version::ALL {
        let mut scene = Scene::with(r#"{"visibility": "1s"}"#);
        let begun = Instant::now();
        holder(&mut scene, version).cut();
        let mut holder = come_back(&scene.broker, version);
        holder.expect_ping();
        scene.push("$queue/jobs", "y");
        assert_eq!(take(&mut holder, 1), ["y"], "it consumes as before");
        let again = next(&mut holder, "x");
        assert!(begun.elapsed() >= Duration::from_secs(1));
        if version == Version::V5 {
            assert_eq!(attempt(&again), 2);
        }
        answer(&mut holder, &again, reason::SUCCESS);
        scene.wait_until_done();
    }
}

/// PUBACK of an identifier of the lost connection settles nothing, and is no offence.
#[test]
fn puback_on_the_next_connection_is_ignored() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let connect = Connect::new(version, "holder").persistent();
        let mut holder = scene.broker.connect(connect.clone());
        holder.subscribe("$queue/jobs", 1);
        scene.push("$queue/jobs", "x");
        let delivery = next(&mut holder, "x");
        holder.cut();
        let mut holder = come_back(&scene.broker, version);
        holder.send(puback(delivery.packet_identifier));
        holder.expect_ping();
        assert_eq!(scene.info()["leased"], 1);
    }
}

#[test]
fn taken_over_session_goes_on_with_the_queue() {
    for version in Version::ALL {
        let mut scene = Scene::with(r#"{"visibility": "300ms"}"#);
        let _first = holder(&mut scene, version);
        let mut second = come_back(&scene.broker, version);
        assert_eq!(take(&mut second, 1), ["x"]);
        scene.push("$queue/jobs", "y");
        assert_eq!(take(&mut second, 1), ["y"]);
        scene.wait_until_done();
    }
}

/// With the broker the time of a delivery ends.
#[test]
fn consumer_comes_back_to_a_broker_that_died() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let _holder = holder(&mut scene, version);
        scene.push_numbers(3);
        scene.restart();
        let mut holder = come_back(&scene.broker, version);
        let mut got = take(&mut holder, 4);
        got.sort();
        assert_eq!(got, ["0", "1", "2", "x"]);
        scene.wait_until_done();
    }
}

/// UNSUBSCRIBE is of the session: it holds for the next connection, too.
#[test]
fn kept_session_that_unsubscribed_consumes_no_more() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let connect = Connect::new(version, "holder").persistent();
        let mut holder = scene.broker.connect(connect);
        holder.subscribe("$queue/jobs", 1);
        unsubscribe(&mut holder, "$queue/jobs");
        holder.disconnect();
        scene.restart();
        let mut holder = come_back(&scene.broker, version);
        scene.push("$queue/jobs", "x");
        holder.expect_ping();
        assert_eq!(scene.info()["ready"], 1);
    }
}

/// A queue that was deleted meanwhile is not there for the session any more; another of its name is
/// subscribed to anew.
#[test]
fn queue_that_is_deleted_ends_its_subscriptions() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let connect = Connect::new(version, "holder").persistent();
        let mut holder = scene.broker.connect(connect);
        holder.subscribe("$queue/jobs", 1);
        holder.disconnect();
        assert_eq!(scene.control("jobs", "delete", "").code, "ok");
        let mut holder = come_back(&scene.broker, version);
        holder.expect_ping();
        scene.create("jobs", "");
        scene.push("$queue/jobs", "x");
        holder.expect_ping();
        holder.subscribe("$queue/jobs", 1);
        next(&mut holder, "x");
    }
}

/// A consumer that is there while its queue is deleted and created again subscribes again.
#[test]
fn present_consumer_of_a_deleted_queue_subscribes_again() {
    for version in Version::ALL {
        let mut scene = Scene::start();
        let mut worker = scene.worker(version, "worker", "$queue/jobs");
        assert_eq!(scene.control("jobs", "delete", "").code, "ok");
        scene.create("jobs", "");
        scene.push("$queue/jobs", "x");
        worker.expect_ping();
        worker.subscribe("$queue/jobs", 1);
        assert_eq!(take(&mut worker, 1), ["x"]);
        scene.wait_until_done();
    }
}

/// The session is taken over while its SUBSCRIBE waits for the queue to be created: it holds or it
/// does not, and nothing is stuck at a subscription that is none.
#[test]
fn taken_over_before_suback() {
    for version in Version::ALL {
        let mut scene = Scene::on(builder().set("queue.auto_create", true));
        for number in 0..20 {
            let queue = format!("$queue/early-{number}");
            let connect = Connect::new(version, &format!("hasty {number}")).persistent();
            let mut first = scene.broker.connect(connect.clone());
            first.send(Subscribe::new(1).filter(&queue, 1));
            let mut second = scene.broker.connect(connect.resume());
            scene.push(&queue, "x");
            let mut worker = scene.worker(version, "worker", &queue);
            let deadline = Instant::now() + PATIENCE;
            let mut is_here = false;
            while !is_here {
                assert!(Instant::now() < deadline, "it is stuck, in round {number}");
                for peer in [&mut second, &mut worker] {
                    let received = peer.recv_within(Duration::from_millis(5));
                    is_here |= matches!(received, Received::Packet(Packet::Publish(_)));
                }
            }
            worker.disconnect();
        }
    }
}

/// What was subscribed to last holds after a restart; what was refused last does not.
#[test]
fn subscription_that_was_replaced_is_kept_as_such() {
    for version in Version::ALL {
        for dies in [false, true] {
            let mut scene = Scene::start();
            let connect = Connect::new(version, "holder").persistent();
            let mut holder = scene.broker.connect(connect);
            for qos in [1, 2] {
                holder.subscribe("$queue/jobs", qos);
            }
            leave(&mut scene, holder, dies);
            let mut holder = come_back(&scene.broker, version);
            scene.push("$queue/jobs", "x");
            assert_eq!(holder.expect_message().qos, 2);
            let refusal = match version {
                Version::V311 => reason::UNSPECIFIED_ERROR,
                Version::V5 => reason::TOPIC_FILTER_INVALID,
            };
            refused_filter(&mut holder, "$queue/jobs", 0, refusal);
            leave(&mut scene, holder, dies);
            let mut holder = come_back(&scene.broker, version);
            scene.push("$queue/jobs", "y");
            holder.expect_ping();
            assert_eq!(scene.info()["ready"], 1);
        }
    }
}

/// The connection is lost, or the broker is killed.
#[track_caller]
fn leave(scene: &mut Scene, holder: Peer, dies: bool) {
    if dies {
        scene.wait_until_stored();
        scene.restart();
    } else {
        holder.cut();
    }
}
