//! Against a naive model, and against a host that does its worst.
