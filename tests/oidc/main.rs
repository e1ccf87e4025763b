//! Login at a provider: a real one on loopback, by plain HTTP as a browser would, and in a real browser with the SDK.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod agent;
mod browser;
mod flow;
mod provider;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
mod tenants;
