//! The gateway: sessions, protocol messages, queues, resume.

pub mod answers;
