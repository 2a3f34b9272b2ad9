//! One timer for all that a shard waits for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use nexum_types::Time;
use tokio::time::{Instant, Sleep, sleep};

/// Wakes the shard's task at a time. Setting it is a matter of the runtime's timer wheel, so it
/// is set only for a time before the one it is set for; one that rings too early costs a turn.
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it rings next.
    set_for: Option<Time>,
}

impl Alarm {
    pub(super) fn new() -> Alarm {
        Alarm {
            sleep: None,
            set_for: None,
        }
    }

    /// Makes sure that it rings at this time or before.
    pub(super) fn set(&mut self, due: Time, now: Time, cx: &mut Context<'_>) {
        if self
            .set_for
            .is_some_and(|set_for| now < set_for && set_for <= due)
        {
            return;
        }
        self.set_for = Some(due);
        let wait = due.since(now);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(Instant::now() + wait);
                sleep
            }
            empty => empty.insert(Box::pin(sleep(wait))),
        };
        if let Poll::Ready(()) = sleep.as_mut().poll(cx) {
            self.set_for = None;
            cx.waker().wake_by_ref();
        }
    }
}
