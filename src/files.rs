//! Files that others have written: read without being blocked by what is none, and no more of them than is sensible.

use std::fs::{File, FileType, Metadata, OpenOptions, metadata};
use std::io::{self, Read, stdin};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::fcntl::OFlag;
use thiserror::Error;

use crate::aside::asking;

/// Between two attempts to open a file that another process has a lease on.
const PAUSE: Duration = Duration::from_millis(20);

/// What stands for standard input on the command line.
pub(crate) const STDIN: &str = "-";

/// Why a file is not read, as it goes on after its name and "which".
#[derive(Debug, Error)]
pub(crate) enum Unreadable {
    /// The operating system says so.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Reading it may take forever, or never end.
    #[error("is {0}, not a regular file")]
    Irregular(&'static str),
    /// It is more than anyone would write.
    #[error("is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
}

/// Reads a regular file of at most `limit` bytes, through symlinks.
///
/// # Errors
/// When it is something else, or larger.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let _asking = asking(path.display().to_string());
    // First by name: to open a device may do something. Then what was opened: it may be another. Without waiting for the writer of a pipe.
    require_regular(&metadata(path)?)?;
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits());
    let file = loop {
        match options.open(path) {
            // Another process has a lease on it (fcntl(2)), as Samba has, and is asked to give it back.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE),
            opened => break opened?,
        }
    };
    let found = file.metadata()?;
    require_regular(&found)?;
    if found.len() > limit {
        return Err(Unreadable::TooLarge(limit));
    }
    read_to_end(file, path, limit)
}

/// Reads what the operator has named on the command line, which may be a pipe, or `-` for standard input: up to its end, at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, or is larger.
pub(crate) fn read_once(path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let _asking = asking(path.display().to_string());
    if path == Path::new(STDIN) { read_to_end(stdin().lock(), path, limit) } else { read_to_end(File::open(path)?, path, limit) }
}

/// What can be said of a file without reading it; `None` if it is none that [`read`] reads.
pub(crate) fn stat(path: &Path) -> Option<Metadata> {
    let _asking = asking(path.display().to_string());
    metadata(path).ok().filter(Metadata::is_file)
}

fn read_to_end(mut source: impl Read, path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    const CHUNK: u64 = 1 << 20;
    let mut content = Vec::new();
    while source.by_ref().take(CHUNK).read_to_end(&mut content)? > 0 {
        if content.len() as u64 > limit {
            return Err(Unreadable::TooLarge(limit));
        }
        // Slow is not silent.
        std::mem::forget(asking(path.display().to_string()));
    }
    Ok(content)
}

fn require_regular(found: &Metadata) -> Result<(), Unreadable> {
    if found.is_file() { Ok(()) } else { Err(Unreadable::Irregular(kind(found.file_type()))) }
}

fn kind(found: FileType) -> &'static str {
    match found {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn said(path: &Path) -> String {
        read(path, 10).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_of_a_sensible_size() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "0123456789").unwrap();
        std::fs::write(at("large"), "0123456789x").unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (link, to) in [("to-file", "file"), ("to-pipe", "pipe"), ("to-zero", "/dev/zero"), ("loop", "loop")] {
            symlink(to, at(link)).unwrap();
        }
        assert_eq!(read(&at("file"), 10).unwrap(), b"0123456789");
        assert_eq!(read(&at("to-file"), 10).unwrap(), b"0123456789");
        assert_eq!(said(&at("large")), "is larger than 0 MiB");
        assert_eq!(said(&at("pipe")), "is a named pipe, not a regular file");
        assert_eq!(said(&at("to-pipe")), "is a named pipe, not a regular file");
        assert_eq!(said(&at("socket")), "is a socket, not a regular file");
        assert_eq!(said(&at("to-zero")), "is a device, not a regular file");
        assert_eq!(said(folder.path()), "is a directory, not a regular file");
        assert!(said(&at("loop")).starts_with("cannot be read: "));
        assert!(said(&at("nothing")).starts_with("cannot be read: No such file"));
        assert!(stat(&at("file")).is_some() && stat(&at("pipe")).is_none() && stat(&at("nothing")).is_none());
    }

    #[test]
    fn what_is_read_once_may_be_a_pipe_but_not_endless() {
        assert_eq!(read_once(Path::new("/dev/null"), 10).unwrap(), b"");
        assert!(matches!(read_once(Path::new("/dev/zero"), 3 << 20), Err(Unreadable::TooLarge(_))));
    }
}
