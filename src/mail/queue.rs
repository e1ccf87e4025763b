//! What waits to be sent: bounded, in order, tried again in growing intervals, and kept on the disk until it is done with.

use super::spool::{self, Spool, Waiting};
use super::{Mail, SendError, Transport};
use crate::clock::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// Mails that are under way at once: a server that is slow with one holds up few.
const AT_ONCE: usize = 4;
/// A transport that takes longer than this has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest interval between two tries.
const LONGEST: Duration = Duration::from_secs(300);

/// Takes mails and sends them in the background, as long as the server runs; what waits then is on the disk.
#[derive(Clone)]
pub struct Mailer {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    spool: Spool,
    clock: Arc<Clock>,
    ended: CancellationToken,
    under_way: Semaphore,
    attempts: u32,
    interval: Duration,
    counted: Counts,
}

/// How mails are tried.
pub(super) struct Terms {
    /// Places
    pub(super) queue: usize,
    /// Tries of one mail by one process
    pub(super) attempts: u32,
    /// To the second try, doubled with each
    pub(super) interval: Duration,
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
    pub(super) fn start(transport: Arc<dyn Transport>, spool: Spool, terms: Terms, clock: Arc<Clock>, ended: CancellationToken) -> Mailer {
        let Terms { queue, attempts, interval } = terms;
        let under_way = Semaphore::new(AT_ONCE);
        let attempts = attempts.max(1);
        let shared = Shared { transport, spool, clock, ended, under_way, attempts, interval, counted: Counts::default() };
        Mailer { shared: Arc::new(shared), places: Arc::new(Semaphore::new(queue.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Sends what a former process left, as soon as there are places for it.
    pub(super) fn go_on(&self, waiting: Vec<PathBuf>) {
        if waiting.is_empty() {
            return;
        }
        tracing::info!(mails = waiting.len(), "mails still wait to be sent");
        let mailer = self.clone();
        tokio::spawn(async move {
            for path in waiting {
                let place = tokio::select! {
                    place = mailer.places.clone().acquire_owned() => place,
                    () = mailer.shared.ended.cancelled() => return,
                };
                let (Ok(place), file) = (place, path.clone()) else { return };
                match blocking(move || spool::read(&file)).await {
                    Ok(waiting) => {
                        let shared = mailer.shared.clone();
                        tokio::spawn(async move {
                            shared.see_to(&waiting, Some(path), false).await;
                            drop(place);
                        });
                    }
                    Err(error) => tracing::error!(%error, path = %path.display(), "a mail that waits cannot be read and is left alone"),
                }
            }
        });
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
    /// Sends in the background. Resolves when the mail is on the disk; from the first poll on it is seen to, whatever becomes
    /// of who waits. `until`: when what stands in it ends, milliseconds since 1970. The place is free again when the mail is sent
    /// or given up.
    pub async fn send(self, mail: Mail, until: i64) {
        let Place { mailer, place } = self;
        let shared = mailer.shared;
        let (kept, told) = oneshot::channel();
        tokio::spawn(async move {
            let path = shared.keep(&mail, until).await;
            // Nobody may wait any more.
            let _ = kept.send(());
            shared.see_to(&(mail, until), path, true).await;
            drop(place);
        });
        // Where the task is gone the runtime is ending.
        let _ = told.await;
    }
}

impl Shared {
    async fn keep(&self, mail: &Mail, until: i64) -> Option<PathBuf> {
        let (spool, mail, now) = (self.spool.clone(), mail.clone(), self.clock.now_ms());
        match blocking(move || spool.keep(&mail, until, now)).await {
            Ok(path) => Some(path),
            Err(error) => {
                tracing::error!(%error, "a mail that waits cannot be written to the disk; it is lost if the server ends before it is sent");
                None
            }
        }
    }

    /// Tries until it is sent or given up, and then forgets it; at the end of the server it is left where it is.
    async fn see_to(&self, waiting: &Waiting, path: Option<PathBuf>, fresh: bool) {
        let Some(counter) = self.deliver(waiting, fresh).await else { return };
        if let Some(path) = path
            && let Err(error) = blocking(move || spool::forget(&path)).await
        {
            tracing::error!(%error, "a mail that is done with cannot be removed from the disk and may be sent again");
        }
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What became of it is counted there; none: the server ends. `fresh`: it was asked for just now, and is tried once at least.
    async fn deliver(&self, (mail, until): &Waiting, fresh: bool) -> Option<&AtomicU64> {
        let mut interval = self.interval;
        for attempt in 1..=self.attempts {
            let error = match self.once(mail, (attempt > 1 || !fresh).then_some(*until)).await? {
                Ok(()) => return Some(&self.counted.sent),
                Err(error) => error,
            };
            // Neither the address nor the text: both are the user's.
            if matches!(error, SendError::Never(_)) || attempt == self.attempts {
                tracing::error!(code = error.code(), %error, attempt, subject = mail.subject, "a mail is given up");
                break;
            }
            tracing::warn!(code = error.code(), %error, attempt, "a mail is tried again");
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = self.ended.cancelled() => return None,
            }
            interval = interval.saturating_mul(2).min(LONGEST);
        }
        Some(&self.counted.given_up)
    }

    /// One try, which is finished once it is begun; none: the server ends.
    async fn once(&self, mail: &Mail, until: Option<i64>) -> Option<Result<(), SendError>> {
        let turn = tokio::select! {
            turn = self.under_way.acquire() => turn,
            () = self.ended.cancelled() => return None,
        };
        let _turn = turn.ok()?;
        if until.is_some_and(|until| self.clock.now_ms() >= until) {
            return Some(Err(SendError::Never("its link has ended before anybody took it".into())));
        }
        let timed = tokio::time::timeout(LIMIT, self.transport.send(mail)).await;
        Some(timed.unwrap_or_else(|_| Err(SendError::Later("the server does not answer".into()))))
    }
}

/// Work with files, beside the threads that answer requests.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
