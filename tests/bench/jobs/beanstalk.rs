//! beanstalkd: `put`, `reserve`, `delete`. A consumer reserves one after another, pipelined.

use std::rc::Rc;

use crate::Load;
use crate::tally::Tally;
use crate::wire::{Wire, spawn};

pub(crate) async fn start(load: &Rc<Load>, tally: &Rc<Tally>) -> Result<(), String> {
    for _ in 0..load.consumers {
        let wire = Wire::connect(&load.address).await?;
        spawn(consume(wire, load.window, Rc::clone(tally)));
    }
    for _ in 0..load.producers {
        let wire = Wire::connect(&load.address).await?;
        spawn(produce(wire, Rc::clone(load), Rc::clone(tally)));
    }
    Ok(())
}

async fn produce(mut wire: Wire, load: Rc<Load>, tally: Rc<Tally>) -> Result<(), String> {
    let mut unanswered = 0;
    loop {
        while unanswered < load.window && !tally.is_over() {
            let head = format!("put 0 0 60 {}\r\n", load.payload_bytes);
            wire.out.extend_from_slice(head.as_bytes());
            tally.next_payload(&mut wire.out);
            wire.out.extend_from_slice(b"\r\n");
            unanswered += 1;
        }
        wire.send().await?;
        wire.receive().await?;
        let mut answers = 0;
        while let Some(line) = wire.line() {
            if !line.starts_with("INSERTED") {
                return Err(format!("put: {line}"));
            }
            let size = line.len() + 2;
            wire.take(size);
            answers += 1;
        }
        unanswered -= answers;
        tally.acknowledged(answers as u64);
    }
}

async fn consume(mut wire: Wire, window: usize, tally: Rc<Tally>) -> Result<(), String> {
    for _ in 0..window {
        wire.out.extend_from_slice(b"reserve\r\n");
    }
    wire.send().await?;
    loop {
        wire.receive().await?;
        let mut settled = 0;
        while let Some(line) = wire.line() {
            let size = line.len() + 2;
            if line == "DELETED" {
                wire.take(size);
                continue;
            }
            let mut words = line.split(' ');
            let (Some("RESERVED"), Some(id), Some(bytes)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(format!("reserve: {line}"));
            };
            let bytes: usize = bytes.parse().map_err(|_| format!("reserve: {line}"))?;
            if wire.pending().len() < size + bytes + 2 {
                break;
            }
            tally.delivered(&wire.pending()[size..size + bytes]);
            let settle = format!("delete {id}\r\nreserve\r\n");
            wire.take(size + bytes + 2);
            wire.out.extend_from_slice(settle.as_bytes());
            settled += 1;
        }
        wire.send().await?;
        tally.settled(settled);
    }
}
