//! Consistent copies of the store while writes go on, and how to restore them.
//!
//! A backup is one stream: `tidegate backup` and a line end, then frames of kind (1 byte), length (4 bytes), CRC-32 of the
//! payload (4 bytes; numbers are little-endian) and payload. The first frame is the header, the last the trailer with the
//! counts and a CRC-32 of all that came before it, so that a copy that was cut short or put together
//! wrongly is found out. It holds all objects, schemas, definitions of indexes, notes of ingest **and secrets** of one published state, not the log: keep
//! it as safe as the data directory.
//!
//! A copy may be of one app alone: then it has that app's objects, schemas, indexes and secrets, and the notes that are said
//! to be its own. It is restored as any other.
//!
//! A restored store is another store: its log gets a new id, so that every position from before is refused.

use super::directory::Directory;
use super::indexes::catalogue::read_note;
use super::indexes::changes::restored;
use super::keyspaces::create_engine;
use super::{Embedded, OpenError, keys, meta};
use crate::changelog::{Home, LogId, Position};
use crate::config::Durability;
use crate::store::is_secret_of;
use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode, Readable};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// The format that is written; older ones are read. 2: with the notes of ingest. 3: with indexes.
/// 4: without secrets that hold the ids of users by their names, which older versions would miss.
const FORMAT: u32 = 4;
const MAGIC: &[u8] = b"tidegate backup\n";
/// No frame is larger: the largest object, its key, and room.
const LARGEST: u32 = (1 << 30) + (1 << 20);
/// Bytes that are restored in one batch.
const BATCH: usize = 4 << 20;

/// Why there is no backup, or none that can be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The backup cannot be written or read
    #[error("the backup cannot be written or read: {0}")]
    Io(#[from] std::io::Error),
    /// The store cannot be read or written
    #[error("the store failed: {0}")]
    Engine(#[from] fjall::Error),
    /// Something else, or an older or newer format
    #[error("this is no backup of Tidegate")]
    Foreign,
    /// Written by a newer version
    #[error("the backup has format {0}, this version reads up to format {FORMAT}; install a newer version")]
    Newer(u32),
    /// Not as it was written
    #[error("the backup is damaged: {0}; use another copy")]
    Damaged(String),
    /// It ends before its trailer
    #[error("the backup is cut short; use another copy")]
    Truncated,
    /// The directory to restore into cannot be used
    #[error(transparent)]
    Directory(#[from] OpenError),
}

impl BackupError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            BackupError::Io(_) => "backup-io",
            BackupError::Engine(_) => "backup-engine",
            BackupError::Foreign => "backup-foreign",
            BackupError::Newer(_) => "backup-newer",
            BackupError::Damaged(_) => "backup-damaged",
            BackupError::Truncated => "backup-truncated",
            BackupError::Directory(error) => error.code(),
        }
    }
}

/// How far a backup or restore is; shown after about every megabyte and at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Objects copied
    pub objects: u64,
    /// Bytes copied, without the framing
    pub bytes: u64,
}

/// What the first frame says.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// In the log of the store that was copied
    position: String,
    state: meta::State,
}

/// What the last frame says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Trailer {
    copied: Progress,
    entries: u64,
    checksum: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Header = 1,
    Object = 2,
    Schema = 3,
    Secret = 4,
    Trailer = 5,
    Note = 6,
    Index = 7,
}

const KINDS: [Kind; 7] = [Kind::Header, Kind::Object, Kind::Schema, Kind::Secret, Kind::Trailer, Kind::Note, Kind::Index];

fn json(value: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    serde_json::to_vec(value).map_err(|error| BackupError::Damaged(error.to_string()))
}

struct FrameWriter<W> {
    to: W,
    checksum: crc32fast::Hasher,
}

impl<W: Write> FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.checksum.update(bytes);
        Ok(self.to.write_all(bytes)?)
    }

    fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), BackupError> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length <= LARGEST);
        let length = length.ok_or_else(|| BackupError::Damaged("an object is too large".into()))?;
        self.write(&[kind as u8])?;
        self.write(&length.to_le_bytes())?;
        self.write(&crc32fast::hash(payload).to_le_bytes())?;
        self.write(payload)
    }
}

struct FrameReader<R> {
    from: R,
    checksum: crc32fast::Hasher,
}

impl<R: Read> FrameReader<R> {
    fn read<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => BackupError::Truncated,
            _ => error.into(),
        })?;
        self.checksum.update(&bytes);
        Ok(bytes)
    }

    fn frame(&mut self) -> Result<(Kind, Vec<u8>), BackupError> {
        let [kind] = self.read::<1>()?;
        let kind = KINDS.into_iter().find(|known| *known as u8 == kind);
        let kind = kind.ok_or_else(|| BackupError::Damaged("a frame is of an unknown kind".into()))?;
        let length = u32::from_le_bytes(self.read()?);
        let checksum = u32::from_le_bytes(self.read()?);
        if length > LARGEST {
            return Err(BackupError::Damaged("a frame is too large".into()));
        }
        // Grows with what is there, not with what a damaged length promises.
        let mut payload = Vec::new();
        self.from.by_ref().take(u64::from(length)).read_to_end(&mut payload)?;
        if payload.len() < length as usize {
            return Err(BackupError::Truncated);
        }
        if crc32fast::hash(&payload) != checksum {
            return Err(BackupError::Damaged("a checksum does not fit".into()));
        }
        self.checksum.update(&payload);
        Ok((kind, payload))
    }
}

/// Shows progress now and then.
struct Meter<'a> {
    copied: Progress,
    shown: u64,
    show: &'a mut dyn FnMut(Progress),
}

impl<'a> Meter<'a> {
    fn new(show: &'a mut dyn FnMut(Progress)) -> Meter<'a> {
        Meter { copied: Progress::default(), shown: 0, show }
    }

    fn add(&mut self, kind: Kind, bytes: usize) {
        self.copied.objects += u64::from(kind == Kind::Object);
        self.copied.bytes += bytes as u64;
        if self.copied.bytes - self.shown >= 1 << 20 {
            self.shown = self.copied.bytes;
            (self.show)(self.copied);
        }
    }
}

/// Makes a new file that only its owner can read, as a backup holds secrets.
pub fn create_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// One app, of which alone a copy is made.
#[derive(Clone, Copy)]
pub(crate) struct OneApp<'a> {
    /// By its name in the store
    pub(crate) app: &'a str,
    /// Whether a note is about the app
    pub(crate) is_note_of: fn(app: &str, note: &[u8]) -> bool,
}

impl OneApp<'_> {
    /// Whether what stands under a key belongs to it.
    fn has(&self, kind: Kind, key: &[u8], value: &[u8]) -> Result<bool, BackupError> {
        Ok(match kind {
            Kind::Object | Kind::Schema => key.starts_with(&keys::app(self.app)),
            Kind::Secret => std::str::from_utf8(key).is_ok_and(|name| is_secret_of(name, self.app)),
            Kind::Note => (self.is_note_of)(self.app, key),
            Kind::Index => *read_note(value).map_err(BackupError::Damaged)?.app == *self.app,
            Kind::Header | Kind::Trailer => true,
        })
    }
}

impl Embedded {
    /// Writes a copy of the newest published state while writes go on, and tells its position. Blocks: call it on a
    /// thread that may. Wants a buffered writer and flushes it; syncing the file is the caller's.
    pub fn backup(&self, to: impl Write, progress: &mut dyn FnMut(Progress)) -> Result<Position, BackupError> {
        self.backup_of(None, to, progress)
    }

    /// The same of one app; none: of all.
    pub(crate) fn backup_of(
        &self,
        one: Option<OneApp<'_>>,
        to: impl Write,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Position, BackupError> {
        use crate::store::Snapshot;
        let snapshot = self.snapshot_now();
        let position = snapshot.position();
        let mut meter = Meter::new(progress);
        let mut frames = FrameWriter { to, checksum: crc32fast::Hasher::new() };
        frames.write(MAGIC)?;
        let header = Header { format: FORMAT, position: position.to_string(), state: snapshot.noted };
        frames.frame(Kind::Header, &json(&header)?)?;
        let mut entries = 0;
        let keyspaces = &self.keyspaces;
        let parts = [
            (Kind::Secret, &keyspaces.secrets),
            (Kind::Schema, &keyspaces.schemas),
            (Kind::Object, &keyspaces.objects),
            (Kind::Note, &keyspaces.notes),
            (Kind::Index, &keyspaces.index_notes),
        ];
        let mut payload = Vec::new();
        for (kind, keyspace) in parts {
            // Those of one app lie together.
            let prefix = match (one, kind) {
                (Some(one), Kind::Object | Kind::Schema) => keys::app(one.app),
                _ => Vec::new(),
            };
            for entry in snapshot.state.prefix(keyspace, prefix) {
                let (key, value) = entry.into_inner()?;
                if let Some(one) = one
                    && !one.has(kind, &key, &value)?
                {
                    continue;
                }
                payload.clear();
                payload.extend_from_slice(&(key.len() as u32).to_le_bytes());
                payload.extend_from_slice(&key);
                payload.extend_from_slice(&value);
                frames.frame(kind, &payload)?;
                entries += 1;
                meter.add(kind, key.len() + value.len());
            }
        }
        let trailer = Trailer { copied: meter.copied, entries, checksum: frames.checksum.clone().finalize() };
        frames.frame(Kind::Trailer, &json(&trailer)?)?;
        frames.to.flush()?;
        (meter.show)(meter.copied);
        Ok(position)
    }
}

/// Builds a data directory from a backup. `data` must be empty or not be there. What an interrupted or failed restore
/// leaves is never opened as a store. Returns the first position of the restored store. Blocks.
pub fn restore(from: impl Read, data: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Position, BackupError> {
    let mut frames = FrameReader { from, checksum: crc32fast::Hasher::new() };
    if frames.read::<16>()? != MAGIC {
        return Err(BackupError::Foreign);
    }
    let header = read_header(&mut frames)?;
    let directory = Directory::prepare(data)?;
    let (database, keyspaces) = create_engine(&directory, 64 << 20)?;
    let mut meter = Meter::new(progress);
    let mut batch = RestoreBatch::new(&database);
    let mut entries = 0;
    loop {
        // What the trailer's checksum covers ends here.
        let checksum = frames.checksum.clone().finalize();
        let (kind, payload) = frames.frame()?;
        let keyspace = match kind {
            Kind::Object => &keyspaces.objects,
            Kind::Schema => &keyspaces.schemas,
            Kind::Secret => &keyspaces.secrets,
            Kind::Note => &keyspaces.notes,
            Kind::Index => &keyspaces.index_notes,
            Kind::Header => return Err(BackupError::Damaged("it has two headers".into())),
            Kind::Trailer => {
                let trailer: Trailer = serde_json::from_slice(&payload).map_err(|error| BackupError::Damaged(error.to_string()))?;
                if trailer != (Trailer { copied: meter.copied, entries, checksum }) {
                    return Err(BackupError::Damaged("its parts do not belong together".into()));
                }
                break;
            }
        };
        let (key, value) = split_entry(&payload)?;
        if kind == Kind::Index {
            // The entries are not copied: they are made again when the store is opened.
            if let Some(note) = restored(value).map_err(BackupError::Damaged)? {
                batch.insert(keyspace, key, &note)?;
            }
        } else {
            batch.insert(keyspace, key, value)?;
        }
        entries += 1;
        meter.add(kind, key.len() + value.len());
    }
    batch.commit()?;
    let log = LogId::generate();
    // The log is empty and begins at the position of the copy: commit numbers go on.
    let state = meta::State { bytes: 0, records: 0, ..header.state };
    let note = |value: Result<Vec<u8>, String>| value.map_err(BackupError::Damaged);
    let mut notes = database.batch();
    notes.insert(&keyspaces.meta, meta::IDENTITY, note(meta::text(&meta::Identity::new(log, Home::default())))?);
    notes.insert(&keyspaces.meta, meta::STATE, note(meta::text(&state))?);
    notes.insert(&keyspaces.meta, meta::TRIMMED, note(meta::text(&state.tail()))?);
    notes.insert(&keyspaces.meta, meta::RUN, note(meta::text(&meta::Run { clean: true, durability: Durability::Disk }))?);
    notes.commit()?;
    database.persist(PersistMode::SyncAll)?;
    directory.complete()?;
    (meter.show)(meter.copied);
    Ok(Position::single(log, state.commit))
}

fn read_header<R: Read>(frames: &mut FrameReader<R>) -> Result<Header, BackupError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let (kind, payload) = frames.frame()?;
    let damaged = |error: serde_json::Error| BackupError::Damaged(error.to_string());
    if kind != Kind::Header {
        return Err(BackupError::Damaged("it has no header".into()));
    }
    let Format { format } = serde_json::from_slice(&payload).map_err(damaged)?;
    if format > FORMAT {
        return Err(BackupError::Newer(format));
    }
    serde_json::from_slice(&payload).map_err(damaged)
}

fn split_entry(payload: &[u8]) -> Result<(&[u8], &[u8]), BackupError> {
    let split = payload.split_first_chunk::<4>().and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
    let longest = usize::from(u16::MAX);
    split.filter(|(key, _)| !key.is_empty() && key.len() <= longest).ok_or_else(|| BackupError::Damaged("an entry has no key".into()))
}

/// Entries on their way into the engine.
struct RestoreBatch<'a> {
    database: &'a Database,
    batch: OwnedWriteBatch,
    bytes: usize,
}

impl<'a> RestoreBatch<'a> {
    fn new(database: &'a Database) -> RestoreBatch<'a> {
        RestoreBatch { database, batch: database.batch(), bytes: 0 }
    }

    fn insert(&mut self, keyspace: &Keyspace, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        self.batch.insert(keyspace, key, value);
        self.bytes += key.len() + value.len();
        if self.bytes >= BATCH { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), BackupError> {
        self.bytes = 0;
        Ok(std::mem::replace(&mut self.batch, self.database.batch()).commit()?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_backup_is_refused_before_anything_is_made() {
        let mut frames = FrameWriter { to: Vec::new(), checksum: crc32fast::Hasher::new() };
        frames.write(MAGIC).unwrap();
        frames.frame(Kind::Header, br#"{"format":5,"novel":true}"#).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(matches!(restore(&frames.to[..], &data, &mut |_| {}), Err(BackupError::Newer(5))));
        assert!(matches!(restore(&b"something else altogether"[..], &data, &mut |_| {}), Err(BackupError::Foreign)));
        assert!(!data.exists());
    }
}
