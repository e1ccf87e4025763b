//! `tidegate backup`: a consistent copy, of a running server or of a directory at rest.

use super::administration::AdministrationArgs;
use super::{ConfigArgs, Failure, runtime};
use crate::apps::registry;
use crate::client::api::Media;
use crate::config::ServerOptions;
use crate::object::id::encode_component;
use crate::store::Store;
use crate::store::embedded::Embedded;
use crate::store::embedded::backup::{OneApp, create_file};
use futures_util::StreamExt;
use hyper::Method;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Copy the store of a running server into a file, consistently, while writes go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate backup tidegate.backup\n  \
    ssh -N -L 8081:127.0.0.1:8081 db.example.org    # in another shell; the first line then copies that server\n  \
    tidegate backup tidegate.backup --offline --data /var/lib/tidegate\n  \
    tidegate backup acme.backup --app acme\n\n\
    The file holds the secrets that sign tokens: keep it as safe as the data. `tidegate restore` builds a directory from it.")]
pub struct Backup {
    /// The file to write; it must not be there
    file: PathBuf,
    /// Copy this app alone: a directory restored from it has no other app's data
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    #[command(flatten)]
    options: ConfigArgs,
    #[command(flatten)]
    administration: AdministrationArgs,
    /// Read the data directory itself; no server may use it
    #[arg(long)]
    offline: bool,
}

impl Backup {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let config = self.options.load()?.config;
        let file = create_file(&self.file).map_err(|error| format!("the file {} cannot be made: {error}", self.file.display()))?;
        let mut unfinished = Unfinished { path: &self.file, finished: false };
        if self.offline {
            runtime()?.block_on(async {
                let store = Embedded::open(&config.store, &config.changelog)?;
                let app = self.app.as_deref().map(|word| registry::in_store(&store, word)).transpose()?;
                let one = app.as_deref().map(|app| OneApp { app, is_note_of: registry::is_note_of });
                let result = store.backup_of(one, BufWriter::new(&file), &mut |copied| {
                    eprint!("\r{} objects, {} MiB", copied.objects, copied.bytes >> 20);
                });
                eprintln!();
                let position = result?;
                store.close().await?;
                println!("position {position}");
                Ok::<(), Failure>(())
            })?;
        } else {
            if self.administration.admin_password.is_none() {
                return Err("give the password of root in TIDEGATE_ADMIN_PASSWORD, or use --offline".into());
            }
            runtime()?.block_on(fetch(&self.administration, &config.server, self.app.as_deref(), &file))?;
        }
        file.sync_all()?;
        unfinished.finished = true;
        println!("written to {}", self.file.display());
        Ok(())
    }
}

/// Removes a file that did not become a whole backup.
struct Unfinished<'a> {
    path: &'a Path,
    finished: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(self.path);
        }
    }
}

async fn fetch(
    administration: &AdministrationArgs,
    server: &ServerOptions,
    app: Option<&str>,
    file: &std::fs::File,
) -> Result<(), Failure> {
    let path = app.map_or_else(|| "/backup".to_owned(), |app| format!("/backup?app={}", encode_component(app)));
    let answer = administration.sign_in(server).await?.ask(Method::POST, &path, Media::Json, None).await?;
    let (mut to, mut bytes) = (BufWriter::new(file), 0);
    let mut stream = answer.pieces();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        bytes += piece.len();
        to.write_all(&piece)?;
        eprint!("\r{} MiB", bytes >> 20);
    }
    eprintln!();
    to.flush()?;
    Ok(())
}
