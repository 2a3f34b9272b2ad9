//! MQTT 3.1.1: PUBLISH to `$queue/jobs`, PUBACK settles.

use std::rc::Rc;

use crate::Load;
use crate::tally::Tally;
use crate::wire::{Wire, spawn};

const QUEUE: &str = "$queue/jobs";

pub(crate) async fn start(load: &Rc<Load>, tally: &Rc<Tally>) -> Result<(), String> {
    let mut wire = connect(load, "nexum-jobs-setup").await?;
    let options = b"{\"prefetch\":1000}";
    publish(&mut wire.out, &format!("{QUEUE}/$ctl/create"), 1, |out| {
        out.extend_from_slice(options);
    });
    wire.send().await?;
    packet(&mut wire).await?;
    for number in 0..load.consumers {
        let mut wire = connect(load, &format!("consumer-{number}")).await?;
        let mut body = vec![0, 1];
        text(&mut body, QUEUE);
        body.push(1);
        frame(&mut wire.out, 0x82, &body);
        wire.send().await?;
        let (kind, granted) = packet(&mut wire).await?;
        if kind != 0x90 || granted.last() != Some(&1) {
            return Err(format!("SUBACK {granted:?}"));
        }
        spawn(consume(wire, Rc::clone(tally)));
    }
    for number in 0..load.producers {
        let wire = connect(load, &format!("producer-{number}")).await?;
        spawn(produce(wire, load.window, Rc::clone(tally)));
    }
    Ok(())
}

async fn connect(load: &Load, client_id: &str) -> Result<Wire, String> {
    let mut wire = Wire::connect(&load.address).await?;
    let mut body = b"\0\x04MQTT\x04\x02\0\0".to_vec();
    text(&mut body, client_id);
    frame(&mut wire.out, 0x10, &body);
    wire.send().await?;
    match packet(&mut wire).await? {
        (0x20, body) if body == [0, 0] => Ok(wire),
        other => Err(format!("CONNACK {other:?}")),
    }
}

async fn produce(mut wire: Wire, window: usize, tally: Rc<Tally>) -> Result<(), String> {
    let mut unanswered = 0;
    let mut identifier = 0_u16;
    loop {
        while unanswered < window && !tally.is_over() {
            identifier = identifier % 65_000 + 1;
            publish(&mut wire.out, QUEUE, identifier, |out| {
                tally.next_payload(out);
            });
            unanswered += 1;
        }
        wire.send().await?;
        wire.receive().await?;
        let mut answers = 0;
        while let Some((kind, body, size)) = split(wire.pending()) {
            if kind & 0xF0 != 0x40 || body.len() != 2 {
                return Err(format!("a producer got {kind:#x}"));
            }
            wire.take(size);
            answers += 1;
        }
        unanswered -= answers;
        tally.acknowledged(answers as u64);
    }
}

async fn consume(mut wire: Wire, tally: Rc<Tally>) -> Result<(), String> {
    loop {
        wire.receive().await?;
        let mut settled = 0;
        while let Some((kind, body, size)) = split(wire.pending()) {
            if kind & 0xF0 != 0x30 {
                return Err(format!("a consumer got {kind:#x}"));
            }
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let identifier = [body[2 + topic], body[3 + topic]];
            tally.delivered(&body[4 + topic..]);
            wire.take(size);
            wire.out
                .extend_from_slice(&[0x40, 2, identifier[0], identifier[1]]);
            settled += 1;
        }
        wire.send().await?;
        tally.settled(settled);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn frame(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    let mut length = body.len();
    loop {
        let more = length > 127;
        out.push((length % 128) as u8 | u8::from(more) << 7);
        length /= 128;
        if !more {
            break;
        }
    }
    out.extend_from_slice(body);
}

fn publish(out: &mut Vec<u8>, topic: &str, identifier: u16, payload: impl Fn(&mut Vec<u8>)) {
    let mut body = Vec::with_capacity(300);
    text(&mut body, topic);
    body.extend_from_slice(&identifier.to_be_bytes());
    payload(&mut body);
    frame(out, 0x32, &body);
}

/// The first packet: its first byte, its body and its size.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut length = 0_usize;
    for (place, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            let begin = 2 + place;
            let body = bytes.get(begin..begin + length)?;
            return Some((bytes[0], body, begin + length));
        }
    }
    None
}

async fn packet(wire: &mut Wire) -> Result<(u8, Vec<u8>), String> {
    loop {
        if let Some((kind, body, size)) = split(wire.pending()) {
            let packet = (kind, body.to_vec());
            wire.take(size);
            return Ok(packet);
        }
        wire.receive().await?;
    }
}
