//! What waits to be sent: bounded, in order, tried again in growing intervals.

use super::{Mail, SendError, Transport};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Mails that are under way at once: a server that is slow with one holds up few.
const AT_ONCE: usize = 4;
/// A transport that takes longer than this has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest interval between two tries.
const LONGEST: Duration = Duration::from_secs(300);

/// Takes mails and sends them in the background. Ends with its last handle; what waits then is dropped.
#[derive(Clone)]
pub struct Mailer {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    under_way: Semaphore,
    attempts: u32,
    interval: Duration,
    counted: Counts,
}

/// What has become of mails.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    given_up: AtomicU64,
}

/// A place in the queue, taken before what the mail is about is committed.
#[derive(Debug)]
pub struct Place {
    mailer: Mailer,
    place: OwnedSemaphorePermit,
}

impl Mailer {
    /// `queue`: places; `attempts`: tries of one mail; `interval`: time to the second try, doubled with each.
    pub fn start(transport: Arc<dyn Transport>, queue: usize, attempts: u32, interval: Duration) -> Mailer {
        let shared =
            Shared { transport, under_way: Semaphore::new(AT_ONCE), attempts: attempts.max(1), interval, counted: Counts::default() };
        Mailer { shared: Arc::new(shared), places: Arc::new(Semaphore::new(queue.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// A place for one mail; none while too many wait.
    pub fn reserve(&self) -> Option<Place> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { mailer: self.clone(), place })
    }

    /// Mails that were taken by the transport.
    pub fn sent(&self) -> u64 {
        self.shared.counted.sent.load(Ordering::Relaxed)
    }

    /// Mails that will not be sent any more.
    pub fn given_up(&self) -> u64 {
        self.shared.counted.given_up.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("free", &self.places.available_permits()).finish_non_exhaustive()
    }
}

impl Place {
    /// Sends in the background. The place is free again when the mail is sent or given up.
    pub fn send(self, mail: Mail) {
        let Place { mailer, place } = self;
        let shared = mailer.shared;
        tokio::spawn(async move {
            shared.see_to(&mail).await;
            drop(place);
        });
    }
}

impl Shared {
    async fn see_to(&self, mail: &Mail) {
        let mut interval = self.interval;
        for attempt in 1..=self.attempts {
            let error = match self.once(mail).await {
                Ok(()) => {
                    self.counted.sent.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(error) => error,
            };
            // Neither the address nor the text: both are the user's.
            if matches!(error, SendError::Never(_)) || attempt == self.attempts {
                tracing::error!(code = error.code(), %error, attempt, subject = mail.subject, "a mail is given up");
                break;
            }
            tracing::warn!(code = error.code(), %error, attempt, "a mail is tried again");
            tokio::time::sleep(interval).await;
            interval = interval.saturating_mul(2).min(LONGEST);
        }
        self.counted.given_up.fetch_add(1, Ordering::Relaxed);
    }

    async fn once(&self, mail: &Mail) -> Result<(), SendError> {
        let _turn = self.under_way.acquire().await.map_err(|error| SendError::Never(error.to_string()))?;
        let timed = tokio::time::timeout(LIMIT, self.transport.send(mail)).await;
        timed.unwrap_or_else(|_| Err(SendError::Later("the server does not answer".into())))
    }
}
