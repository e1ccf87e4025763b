//! Mail: what a real SMTP server gets, and what users do with the links in it.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod links;
mod restart;
mod smtp;
mod smtpd;
#[path = "../support/mod.rs"]
mod support;
