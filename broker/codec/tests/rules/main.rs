//! Each rule of sections 1.5, 2 and 3, as bytes and what becomes of them.

mod acknowledgement;
mod auth;
mod conn_ack;
mod connect;
mod disconnect;
mod encode;
mod error;
mod fixed_header;
mod notation;
mod properties;
mod publish;
mod reason_codes;
mod samples;
mod strings;
mod subscribe;
mod unsubscribe;
