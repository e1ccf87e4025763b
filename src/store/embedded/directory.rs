//! The data directory: who holds it, in which format it is, how it gets to the next.
//!
//! `lock` is held by the process that uses it, `format` names the version, `store/` belongs to the engine. While a
//! backup is being restored there is `restoring` as well; a directory with it is not complete.

use super::OpenError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The format that this version writes. 2: no secret says who has which user name, the built-in index alone does.
pub(super) const FORMAT: u32 = 2;

/// Brings a directory from one format to the next. Must be safe to repeat after it was interrupted.
pub(super) type Migration = fn(&Path) -> Result<(), String>;

/// The step from format `n` to `n + 1` stands at `n - 1`.
pub(super) const MIGRATIONS: [Migration; FORMAT as usize - 1] = [
    // Needs the objects, so it is done behind this whenever a store is opened (`indexes::users`), and noted in the store. The number
    // keeps older versions away, which would find nobody by his name.
    |_| Ok(()),
];

const FIRST_LINE: &str = "tidegate data, format ";

/// A data directory that nobody else uses.
pub(super) struct Directory {
    path: PathBuf,
    /// Released when it is closed
    _lock: File,
}

impl Directory {
    /// Takes a directory, makes it if it is not there, and brings it to the current format.
    pub(super) fn open(path: &Path) -> Result<Directory, OpenError> {
        Directory::open_format(path, &MIGRATIONS)
    }

    /// The format is one more than there are migrations.
    fn open_format(path: &Path, migrations: &[Migration]) -> Result<Directory, OpenError> {
        let directory = Directory::take(path)?;
        if path.join("restoring").exists() {
            return Err(OpenError::Incomplete { path: path.into() });
        }
        let known = migrations.len() as u32 + 1;
        let mut format = match std::fs::read_to_string(path.join("format")) {
            Ok(text) => read_format(&text).ok_or_else(|| OpenError::Foreign { path: path.into() })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if !is_empty(path)? {
                    return Err(OpenError::Foreign { path: path.into() });
                }
                directory.write_format(known)?;
                known
            }
            Err(error) => return Err(io(path, error)),
        };
        if format > known || format == 0 {
            return Err(OpenError::Newer { path: path.into(), found: format, known });
        }
        while format < known {
            let step = migrations[format as usize - 1];
            step(path).map_err(|reason| OpenError::Migration { path: path.into(), from: format, reason })?;
            format += 1;
            directory.write_format(format)?;
            tracing::info!(format, "the data directory was brought to a newer format");
        }
        Ok(directory)
    }

    /// Takes a directory for a restore: it must be empty. [`Directory::complete`] ends that.
    pub(super) fn prepare(path: &Path) -> Result<Directory, OpenError> {
        let directory = Directory::take(path)?;
        if path.join("format").exists() || path.join("restoring").exists() || !is_empty(path)? {
            return Err(OpenError::NotEmpty { path: path.into() });
        }
        write_durably(path, "restoring", "a backup is being restored\n").map_err(|error| io(path, error))?;
        Ok(directory)
    }

    /// The directory that [`Directory::prepare`] began is whole.
    pub(super) fn complete(&self) -> Result<(), OpenError> {
        self.write_format(FORMAT)?;
        std::fs::remove_file(self.path.join("restoring")).and_then(|()| sync(&self.path)).map_err(|error| io(&self.path, error))
    }

    /// Where the engine keeps its files.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Makes the engine's directory before the engine does, so that it is private from the start.
    pub(super) fn create_store(&self) -> Result<(), OpenError> {
        create_private(&self.store()).and_then(|()| restrict(&self.store())).map_err(|error| io(&self.path, error))
    }

    fn take(path: &Path) -> Result<Directory, OpenError> {
        create_private(path).map_err(|error| io(path, error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock")).map_err(|error| io(path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.into() }),
            Err(TryLockError::Error(error)) => Err(io(path, error)),
        }
    }

    fn write_format(&self, format: u32) -> Result<(), OpenError> {
        write_durably(&self.path, "format", &format!("{FIRST_LINE}{format}\n")).map_err(|error| io(&self.path, error))
    }
}

fn io(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { path: path.into(), reason: source.to_string() }
}

fn read_format(text: &str) -> Option<u32> {
    text.lines().next()?.strip_prefix(FIRST_LINE)?.trim().parse().ok()
}

/// Nothing but our lock, or what a file system puts there.
fn is_empty(path: &Path) -> Result<bool, OpenError> {
    for entry in std::fs::read_dir(path).map_err(|error| io(path, error))? {
        let name = entry.map_err(|error| io(path, error))?.file_name();
        if !["lock", "lost+found", "format.new", "restoring.new"].iter().any(|own| name == *own) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The directory holds secrets, so nobody else may look into it.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Takes a directory's rights from everybody but its owner.
fn restrict(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

fn write_durably(directory: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(name))?;
    sync(directory)
}

fn sync(directory: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn format(path: &Path) -> String {
        std::fs::read_to_string(path.join("format")).unwrap()
    }

    fn leave(path: &Path, name: &str) -> Result<(), String> {
        std::fs::write(path.join(name), "").map_err(|error| error.to_string())
    }

    #[test]
    fn an_older_directory_is_brought_on_step_by_step() {
        let dir = tempfile::tempdir().unwrap();
        drop(Directory::open_format(dir.path(), &[]).unwrap());
        assert_eq!(format(dir.path()), "tidegate data, format 1\n");
        let broken: [Migration; 2] = [|path| leave(path, "first"), |_| Err("no".into())];
        assert!(matches!(Directory::open_format(dir.path(), &broken), Err(OpenError::Migration { from: 2, .. })));
        assert_eq!(format(dir.path()), "tidegate data, format 2\n");
        // The step that is done is not done again.
        let steps: [Migration; 2] = [|_| Err("again".into()), |path| leave(path, "second")];
        drop(Directory::open_format(dir.path(), &steps).unwrap());
        assert_eq!(format(dir.path()), "tidegate data, format 3\n");
        assert!(dir.path().join("first").exists() && dir.path().join("second").exists());
    }

    #[test]
    fn a_newer_directory_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(Directory::open_format(dir.path(), &[|_| Ok(())]).unwrap());
        let error = Directory::open_format(dir.path(), &[]).err().unwrap();
        assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
        assert!(error.to_string().contains("newer version"), "{error}");
        assert_eq!(format(dir.path()), "tidegate data, format 2\n");
    }

    #[test]
    fn a_directory_is_one_process_s_and_must_be_ours() {
        let dir = tempfile::tempdir().unwrap();
        let held = Directory::open(dir.path()).unwrap();
        assert!(matches!(Directory::open(dir.path()), Err(OpenError::Locked { .. })));
        drop(held);
        drop(Directory::open(dir.path()).unwrap());
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("letters.txt"), "private").unwrap();
        assert!(matches!(Directory::open(other.path()), Err(OpenError::Foreign { .. })));
        assert!(matches!(Directory::prepare(other.path()), Err(OpenError::NotEmpty { .. })));
    }

    #[test]
    fn a_half_restored_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let restoring = Directory::prepare(dir.path()).unwrap();
        drop(restoring);
        assert!(matches!(Directory::open(dir.path()), Err(OpenError::Incomplete { .. })));
        assert!(matches!(Directory::prepare(dir.path()), Err(OpenError::NotEmpty { .. })));
    }
}
