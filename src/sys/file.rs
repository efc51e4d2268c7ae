//! Files: syncing, replacing atomically, names by pattern.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes the names in a directory durable. An empty path is the working directory.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    match File::open(dir)?.sync_all() {
        // Some file systems cannot sync a directory.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        outcome => outcome,
    }
}

/// Renames `from` to `to` and makes that durable. The contents of `from` must be synced already.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Replaces a file's contents: after a crash it holds either the old or the new text. Permissions
/// of the old file are kept.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // A symbolic link is kept: its target is replaced.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = std::fs::metadata(&path).map_or(0o644, |old| old.permissions().mode() & 0o7777);
    let mut name = path.file_name().unwrap_or(OsStr::new("file")).to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(contents)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        rename_durably(&temporary, &path)
    };
    let outcome = write();
    if outcome.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    outcome
}

/// The paths that a shell pattern matches, sorted; none when nothing does.
pub fn expand(pattern: &Path) -> Vec<PathBuf> {
    let Ok(pattern) = CString::new(pattern.as_os_str().as_bytes()) else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    // SAFETY: `list` is zeroed as `glob` wants, read only after success and only as long as the
    // count says, and freed once.
    unsafe {
        let mut list: libc::glob_t = std::mem::zeroed();
        if libc::glob(pattern.as_ptr(), 0, None, &raw mut list) == 0 {
            for index in 0..list.gl_pathc {
                let path = std::ffi::CStr::from_ptr(*list.gl_pathv.add(index));
                paths.push(PathBuf::from(OsStr::from_bytes(path.to_bytes())));
            }
        }
        libc::globfree(&raw mut list);
    }
    paths
}

/// Tells the system that a file was written to the end and will not be read again, so that its
/// pages need not stay in memory. Best effort.
pub fn forget_pages(file: &File) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open for the call.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_keeps_permissions_and_leaves_nothing_behind() {
        let dir = std::env::temp_dir().join(format!("redoxide-file-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.conf");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(expand(&dir.join("*")), [path]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
