//! Redis Streams: XADD, XREADGROUP by as many as the window, XACK. Nothing is trimmed: that would
//! cost Redis more.

use std::rc::Rc;

use crate::Load;
use crate::tally::Tally;
use crate::wire::{Wire, spawn};

pub(crate) async fn start(load: &Rc<Load>, tally: &Rc<Tally>) -> Result<(), String> {
    let mut wire = Wire::connect(&load.address).await?;
    command(&mut wire.out, &[b"FLUSHALL"]);
    command(
        &mut wire.out,
        &[b"XGROUP", b"CREATE", b"jobs", b"g", b"$", b"MKSTREAM"],
    );
    wire.send().await?;
    for _ in 0..2 {
        let answer = wire.next_line().await?;
        if answer != "+OK" {
            return Err(answer);
        }
    }
    for number in 0..load.consumers {
        let wire = Wire::connect(&load.address).await?;
        spawn(consume(wire, number, load.window, Rc::clone(tally)));
    }
    for _ in 0..load.producers {
        let wire = Wire::connect(&load.address).await?;
        spawn(produce(wire, load.window, Rc::clone(tally)));
    }
    Ok(())
}

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

async fn produce(mut wire: Wire, window: usize, tally: Rc<Tally>) -> Result<(), String> {
    let mut unanswered = 0;
    let mut payload = Vec::new();
    loop {
        while unanswered < window && !tally.is_over() {
            payload.clear();
            tally.next_payload(&mut payload);
            command(&mut wire.out, &[b"XADD", b"jobs", b"*", b"d", &payload]);
            unanswered += 1;
        }
        wire.send().await?;
        wire.receive().await?;
        let mut answers = 0;
        while let Some((Value::Bulk(_), size)) = value(wire.pending()) {
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
    let (name, count) = (format!("c{number}"), window.to_string());
    let mut ids: Vec<Vec<u8>> = Vec::new();
    loop {
        command(
            &mut wire.out,
            &[
                b"XREADGROUP",
                b"GROUP",
                b"g",
                name.as_bytes(),
                b"COUNT",
                count.as_bytes(),
                b"BLOCK",
                b"0",
                b"STREAMS",
                b"jobs",
                b">",
            ],
        );
        wire.send().await?;
        if !ids.is_empty() {
            tally.settled(ids.len() as u64);
            ids.clear();
        }
        loop {
            let Some((answer, size)) = value(wire.pending()) else {
                wire.receive().await?;
                continue;
            };
            match answer {
                // Of XACK.
                Value::Number => wire.take(size),
                Value::List(streams) => {
                    for entry in entries(&streams) {
                        tally.delivered(entry.1);
                        ids.push(entry.0.to_vec());
                    }
                    wire.take(size);
                    break;
                }
                Value::Bulk(_) => return Err("an answer that was not expected".to_owned()),
            }
        }
        let mut words: Vec<&[u8]> = vec![b"XACK", b"jobs", b"g"];
        words.extend(ids.iter().map(Vec::as_slice));
        command(&mut wire.out, &words);
    }
}

/// A value of RESP, as far as it is needed.
enum Value<'a> {
    Number,
    Bulk(&'a [u8]),
    List(Vec<Value<'a>>),
}

/// Identifiers and payloads in `[[stream, [[id, [field, payload]], …]]]`.
fn entries<'a>(streams: &[Value<'a>]) -> Vec<(&'a [u8], &'a [u8])> {
    let mut found = Vec::new();
    for stream in streams {
        if let Value::List(parts) = stream
            && let Some(Value::List(list)) = parts.get(1)
        {
            for entry in list {
                if let Value::List(parts) = entry
                    && let (Some(Value::Bulk(id)), Some(Value::List(fields))) =
                        (parts.first(), parts.get(1))
                    && let Some(Value::Bulk(payload)) = fields.get(1)
                {
                    found.push((*id, *payload));
                }
            }
        }
    }
    found
}

/// The first value and its size, if it is whole.
fn value(bytes: &[u8]) -> Option<(Value<'_>, usize)> {
    let end = bytes.windows(2).position(|it| it == b"\r\n")?;
    let head = end + 2;
    let number = || {
        std::str::from_utf8(&bytes[1..end])
            .ok()?
            .parse::<usize>()
            .ok()
    };
    match bytes[0] {
        b'$' => {
            let length = number()?;
            let text = bytes.get(head..head + length)?;
            bytes.get(head + length + 1)?;
            Some((Value::Bulk(text), head + length + 2))
        }
        b'*' => {
            let mut at = head;
            let mut list = Vec::new();
            for _ in 0..number()? {
                let (value, size) = value(&bytes[at..])?;
                at += size;
                list.push(value);
            }
            Some((Value::List(list), at))
        }
        _ => Some((Value::Number, head)),
    }
}
