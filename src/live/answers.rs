//! Answer before event: which writes are committed whose answers are not out yet.
//!
//! Whoever wrote gets his answer before he gets the event about it; nobody else waits for that
//! (invariant 10; CONTRACT section 16, timing).
