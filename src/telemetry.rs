//! Log lines: levels and form as configured. No line holds a token, a ticket, a password or a query string.

use crate::config::{LogFormat, LogOptions};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// The level cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("log.level is {level:?}, which is neither a level (error, warn, info, debug, trace) nor a list of directives: {reason}")]
pub struct LevelError {
    level: String,
    reason: String,
}

/// Sends the lines of this process to standard error. The first call counts; a process has one log.
pub fn start(options: &LogOptions) -> Result<(), LevelError> {
    // The engine of the store tells of its daily work at `info`; whoever wants that names it.
    let filter = EnvFilter::try_new(format!("fjall=warn,lsm_tree=warn,{}", options.level))
        .map_err(|error| LevelError { level: options.level.clone(), reason: error.to_string() })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_timer(SystemTime);
    // A second log in one process (tests, the demo) is not an error: the first one stays.
    let _ = match options.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
