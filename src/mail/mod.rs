//! Mail that users are sent: never waited for by a request, and never lost quietly.
//!
//! * [`message`]: the texts, and the links in them
//! * [`queue`]: what waits, and what is tried again
//! * `spool`: the same on the disk
//! * `smtp`, `file`: who takes it
//!
//! A request takes a place in the queue *before* it commits anything ([`Mailer::reserve`]), and is answered when what it has
//! sent is on the disk ([`Place::send`]). From there it is tried until somebody takes it, also by the next process, until its
//! link has ended. Only a crash between the commit and the file loses one, of which nobody was told yet; the user asks again.

mod file;
pub mod message;
mod queue;
mod smtp;
mod spool;

pub use message::{Links, Mail};
use queue::Terms;
pub use queue::{Mailer, Place};

use crate::auth::pace::Pace;
use crate::clock::Clock;
use crate::config::{MailOptions, MailTransport, SecretError};
use futures_util::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Who takes mail.
pub trait Transport: Send + Sync + 'static {
    /// Hands a mail over; resolves when whoever takes it is responsible for it.
    fn send(&self, mail: &Mail) -> BoxFuture<'_, Result<(), SendError>>;
}

/// Why a mail was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It may be taken later
    #[error("it is not taken now: {0}")]
    Later(String),
    /// It will never be taken
    #[error("it is refused: {0}")]
    Never(String),
}

impl SendError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            SendError::Later(_) => "mail-deferred",
            SendError::Never(_) => "mail-refused",
        }
    }
}

/// Why mail cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The password
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An option that makes no sense
    #[error("the option mail.{option} cannot be used: {reason}")]
    Option {
        /// Which
        option: &'static str,
        /// Why
        reason: String,
    },
    /// The folder in which mails wait
    #[error("the folder {path}, in which mails wait, cannot be used: {reason}")]
    Queue {
        /// Where
        path: PathBuf,
        /// Why
        reason: String,
    },
}

impl MailError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            MailError::Secret(error) => error.code(),
            MailError::Option { .. } => "mail-option",
            MailError::Queue { .. } => "mail-queue",
        }
    }
}

/// Sets up what is configured, and goes on with what waits; none where nobody takes mail. `data`: the data directory, which is
/// this process's. `ended`: nothing is tried from then on. Must be called within a tokio runtime.
pub fn start(options: &MailOptions, data: &Path, clock: Arc<Clock>, ended: CancellationToken) -> Result<Option<Mailer>, MailError> {
    let from = options.from.parse().map_err(|error| MailError::Option { option: "from", reason: format!("{error}") })?;
    let transport: Arc<dyn Transport> = match options.transport {
        MailTransport::None => return Ok(None),
        MailTransport::File if options.directory.as_os_str().is_empty() => Arc::new(file::Folder::open(&data.join("mail"), from)?),
        MailTransport::File => Arc::new(file::Folder::open(&options.directory, from)?),
        MailTransport::Smtp => Arc::new(smtp::Smtp::new(options, from)?),
    };
    let (spool, waiting) = spool::Spool::open(&data.join(WAITING))?;
    let terms = Terms { queue: options.queue, attempts: options.attempts, interval: FIRST_INTERVAL };
    let mailer = Mailer::start(transport, spool, terms, clock, ended);
    mailer.go_on(waiting);
    Ok(Some(mailer))
}

/// The folder in the data directory in which mails wait.
const WAITING: &str = "mail-waiting";
/// From the first try to the second.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// An hour, milliseconds.
const HOUR: i64 = 3_600_000;
/// Tokens that one address may try in a minute.
const REDEEMED: u32 = 20;

/// What requests need to have mail sent.
#[derive(Debug)]
pub struct Mailing {
    /// Takes it
    pub mailer: Mailer,
    /// Where links lead
    pub links: Links,
    /// As configured
    pub options: MailOptions,
    /// How often mail is asked for
    pub pace: Pace,
    /// How often tokens are tried
    pub redeem_pace: Pace,
}

impl Mailing {
    /// As configured; none where nobody takes mail. `public_url`: where the API is reached from outside. For the rest see [`start`].
    pub fn start(
        options: &MailOptions,
        public_url: &str,
        data: &Path,
        clock: Arc<Clock>,
        ended: CancellationToken,
    ) -> Result<Option<Arc<Mailing>>, MailError> {
        let Some(mailer) = start(options, data, clock, ended)? else { return Ok(None) };
        let links = Links { public_url: public_url.trim_end_matches('/').to_owned(), reset_url: options.reset_url.clone() };
        let pace = Pace::new(HOUR, options.links_per_hour);
        Ok(Some(Arc::new(Mailing { mailer, links, options: options.clone(), pace, redeem_pace: Pace::new(60_000, REDEEMED) })))
    }
}
