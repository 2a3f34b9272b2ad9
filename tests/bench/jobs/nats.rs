//! NATS JetStream: a stream of the kind `workqueue` in files, a pull consumer with explicit
//! acknowledgements.

use std::rc::Rc;

use crate::Load;
use crate::tally::Tally;
use crate::wire::{Wire, spawn};

pub(crate) async fn start(load: &Rc<Load>, tally: &Rc<Tally>) -> Result<(), String> {
    let mut wire = connect(load).await?;
    let stream = "{\"name\":\"JOBS\",\"subjects\":[\"jobs\"],\"retention\":\"workqueue\",\
                  \"storage\":\"file\",\"num_replicas\":1,\"max_msgs\":-1,\"max_bytes\":-1,\
                  \"max_age\":0,\"discard\":\"old\",\"duplicate_window\":0}";
    let most = load.consumers * load.window;
    let consumer = format!(
        "{{\"stream_name\":\"JOBS\",\"config\":{{\"durable_name\":\"W\",\"deliver_policy\":\"all\",\
         \"ack_policy\":\"explicit\",\"ack_wait\":60000000000,\"max_ack_pending\":{most},\
         \"max_waiting\":10000,\"replay_policy\":\"instant\"}}}}"
    );
    wire.out.extend_from_slice(b"SUB setup 1\r\n");
    for (subject, body) in [
        ("$JS.API.STREAM.CREATE.JOBS", stream),
        ("$JS.API.CONSUMER.DURABLE.CREATE.JOBS.W", consumer.as_str()),
    ] {
        publish(&mut wire.out, subject, "setup", body.as_bytes());
        wire.send().await?;
        let (_, _, answer) = message(&mut wire).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.contains("\"error\"") {
            return Err(answer);
        }
    }
    for number in 0..load.consumers {
        let wire = connect(load).await?;
        spawn(consume(wire, number, load.window, Rc::clone(tally)));
    }
    for number in 0..load.producers {
        let wire = connect(load).await?;
        spawn(produce(wire, number, load.window, Rc::clone(tally)));
    }
    Ok(())
}

async fn connect(load: &Load) -> Result<Wire, String> {
    let mut wire = Wire::connect(&load.address).await?;
    wire.next_line().await?;
    let hello = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
    wire.out.extend_from_slice(hello);
    wire.send().await?;
    while wire.next_line().await? != "PONG" {}
    Ok(wire)
}

fn publish(out: &mut Vec<u8>, subject: &str, reply: &str, payload: &[u8]) {
    let head = format!("PUB {subject} {reply} {}\r\n", payload.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The first message: its subject, where its answer goes, where its payload stands, and its size.
/// What the server says beside is taken.
fn split(wire: &mut Wire) -> Option<(String, String, std::ops::Range<usize>, usize)> {
    loop {
        let line = wire.line()?.to_owned();
        let head = line.len() + 2;
        if line == "PING" {
            wire.out.extend_from_slice(b"PONG\r\n");
            wire.take(head);
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let size: usize = words.last()?.parse().ok()?;
        if wire.pending().len() < head + size + 2 {
            return None;
        }
        let (reply, skipped) = match words[0] {
            "MSG" if words.len() == 5 => (words[3], 0),
            "MSG" => ("", 0),
            // With headers: status messages of a pull.
            _ => ("", size),
        };
        let begin = head + skipped;
        return Some((
            words[1].to_owned(),
            reply.to_owned(),
            begin..head + size,
            head + size + 2,
        ));
    }
}

async fn message(wire: &mut Wire) -> Result<(String, String, Vec<u8>), String> {
    loop {
        if let Some((subject, reply, payload, size)) = split(wire) {
            let payload = wire.pending()[payload].to_vec();
            wire.take(size);
            return Ok((subject, reply, payload));
        }
        wire.receive().await?;
    }
}

async fn produce(
    mut wire: Wire,
    number: usize,
    window: usize,
    tally: Rc<Tally>,
) -> Result<(), String> {
    let inbox = format!("ack.{number}");
    let subscribe = format!("SUB {inbox} 1\r\n");
    wire.out.extend_from_slice(subscribe.as_bytes());
    let mut unanswered = 0;
    let mut payload = Vec::new();
    loop {
        while unanswered < window && !tally.is_over() {
            payload.clear();
            tally.next_payload(&mut payload);
            publish(&mut wire.out, "jobs", &inbox, &payload);
            unanswered += 1;
        }
        wire.send().await?;
        wire.receive().await?;
        let mut answers = 0;
        while let Some((_, _, payload, size)) = split(&mut wire) {
            let answer = &wire.pending()[payload];
            if answer.windows(7).any(|it| it == b"\"error\"") {
                return Err(String::from_utf8_lossy(answer).into_owned());
            }
            wire.take(size);
            answers += 1;
        }
        unanswered -= answers;
        tally.acknowledged(answers as u64);
    }
}

async fn consume(
    mut wire: Wire,
    number: usize,
    window: usize,
    tally: Rc<Tally>,
) -> Result<(), String> {
    let inbox = format!("work.{number}");
    let subscribe = format!("SUB {inbox} 1\r\n");
    wire.out.extend_from_slice(subscribe.as_bytes());
    let pull = "$JS.API.CONSUMER.MSG.NEXT.JOBS.W";
    publish(
        &mut wire.out,
        pull,
        &inbox,
        format!("{{\"batch\":{window}}}").as_bytes(),
    );
    wire.send().await?;
    // Asked for again when half has come, so that there is always something under way.
    let mut due = window.div_ceil(2);
    loop {
        wire.receive().await?;
        let mut settled = 0;
        while let Some((_, reply, payload, size)) = split(&mut wire) {
            if reply.is_empty() {
                wire.take(size);
                continue;
            }
            tally.delivered(&wire.pending()[payload]);
            wire.take(size);
            let settle = format!("PUB {reply} 4\r\n+ACK\r\n");
            wire.out.extend_from_slice(settle.as_bytes());
            settled += 1;
            due -= 1;
            if due == 0 {
                due = window.div_ceil(2);
                let batch = format!("{{\"batch\":{due}}}");
                publish(&mut wire.out, pull, &inbox, batch.as_bytes());
            }
        }
        wire.send().await?;
        tally.settled(settled);
    }
}
