//! The engine of Tidegate: which standing queries does a change touch, and how?
//!
//! An update is a pair of images: minus what the object was, plus what it is now. Everything here is
//! arithmetic on that pair. This crate knows no HTTP, no store and no Kafka; it is handed changes and
//! queries, and hands back deltas.
//!
//! * [`document`]: an object as the engine reads it, parsed once from its JSON text
//! * [`query`]: the query language: parse, normal form, predicate, geo, explain
//! * [`access`]: who may see which image; the server's front stage judges with the same code
//! * [`change`]: the pair of images and what travels with it
//! * [`index`]: the index over queries: which standing queries could care about this image?
//! * `prefetch`: asking for memory before it is read
//! * `matching`: the operator that turns changes into deltas
//! * [`delta`]: how a change touches a standing query
//! * `deliver`: the operator that hands them over
//! * [`grid`]: which worker has which queries and which changes
//! * [`engine`]: the handle that the server holds, and the timely workers behind it

pub mod access;
pub mod change;
mod deliver;
pub mod delta;
pub mod document;
pub mod engine;
pub mod grid;
pub mod index;
mod matching;
mod prefetch;
pub mod query;
