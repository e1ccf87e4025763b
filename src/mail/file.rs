//! A folder that mail is put into, one `.eml` file each: for development.

use super::{Mail, MailError, SendError, Transport};
use futures_util::future::BoxFuture;
use lettre::message::Mailbox;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    from: Mailbox,
}

impl Folder {
    /// Makes the folder if it is not there. Links in mails log in, so it is the owner's alone.
    pub(super) fn open(path: &Path, from: Mailbox) -> Result<Folder, MailError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| MailError::Option { option: "directory", reason: format!("{}: {error}", path.display()) })?;
        Ok(Folder { path: path.to_owned(), from })
    }
}

impl Transport for Folder {
    fn send(&self, mail: &Mail) -> BoxFuture<'_, Result<(), SendError>> {
        let built = mail.build(&self.from);
        Box::pin(async move {
            let text = built?.formatted();
            let folder = self.path.clone();
            let written = tokio::task::spawn_blocking(move || write(&folder, &text)).await;
            written.map_err(|error| SendError::Later(error.to_string()))?.map_err(|error| SendError::Later(error.to_string()))
        })
    }
}

/// Whole or not at all: whoever watches the folder never reads half a mail. Names sort by time.
fn write(folder: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    let now = jiff::Timestamp::now().as_millisecond();
    file.persist(folder.join(format!("{now:015}-{}.eml", uuid::Uuid::new_v4().simple())))?;
    Ok(())
}
