//! The file of a Unix socket: stale ones replaced, living ones respected, rights set before anyone can connect.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Where and with which rights a Unix socket is bound.
///
/// Connecting needs write permission on the file, so HAProxy's user must be the owner, in the group, or anyone, as the mode says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    path: PathBuf,
    mode: u32,
    user: Option<u32>,
    group: Option<u32>,
}

impl UnixSocket {
    /// A socket at `path` (at most 99 bytes: the operating system allows 107, and it is first bound under a longer name), mode `0660`, owned by the process's user and group.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o660, user: None, group: None }
    }

    /// The file's permission bits, `0o000` to `0o777`; more is cut off.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode & 0o777;
        self
    }

    /// The file's owner, as numbers. Changing the user needs the capability `CAP_CHOWN`; a group must be one of the process's.
    #[must_use]
    pub fn owner(mut self, user: Option<u32>, group: Option<u32>) -> Self {
        self.user = user;
        self.group = group;
        self
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bind(&self, backlog: i32) -> io::Result<(UnixListener, UnixSocketFile)> {
        self.refuse_if_taken()?;
        // Bound under a name of our own and renamed when it has its rights: nobody meets a socket without them, and a stale
        // file is replaced in one step.
        let mut name = OsString::from(self.path.as_os_str());
        name.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(name);
        let _ = fs::remove_file(&temporary);
        let listener = self.bind_at(&temporary, backlog).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
        let inode = fs::metadata(&self.path)?.ino();
        Ok((listener, UnixSocketFile { path: self.path.clone(), inode }))
    }

    fn bind_at(&self, temporary: &Path, backlog: i32) -> io::Result<UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(temporary)?)?;
        chown(temporary, self.user, self.group)?;
        fs::set_permissions(temporary, fs::Permissions::from_mode(self.mode))?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        fs::rename(temporary, &self.path)?;
        Ok(socket.into())
    }

    fn refuse_if_taken(&self) -> io::Result<()> {
        let found = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is not a socket"));
        }
        match UnixStream::connect(&self.path) {
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
            // Nobody listens: a process that is gone left it behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Removes the socket's file when dropped, unless another process has put its own there meanwhile.
#[derive(Debug)]
pub(super) struct UnixSocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for UnixSocketFile {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn stale_sockets_are_replaced_and_removed_at_the_end() {
        let folder = folder();
        let path = folder.path().join("spop.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file behind");
        let (listener, file) = UnixSocket::new(&path).mode(0o600).bind(16).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop((listener, file));
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn living_sockets_and_other_files_are_refused_untouched() {
        let folder = folder();
        let path = folder.path().join("spop.sock");
        let _living = UnixListener::bind(&path).unwrap();
        assert_eq!(UnixSocket::new(&path).bind(16).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert_eq!(UnixSocket::new(&file).bind(16).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn a_successors_socket_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("spop.sock");
        let (listener, file) = UnixSocket::new(&path).bind(16).unwrap();
        drop(listener);
        let (_successor, _file) = UnixSocket::new(&path).bind(16).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }
}
