//! `tidegate export`: all objects of a bucket into a file.

use super::bucket::{Bucket, BucketArgs};
use super::{ConfigArgs, Failure, runtime};
use crate::object::id::encode_component;
use futures_util::StreamExt;
use hyper::Method;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Write all objects of a bucket as lines of JSON, with their access lists, of one state of the data.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate export Lot lots.ndjson\n  \
    tidegate export Lot lots.ndjson --resume\n  \
    tidegate export Lot --api https://db.example.org/shop | gzip > lots.ndjson.gz\n\n\
    Credentials are never in it.")]
pub struct Export {
    #[command(flatten)]
    bucket: BucketArgs,
    /// The file to write; it must not be there, but for --resume. Without one: standard output
    file: Option<PathBuf>,
    /// Go on with a file that was broken off
    #[arg(long, requires = "file")]
    resume: bool,
    #[command(flatten)]
    options: ConfigArgs,
}

impl Export {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let config = self.options.load()?.config;
        let (to, after): (Box<dyn Write>, _) = match &self.file {
            None => (Box::new(std::io::stdout().lock()), None),
            Some(path) if self.resume => {
                let (file, after) = reopen(path)?;
                (Box::new(file), after)
            }
            Some(path) => {
                let file = make(path).map_err(|error| format!("the file {} cannot be made: {error}", path.display()))?;
                (Box::new(file), None)
            }
        };
        let count = runtime()?.block_on(self.fetch(&config.server, to, after))?;
        eprintln!("{count} objects");
        Ok(())
    }

    async fn fetch(&self, server: &crate::config::ServerOptions, to: Box<dyn Write>, after: Option<String>) -> Result<u64, Failure> {
        let bucket = Bucket::open(&self.bucket, server).await?;
        let query = after.map_or_else(String::new, |after| format!("?after={}", encode_component(&after)));
        let mut stream = bucket.ask(Method::GET, &query, None).await?.pieces();
        let (mut to, mut bytes) = (BufWriter::new(to), 0);
        // The end of what came: the last line is in it, as that of an export is short.
        let mut tail = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| format!("the export broke off: {error}; go on with --resume"))?;
            bytes += piece.len();
            to.write_all(&piece)?;
            tail.extend_from_slice(&piece);
            tail.drain(..tail.len().saturating_sub(8 << 10));
            eprint!("\r{} MiB", bytes >> 20);
        }
        eprintln!();
        to.flush()?;
        let last = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let last: serde_json::Value = serde_json::from_slice(last).unwrap_or_default();
        match last["objects"].as_u64() {
            Some(count) if last["tidegate"] == "end" => Ok(count),
            _ => Err("the export ended early; go on with --resume".into()),
        }
    }
}

/// A new file, which is its owner's alone: objects that few may read are in it.
fn make(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The file, cut behind its last whole object, and that object's id.
fn reopen(path: &Path) -> Result<(File, Option<String>), Failure> {
    let named = |error: std::io::Error| format!("the file {} cannot be gone on with: {error}", path.display());
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(named)?;
    let (mut end, mut after) = (0u64, None);
    let mut lines = BufReader::new(&file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line).map_err(named)?;
        let Some(object) = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Line>(line).ok()) else { break };
        if object.tidegate.as_deref() == Some("end") {
            return Err(format!("the export in {} is whole", path.display()).into());
        }
        end += read as u64;
        after = object.id.or(after);
    }
    file.set_len(end).map_err(named)?;
    file.seek(SeekFrom::End(0)).map_err(named)?;
    Ok((file, after))
}

#[derive(serde::Deserialize)]
struct Line {
    id: Option<String>,
    tidegate: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn a_file_is_its_owners_alone_and_never_written_over() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lots.ndjson");
        let file = super::make(&path).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(super::make(&path).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    }
}
