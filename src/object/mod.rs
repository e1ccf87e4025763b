//! One object: its id, its JSON text, the shape that a class gives it, and the decisions on writes of it.
//!
//! All of it is pure: no clock, no store, no socket.
//!
//! * [`id`]: ids, decoded and encoded canonically once
//! * [`text`]: what clients send, and the canonical JSON text that is stored
//! * [`shape`]: declared fields only, with their types
//! * [`time`]: instants as text
//! * [`partial`]: `{"$op": {"path": value}}`, applied to what is there
//! * [`decide`]: (image before, stamp, request) to what happens
//! * [`expiry`]: when an object ends

pub mod decide;
pub mod expiry;
pub mod id;
pub mod partial;
pub mod shape;
pub mod text;
pub mod time;
