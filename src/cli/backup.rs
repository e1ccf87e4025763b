//! `tidegate backup`: a consistent copy, of a running server or of a directory at rest.

use super::{ConfigArgs, Failure, runtime};
use crate::store::Store;
use crate::store::embedded::{Embedded, backup::create_file};
use futures_util::StreamExt;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Copy the store of a running server into a file, consistently, while writes go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate backup tidegate.backup\n  \
    tidegate backup tidegate.backup --api http://10.0.0.5:8080/v1 --admin http://10.0.0.5:8081\n  \
    tidegate backup tidegate.backup --offline --data /var/lib/tidegate\n\n\
    The file holds the secrets that sign tokens: keep it as safe as the data. `tidegate restore` builds a directory from it.")]
pub struct Backup {
    /// The file to write; it must not be there
    file: PathBuf,
    #[command(flatten)]
    options: ConfigArgs,
    /// Password of the administrator `root`
    #[arg(long, value_name = "PW", env = "TIDEGATE_ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
    /// URL of the API, with its base [default: from the configuration]
    #[arg(long, value_name = "URL", env = "TIDEGATE_SERVER_URL")]
    api: Option<String>,
    /// URL of the listener of administration [default: from the configuration]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
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
                let result = store.backup(BufWriter::new(&file), &mut |copied| {
                    eprint!("\r{} objects, {} MiB", copied.objects, copied.bytes >> 20);
                });
                eprintln!();
                let position = result?;
                store.close().await?;
                println!("position {position}");
                Ok::<(), Failure>(())
            })?;
        } else {
            let password = self.admin_password.ok_or("give the password of root in TIDEGATE_ADMIN_PASSWORD, or use --offline")?;
            let server = &config.server;
            let api = self.api.unwrap_or_else(|| format!("http://{}/{}", server.listen, server.base));
            let admin = self.admin.unwrap_or_else(|| format!("http://{}", server.admin_listen));
            runtime()?.block_on(fetch(&api, &admin, &password, &file))?;
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

async fn fetch(api: &str, admin: &str, password: &str, file: &std::fs::File) -> Result<(), Failure> {
    let client = reqwest::Client::new();
    let login = serde_json::json!({"username": "root", "password": password});
    let answer = client.post(format!("{api}/db/User/login")).json(&login).send().await?;
    if !answer.status().is_success() {
        return Err(format!("the server at {api} refused the login of root: {}", message(answer).await).into());
    }
    let token = answer.headers().get("baqend-authorization-token").and_then(|token| token.to_str().ok());
    let token = token.ok_or_else(|| format!("{api} is no server of Tidegate: the login brought no token"))?;
    let answer = client.post(format!("{admin}/backup")).header("authorization", format!("BAT {token}")).send().await?;
    if !answer.status().is_success() {
        return Err(format!("the server at {admin} refused the backup: {}", message(answer).await).into());
    }
    let (mut to, mut bytes) = (BufWriter::new(file), 0);
    let mut stream = answer.bytes_stream();
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

/// What an error's body says.
async fn message(answer: reqwest::Response) -> String {
    let status = answer.status();
    let body: Option<serde_json::Value> = answer.json().await.ok();
    body.and_then(|body| body.get("message")?.as_str().map(str::to_owned)).unwrap_or_else(|| status.to_string())
}
