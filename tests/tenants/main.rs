//! Many apps on one server, from outside: who can reach, see or slow whom.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod administration;
mod backup;
mod command;
mod deletion;
mod floods;
mod harness;
mod hosts;
mod isolation;
mod quotas;
mod slow;
mod storage;
