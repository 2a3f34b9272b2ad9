//! Packets written so that a reader sees the fields.

/// Bytes from text. Hexadecimal digits are bytes; `s:text` is a string with its length; `'text'`
/// is the text alone; `[ … ]` is a property section with its length; `30 | …` is a packet with its
/// Remaining Length.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    if let Some((first_byte, body)) = text.split_once('|') {
        let body = bytes(body);
        return [bytes(first_byte), variable_byte_integer(body.len()), body].concat();
    }
    let mut out = Vec::new();
    let mut tokens = text.split_whitespace();
    while let Some(token) = tokens.next() {
        if token == "[" {
            let section: Vec<&str> = tokens.by_ref().take_while(|&token| token != "]").collect();
            let section = bytes(&section.join(" "));
            out.extend(variable_byte_integer(section.len()));
            out.extend(section);
        } else if let Some(string) = token.strip_prefix("s:") {
            out.extend((string.len() as u16).to_be_bytes());
            out.extend(string.bytes());
        } else if let Some(raw) = token.strip_prefix('\'') {
            out.extend(raw.trim_end_matches('\'').bytes());
        } else {
            assert!(token.len() % 2 == 0, "{token:?} is not whole bytes");
            for at in (0..token.len()).step_by(2) {
                let byte = u8::from_str_radix(&token[at..at + 2], 16);
                out.push(byte.unwrap_or_else(|_| panic!("{token:?} is not hexadecimal")));
            }
        }
    }
    out
}

pub(crate) fn variable_byte_integer(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
