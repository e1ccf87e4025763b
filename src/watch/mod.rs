//! `tidegate watch`: a subscription on a terminal, or at the head of a pipe.
//!
//! * [`subscription`]: the websocket: subscribes, and comes back by itself with its position
//! * [`view`]: what the messages mean for the result, pure
//! * [`line`]: how an event looks, for people and for machines

pub mod line;
pub mod subscription;
pub mod view;

use crate::client::ClientError;
use line::{Form, Layout};
use std::io;
use subscription::{Heard, Subscription};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use view::View;

/// How a watch ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As many events came as were asked for
    Counted,
    /// Nobody reads any more
    Closed,
}

/// Why a watch cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The address makes no sense, or the first connection failed
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The first connection led to no websocket. Later ones are tried for ever.
    #[error("cannot reach {url}: {reason}; is the server running there, and is the base right?")]
    Unreachable {
        /// Of the websocket
        url: String,
        /// What went wrong
        reason: String,
    },
    /// The server refused the subscription
    #[error("{message} ({code})")]
    Refused {
        /// What the server said
        message: String,
        /// Its stable code
        code: String,
    },
    /// The output failed
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl WatchError {
    /// The exit code of the process, as the command's help documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            WatchError::Refused { .. } => 1,
            WatchError::Client(ClientError::Address { .. } | ClientError::Authority { .. }) => 2,
            WatchError::Client(_) | WatchError::Unreachable { .. } => 3,
            WatchError::Output(_) => 4,
        }
    }
}

/// Prints the events of a subscription until `count` of them have come (none: for ever). The objects of the
/// initial result do not count. `tell` is told, for people, what happens to the connection.
pub async fn run(
    mut subscription: Subscription,
    layout: Layout,
    count: Option<u64>,
    mut out: impl AsyncWrite + Unpin,
    mut tell: impl FnMut(&str),
) -> Result<Ended, WatchError> {
    let mut view = View::default();
    let mut form = Form::new(layout);
    let mut left = count;
    loop {
        let events = match subscription.next().await? {
            Heard::Result { objects, again } => {
                if !view.is_known() {
                    tell(&match objects.len() {
                        _ if !subscription.wants_initial() => "watching; what is there already is not shown".to_owned(),
                        1 => "watching; 1 object matches now".to_owned(),
                        number => format!("watching; {number} objects match now"),
                    });
                } else if !subscription.wants_initial() {
                    tell("the server could not go on from where we were: events may have been missed");
                } else if again {
                    tell("fell behind; going on with what has changed in the meantime as a whole");
                } else {
                    tell("the server could not go on from where we were: here is what has changed as a whole");
                }
                view.result(objects)
            }
            Heard::Match(event) => vec![view.matched(*event)],
            Heard::Resumed => {
                tell("connected again; nothing was missed");
                Vec::new()
            }
            Heard::Lost { reason, pause } => {
                tell(&format!("connection lost ({reason}); again in {:.1} s", pause.as_secs_f64()));
                Vec::new()
            }
        };
        for event in events {
            if let Err(error) = out.write_all(form.line(&event).as_bytes()).await {
                return ended(error);
            }
            if let Some(left) = left.as_mut().filter(|_| event.is_news()) {
                *left = left.saturating_sub(1);
            }
            if left == Some(0) {
                return out.flush().await.map_or_else(ended, |()| Ok(Ended::Counted));
            }
        }
        // What came together is written together.
        if !subscription.has_more().await
            && let Err(error) = out.flush().await
        {
            return ended(error);
        }
    }
}

fn ended(error: io::Error) -> Result<Ended, WatchError> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(Ended::Closed) } else { Err(error.into()) }
}
