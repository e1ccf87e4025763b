//! Waiting on the threads of ingest, which are no async threads: for the store, for a while, until told to end.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long it takes at most until a thread that waits sees that it is to end.
const ATTENTION: Duration = Duration::from_millis(50);

/// Says when to end; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn now(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_now(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits so long, or until it is time to end.
    pub(crate) fn pause(&self, long: Duration) {
        let until = Instant::now() + long;
        while !self.is_now() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left.min(ATTENTION));
        }
    }

    /// Waits for a future that needs no runtime; none when it is time to end.
    pub(crate) fn wait<T>(&self, future: &mut BoxFuture<'_, T>) -> Option<T> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Some(value);
            }
            if self.is_now() {
                return None;
            }
            thread::park_timeout(ATTENTION);
        }
    }
}

/// What a future has come to, without waiting.
pub(crate) fn poll_now<T>(future: &mut BoxFuture<'_, T>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_what_comes_and_ends_when_told() {
        let stop = Stop::default();
        let (send, receive) = tokio::sync::oneshot::channel::<u8>();
        let mut future: BoxFuture<'_, _> = Box::pin(receive);
        assert!(poll_now(&mut future).is_none());
        let sender = thread::spawn(move || send.send(7).unwrap());
        assert_eq!(stop.wait(&mut future), Some(Ok(7)));
        sender.join().unwrap();
        let other = stop.clone();
        let told = thread::spawn(move || other.now());
        assert_eq!(stop.wait::<()>(&mut (Box::pin(std::future::pending()) as BoxFuture<'_, ()>)), None);
        told.join().unwrap();
        stop.pause(Duration::from_secs(3600));
    }
}
