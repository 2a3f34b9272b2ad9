//! The last things that happened, for whoever has to find out why.

use std::collections::VecDeque;

use nexum_types::Time;

const LINES: usize = 2_000;

/// Remembers only if it is asked to: a run that failed is run again with its memory on.
pub(crate) struct History {
    on: bool,
    lines: VecDeque<String>,
}

impl History {
    pub(crate) fn new(on: bool) -> History {
        History {
            on,
            lines: VecDeque::new(),
        }
    }

    pub(crate) fn note(&mut self, now: Time, line: impl FnOnce() -> String) {
        if self.on {
            if self.lines.len() == LINES {
                self.lines.pop_front();
            }
            let micros = now.as_micros();
            let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
            self.lines
                .push_back(format!("{seconds:>4}.{rest:06} {}", line()));
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
