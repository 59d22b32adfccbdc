//! The file of a Unix socket: stale ones replaced, living ones respected, rights set before anyone can connect.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FlockOperation, Gid, Mode, OFlags, Uid, chmodat, chownat, flock, fstat, mkdirat, open, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
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
    /// A socket at `path` (at most 107 bytes), mode `0660`, owned by the process's user and group.
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

    pub(super) fn bind(&self, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
        let name = self.path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
        // Between looking whether the path is taken and taking it no other process may do the same.
        let folder = locked(&self.path)?;
        self.refuse_if_taken()?;
        // Bound in a folder that only this process can enter, and moved when it has its rights: nobody meets a socket without them, nobody
        // can put something else in its place while it gets them, and a stale file is replaced in one step.
        let private = Private::new(&folder, &self.path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&private.address(name)?)?;
        let found = statat(&private.folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        chownat(&private.folder, name, self.user.map(Uid::from_raw), self.group.map(Gid::from_raw), AtFlags::SYMLINK_NOFOLLOW)?;
        chmodat(&private.folder, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        renameat(&private.folder, name, &folder, name)?;
        let place = SocketPlace { path: self.path.clone(), device: found.st_dev, inode: found.st_ino };
        Ok((socket.into(), SocketFile(place)))
    }

    fn refuse_if_taken(&self) -> io::Result<()> {
        let found = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is not a socket"));
        }
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A process that has stopped accepting would keep us waiting.
        probe.set_nonblocking(true)?;
        let taken = |what| Err(io::Error::new(io::ErrorKind::AddrInUse, what));
        match probe.connect(&SockAddr::unix(&self.path)?) {
            Ok(()) => taken("another process listens on this socket"),
            // Nobody listens: a process that is gone left it behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                taken("another process listens on this socket, but accepts no connections: it may hang")
            }
            Err(error) => Err(error),
        }
    }
}

/// The folder of `path`, with a lock on it that lasts as long as it is open. Where a file system has no locks there is none.
fn locked(path: &Path) -> io::Result<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let end = Instant::now() + LOCK_LIMIT;
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process holds a lock on the folder"));
            }
            _ => return Ok(folder),
        }
    }
}

/// How long the folder's lock is waited for: others hold it for the blink of an eye.
const LOCK_LIMIT: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A folder within the socket's, for this process alone. Removed when dropped.
struct Private<'a> {
    parent: &'a OwnedFd,
    name: String,
    folder: OwnedFd,
    path: PathBuf,
}

impl<'a> Private<'a> {
    fn new(parent: &'a OwnedFd, socket: &Path) -> io::Result<Self> {
        let name = format!(".{}", std::process::id());
        let path = socket.with_file_name(&name);
        // What a process of that number has left behind that was killed.
        let _ = fs::remove_dir_all(&path);
        mkdirat(parent, &name, Mode::RWXU)?;
        let folder =
            openat(parent, &name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let found = fstat(&folder)?;
        let is_ours = found.st_uid == geteuid().as_raw() && Mode::from_raw_mode(found.st_mode).contains(Mode::RWXU);
        if !is_ours || Mode::from_raw_mode(found.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user changes the folder meanwhile"));
        }
        Ok(Self { parent, name, folder, path })
    }

    /// The path of `file` within, as tools show it; if that is too long for a socket, by way of the descriptor.
    fn address(&self, file: &OsStr) -> io::Result<SockAddr> {
        let by_descriptor = || Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(file);
        SockAddr::unix(self.path.join(file)).or_else(|_| SockAddr::unix(by_descriptor()))
    }
}

impl Drop for Private<'_> {
    fn drop(&mut self) {
        // Empty, if all went well.
        if unlinkat(self.parent, &self.name, AtFlags::REMOVEDIR).is_err() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Where a socket's file is, or was.
#[derive(Clone, Debug)]
pub(crate) struct SocketPlace {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketPlace {
    /// Whether the file is still there, and not another in its place.
    pub(crate) fn is_kept(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }
}

/// Removes the socket's file when dropped, unless another process has put its own there meanwhile.
#[derive(Debug)]
pub(crate) struct SocketFile(SocketPlace);

#[cfg_attr(not(feature = "bridge"), allow(dead_code, reason = "the bridge looks after its files"))]
impl SocketFile {
    pub(crate) fn place(&self) -> SocketPlace {
        self.0.clone()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without the lock it may be another's by the time that it is removed.
        if let Ok(_folder) = locked(&self.0.path)
            && self.0.is_kept()
        {
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixStream;

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

    /// Whoever may write to the folder moves the private one away and puts a link in its place: what is done goes to the one that was opened.
    #[test]
    fn rights_do_not_follow_what_is_put_in_the_way() {
        let folder = folder();
        let (path, victims) = (folder.path().join("spop.sock"), folder.path().join("victims"));
        fs::create_dir(&victims).unwrap();
        fs::write(victims.join("spop.sock"), "precious").unwrap();
        fs::set_permissions(victims.join("spop.sock"), fs::Permissions::from_mode(0o600)).unwrap();
        let parent = locked(&path).unwrap();
        let private = Private::new(&parent, &path).unwrap();
        let name = OsStr::new("spop.sock");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&private.address(name).unwrap()).unwrap();
        fs::rename(&private.path, folder.path().join("away")).unwrap();
        symlink(&victims, &private.path).unwrap();
        chmodat(&private.folder, name, Mode::from_raw_mode(0o666), AtFlags::empty()).unwrap();
        let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((rights(&victims.join("spop.sock")), rights(&folder.path().join("away/spop.sock"))), (0o600, 0o666));
        drop(private);
        assert_eq!(fs::read_to_string(victims.join("spop.sock")).unwrap(), "precious");
    }

    /// A link in the place of the private folder, from the beginning.
    #[test]
    fn a_link_in_the_place_of_the_private_folder_is_not_entered() {
        let folder = folder();
        let (path, victims) = (folder.path().join("spop.sock"), folder.path().join("victims"));
        fs::create_dir(&victims).unwrap();
        fs::write(victims.join("spop.sock"), "precious").unwrap();
        symlink(&victims, folder.path().join(format!(".{}", std::process::id()))).unwrap();
        let _ = UnixSocket::new(&path).mode(0o666).bind(16);
        assert_eq!(fs::read_to_string(victims.join("spop.sock")).unwrap(), "precious");
        assert_eq!(fs::metadata(victims.join("spop.sock")).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_listener_that_hangs_is_no_reason_to_wait() {
        let folder = folder();
        let path = folder.path().join("spop.sock");
        let hung = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        hung.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        hung.listen(0).unwrap();
        let _in_the_backlog = UnixStream::connect(&path).unwrap();
        assert_eq!(UnixSocket::new(&path).bind(16).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
