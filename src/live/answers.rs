//! Answer before event: which writes are committed whose answers are not out yet.
//!
//! Whoever wrote gets his answer before he gets the event about it; nobody else waits for that
//! (docs/protocol.md). The front stage calls [`Answers::begin`] before it submits
//! a write, puts the number into `Writer.request`, and moves the guard into the body of its response. A
//! delta that meets an open request waits in the subscriptions of the writer's session until the body has
//! been taken by the connection and a short grace has passed, or until the limit.

use super::lock;
use super::subscription::Subscription;
use crate::metrics::Histogram;
use dataflows::change::Writer;
use http_body::{Body, Frame, SizeHint};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The requests whose answers are not out yet.
pub struct Answers {
    inner: Mutex<Inner>,
    grace: Duration,
    limit: Duration,
    runtime: Handle,
    waited: Arc<Histogram>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    open: HashMap<u64, Open>,
    /// Answered requests in the order of the end of their grace
    answered: VecDeque<(Instant, u64)>,
}

#[derive(Default)]
struct Open {
    /// End of the grace, once the answer is out
    until: Option<Instant>,
    /// Subscriptions that wait, and what tells their timer that the answer is out
    waiting: Option<(Arc<Notify>, Vec<Arc<Subscription>>)>,
}

/// An open request. Dropped when its answer is with the socket, or when there will be none.
#[derive(Debug)]
#[must_use = "dropping the guard says that the answer is out"]
pub struct AnswerGuard {
    answers: Arc<Answers>,
    request: u64,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").field("grace", &self.grace).field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Answers {
    /// `grace`: from the answer to the event at the earliest; `limit`: how long an event waits at most.
    /// Must be called within a tokio runtime, which will run the timers.
    pub fn new(grace: Duration, limit: Duration) -> Arc<Answers> {
        Arc::new(Answers { inner: Mutex::default(), grace, limit, runtime: Handle::current(), waited: Arc::default() })
    }

    /// How long events waited for the answers to their own writes.
    pub fn waited(&self) -> &Arc<Histogram> {
        &self.waited
    }

    /// Opens a request. `session` is that of the writer; 0 never meets a subscription.
    pub fn begin(self: &Arc<Self>, session: u64) -> AnswerGuard {
        let mut inner = lock(&self.inner);
        inner.last += 1;
        let request = inner.last;
        if session != 0 {
            inner.open.insert(request, Open::default());
        }
        AnswerGuard { answers: self.clone(), request }
    }

    /// Whether a subscriber of this session is the writer and has still to get his answer. Nobody else waits for it,
    /// and nobody else would be told of its end.
    pub(crate) fn is_open(&self, writer: &Writer, session: u64) -> bool {
        writer.request != 0
            && writer.session == session
            && lock(&self.inner).open.get(&writer.request).is_some_and(|open| open.until.is_none_or(|until| Instant::now() < until))
    }

    /// As [`Answers::is_open`]; if so, the subscription is told when it is no more.
    pub(crate) fn hold(self: &Arc<Self>, request: u64, subscription: &Arc<Subscription>) -> bool {
        let mut inner = lock(&self.inner);
        let Some(open) = inner.open.get_mut(&request) else { return false };
        if open.until.is_some_and(|until| until <= Instant::now()) {
            return false;
        }
        match &mut open.waiting {
            Some((_, waiting)) => {
                // One that is here twice is let go twice, which does no harm; a search would, at 10 000.
                if !waiting.last().is_some_and(|last| Arc::ptr_eq(last, subscription)) {
                    waiting.push(subscription.clone());
                }
            }
            None => {
                let answered = Arc::new(Notify::new());
                open.waiting = Some((answered.clone(), vec![subscription.clone()]));
                self.runtime.spawn(self.clone().let_go(request, open.until, answered));
            }
        }
        true
    }

    /// Waits for the answer and its grace, or for the limit; then lets those go that wait for it.
    async fn let_go(self: Arc<Self>, request: u64, until: Option<Instant>, answered: Arc<Notify>) {
        let began = Instant::now();
        let limit = began + self.limit;
        match until {
            Some(until) => tokio::time::sleep_until(until.min(limit)).await,
            None => {
                if tokio::time::timeout_at(limit, answered.notified()).await.is_ok() {
                    tokio::time::sleep_until((Instant::now() + self.grace).min(limit)).await;
                }
            }
        }
        self.waited.observe(began.elapsed());
        let waiting = lock(&self.inner).open.remove(&request).and_then(|open| open.waiting);
        for subscription in waiting.into_iter().flat_map(|(_, waiting)| waiting) {
            subscription.connection.release(&subscription, &self);
        }
    }

    fn answered(&self, request: u64) {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        while let Some(&(until, request)) = inner.answered.front().filter(|(until, _)| *until <= now) {
            inner.answered.pop_front();
            // One that somebody waits for is removed by its timer.
            if inner.open.get(&request).is_some_and(|open| open.waiting.is_none() && open.until == Some(until)) {
                inner.open.remove(&request);
            }
        }
        let until = now + self.grace;
        let Some(open) = inner.open.get_mut(&request) else { return };
        open.until = Some(until);
        if let Some((answered, _)) = &open.waiting {
            answered.notify_one();
        }
        inner.answered.push_back((until, request));
    }

    /// Requests that are open or in their grace.
    pub fn open_requests(&self) -> usize {
        lock(&self.inner).open.len()
    }
}

impl AnswerGuard {
    /// For `Writer.request`.
    pub fn request(&self) -> u64 {
        self.request
    }

    /// Moves the guard into the body of the answer.
    pub fn into_body<B>(self, body: B) -> AnswerBody<B> {
        AnswerBody { body, guard: Some(self) }
    }
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        self.answers.answered(self.request);
    }
}

/// A body that says when it has been taken: at its end, or when it is dropped with the connection.
#[derive(Debug)]
pub struct AnswerBody<B> {
    body: B,
    guard: Option<AnswerGuard>,
}

impl<B: Body + Unpin> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.guard = None;
        }
        frame
    }

    // Where this says so the server does not ask for another frame but drops the body, and writes in the
    // same turn; the grace is for that write.
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
