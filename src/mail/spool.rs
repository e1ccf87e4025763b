//! Mail that waits, in the data directory: a file each, until somebody took it or it is given up.
//!
//! Files and not secrets of the store: they hold links that log in, so no backup has them, and what is delivered is gone from the
//! disk. A file is whole or not there. It is removed behind the delivery, so after a crash a mail may come twice, and never not at all.

use super::{Mail, MailError, message};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the files of whole mails end.
const ENDING: &str = "json";
/// How unfinished files begin.
const UNFINISHED: &str = ".unfinished-";
/// No file is larger, bytes: what is there was written here.
const LARGEST: u64 = 1 << 20;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    path: PathBuf,
    /// Mails written by this process: the order of those of one millisecond
    written: Arc<AtomicU64>,
}

/// A mail in a file.
#[derive(Serialize, Deserialize)]
struct Kept<'m> {
    to: std::borrow::Cow<'m, str>,
    subject: std::borrow::Cow<'m, str>,
    text: std::borrow::Cow<'m, str>,
    until: i64,
}

/// A mail, and until when it is worth anything, milliseconds since 1970.
pub(super) type Waiting = (Mail, i64);

impl Spool {
    /// Makes the folder if it is not there, the owner's alone. What a crash left unfinished goes. Also: the mails that wait,
    /// the oldest first.
    pub(super) fn open(path: &Path) -> Result<(Spool, Vec<PathBuf>), MailError> {
        let unusable = |error: std::io::Error| MailError::Queue { path: path.to_owned(), reason: error.to_string() };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let mut waiting = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                std::fs::remove_file(entry.path()).map_err(unusable)?;
            } else if entry.path().extension().is_some_and(|ending| ending == ENDING) {
                waiting.push(entry.path());
            }
        }
        waiting.sort_unstable();
        Ok((Spool { path: path.to_owned(), written: Arc::default() }, waiting))
    }

    /// Writes a mail; it is on the disk when this returns. `now` in milliseconds since 1970. Blocks.
    pub(super) fn keep(&self, mail: &Mail, until: i64, now: i64) -> std::io::Result<PathBuf> {
        let to = mail.to.to_string();
        let kept = Kept { to: to.into(), subject: (&*mail.subject).into(), text: (&*mail.text).into(), until };
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.path)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.as_file().sync_all()?;
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{now:015}-{number:06}.{ENDING}"));
        file.persist_noclobber(&path)?;
        std::fs::File::open(&self.path)?.sync_all()?;
        Ok(path)
    }
}

/// A mail that waits. Blocks.
pub(super) fn read(path: &Path) -> std::io::Result<Waiting> {
    let damaged = |reason: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, reason.to_owned());
    if std::fs::metadata(path)?.len() > LARGEST {
        return Err(damaged("it is too large"));
    }
    // What stands in it is the user's, and in no message.
    let text = std::fs::read(path)?;
    let kept: Kept<'_> = serde_json::from_slice(&text).map_err(|_| damaged("it is no mail"))?;
    let to = message::address(&kept.to).ok_or_else(|| damaged("its address is none"))?;
    Ok((Mail { to, subject: kept.subject.into_owned(), text: kept.text.into_owned() }, kept.until))
}

/// A mail does not wait any more. Blocks.
pub(super) fn forget(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn mails_wait_in_their_order_and_half_of_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("waiting");
        let (spool, waiting) = Spool::open(&folder).unwrap();
        assert!(waiting.is_empty());
        let mail = |to: &str| Mail { to: message::address(to).unwrap(), subject: "Grüße".into(), text: "a\n\"b\"\n".into() };
        let second = spool.keep(&mail("b@example.org"), 20, 2).unwrap();
        let first = spool.keep(&mail("a@example.org"), 10, 1).unwrap();
        std::fs::write(folder.join(format!("{UNFINISHED}x")), "{\"to\":").unwrap();
        std::fs::write(folder.join("damaged.json"), "{\"to\":").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&first)), (0o700, 0o600));

        let (_, waiting) = Spool::open(&folder).unwrap();
        assert_eq!(waiting, [first.clone(), second.clone(), folder.join("damaged.json")]);
        assert!(read(&first).unwrap() == (mail("a@example.org"), 10) && read(&second).unwrap().1 == 20);
        let damaged = read(&waiting[2]).unwrap_err();
        assert_eq!(damaged.to_string(), "it is no mail");
        forget(&first).unwrap();
        forget(&first).unwrap();
        assert_eq!(Spool::open(&folder).unwrap().1, [second, folder.join("damaged.json")]);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    }
}
