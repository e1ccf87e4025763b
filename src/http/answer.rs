//! Answers to writes: each goes out before the events about it reach the writer (invariant 10).

use super::Front;
use super::identity::Identity;
use crate::live::answers::AnswerGuard;
use axum::body::Body;
use axum::http::Response;
use dataflows::change::Writer;

/// A write whose answer is not out yet. Dropped without an answer, it says that there will be none.
#[derive(Debug)]
pub struct Answer {
    guard: AnswerGuard,
    session: u64,
}

impl Answer {
    /// Before the write is given to the store.
    pub fn begin(front: &Front, identity: &Identity) -> Answer {
        let session = identity.session.hash;
        Answer { guard: front.answers.begin(session), session }
    }

    /// What the change record says of the writer.
    pub fn writer(&self) -> Writer {
        Writer { session: self.session, request: self.guard.request() }
    }

    /// The answer is out when its body has been taken by the connection.
    pub fn out(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::new(self.guard.into_body(body)))
    }
}
