//! A file that is written whole or not at all.

use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A new file beside the one that it will replace. Dropped before [`Self::finish`], it is gone.
#[derive(Debug)]
pub(super) struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
}

/// Tells files of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl AtomicFile {
    pub fn create(path: &Path) -> Result<Self, Error> {
        let refused = |found: &str| {
            let remedy = "Give the path of a file, such as `run.safetensors`";
            Err(Error::file(path.display(), "a file to write", found, remedy))
        };
        if path.is_dir() {
            return refused("a folder");
        }
        // A link stays one: what it leads to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let Some(name) = path.file_name() else { return refused("no file's name") };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary);
        let file = file.map_err(|error| unwritable(&path, error))?;
        Ok(Self { path, temporary, file: Some(file) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|error| unwritable(&self.path, error))
    }

    /// Puts it in the other's place, once all is on the disk.
    pub fn finish(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let replaced = replace(&file, &self.temporary, &self.path);
        drop(file);
        if let Err(error) = replaced {
            remove(&self.temporary);
            return Err(unwritable(&self.path, error));
        }
        Ok(())
    }
}

fn replace(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    if let Ok(old) = path.metadata() {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    std::fs::rename(temporary, path)?;
    // The new name itself is on the disk once its folder is. Only Unix opens folders.
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            remove(&self.temporary);
        }
    }
}

/// What cannot be removed stays behind, and harms nobody.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    let remedy = "Check that the folder is there and may be written to, and that there is room; a \
                  file of this name is as it was";
    Error::file(path.display(), "a file that can be written", error, remedy)
}
