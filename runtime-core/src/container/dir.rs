//! The state root, and the directory that a container has in it.
//!
//! Making the directory takes the name; its lock says who may change it. Everything inside is reached through a
//! descriptor of the directory, so a container that is removed and made anew is never mistaken for the old one.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, mkdir, mkfifoat, unlinkat};

use super::lock::{self, Lock};
use crate::error::{At, Code, Error, Result};
use crate::sys::dirents::{Kind, entries, exists};

#[cfg(test)]
mod tests;

/// The gate that keeps a created container from running.
const FIFO: &str = "exec.fifo";
/// Its presence makes the container known; the last file that is written and the first that goes.
pub(super) const STATE: &str = "state.json";
/// How long another process may work on a container before we give up.
pub(super) const LOCK_LIMIT: Duration = Duration::from_secs(8);
/// Attempts against others who make or remove the same thing at the same time.
const ATTEMPTS: usize = 16;
/// Directories in each other that are removed along with a state directory. We make none; others may.
const DEPTH: usize = 8;

/// Whether `id` can be the name of a container: it becomes a directory, a cgroup and a word of a command line.
pub(crate) fn valid_id(id: &str) -> Result<()> {
    let refuse = |reason: &str| {
        let shown: String = if id.chars().count() > 64 {
            id.chars().take(64).chain(['…']).collect()
        } else {
            id.to_owned()
        };
        Err(Error::new(Code::InvalidId, "container id")
            .operand(shown)
            .reason(reason))
    };
    match id {
        "" => refuse("must not be empty"),
        "." | ".." => refuse("must not be . or .."),
        _ if id.len() > 255 => refuse("must not be longer than 255 characters"),
        _ if id.starts_with('-') => refuse("must not start with a dash"),
        _ if !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte)) =>
        {
            refuse("must consist of letters, digits and the characters _ + . -")
        }
        _ => Ok(()),
    }
}

/// The directory that has a subdirectory for every container.
#[derive(Debug, Clone)]
pub(crate) struct StateRoot {
    path: PathBuf,
}

impl StateRoot {
    /// The state root at `path`, which need not exist yet.
    pub(crate) fn new(path: impl AsRef<Path>) -> Result<StateRoot> {
        let path = path.as_ref();
        let refuse = |reason: &str| {
            Error::new(Code::InvalidConfig, "state root")
                .operand(path)
                .reason(reason)
        };
        let absolute = std::path::absolute(path).map_err(|error| refuse(&error.to_string()))?;
        // Names that do not exist yet can only be resolved by their letters.
        let mut clean = PathBuf::new();
        for component in absolute.components() {
            match component {
                Component::ParentDir => drop(clean.pop()),
                other => clean.push(other),
            }
        }
        if clean.parent().is_none() {
            return Err(refuse("must not be the root of the file system"));
        }
        Ok(StateRoot { path: clean })
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the name `id` and locks its new directory. Of any number of callers one succeeds.
    pub(crate) fn claim(&self, id: &str) -> Result<(StateDir, Lock)> {
        valid_id(id)?;
        let path = self.path.join(id);
        let taken = || {
            Error::new(Code::Exists, "claim container")
                .operand(id)
                .reason("container with given ID already exists")
        };
        for _ in 0..ATTEMPTS {
            match mkdir(&path, Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => return Err(taken()),
                Err(Errno::ENOENT) => {
                    self.make()?;
                    continue;
                }
                Err(errno) => return Err(errno).at_path("make state directory", &path),
            }
            // Until it is locked the directory may be removed, and even be made again by somebody else: then the
            // name is theirs if they have put anything there, and ours otherwise.
            let dir = match self.open(id) {
                Err(error) if error.code() == Code::NotFound => continue,
                dir => dir?,
            };
            let lock = lock::lock(dir.fd(), &path, LOCK_LIMIT)?;
            match entries(dir.fd()) {
                Ok(found) if found.is_empty() => return Ok((dir, lock)),
                Ok(_) => return Err(taken()),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno).at_path("read state directory", &path),
            }
        }
        Err(Error::new(Code::Exists, "claim container")
            .operand(id)
            .reason("others keep removing it"))
    }

    /// The directory of the container `id`.
    pub(crate) fn open(&self, id: &str) -> Result<StateDir> {
        valid_id(id)?;
        let path = self.path.join(id);
        match open(&path, directory(), Mode::empty()) {
            Ok(fd) => Ok(StateDir {
                fd,
                path,
                id: id.to_owned(),
            }),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Err(unknown(id)),
            Err(errno) => Err(errno).at_path("open state directory", path),
        }
    }

    /// The ids of all containers, sorted; also of those that are being made or removed, or were left behind.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let root = match open(
            &self.path,
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            Ok(root) => root,
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(errno).at_path("open state root", &self.path),
        };
        let found = match entries(root.as_fd()) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(errno).at_path("read state root", &self.path),
        };
        let mut ids: Vec<String> = found
            .into_iter()
            .filter(|(name, kind)| match kind {
                Kind::Directory => true,
                Kind::Unknown => openat(&root, name.as_c_str(), directory(), Mode::empty()).is_ok(),
                Kind::Other => false,
            })
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| valid_id(name).is_ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn make(&self) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .at_path("make state root", &self.path)
    }
}

fn directory() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// One name, so that whatever a killed writer leaves is used again.
fn temporary(name: &str) -> String {
    format!(".{name}")
}

fn unknown(id: &str) -> Error {
    Error::new(Code::NotFound, "find container")
        .operand(id)
        .reason("container does not exist")
}

/// The directory of one container.
#[derive(Debug)]
pub(crate) struct StateDir {
    fd: OwnedFd,
    path: PathBuf,
    id: String,
}

impl StateDir {
    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The container.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the lock. A container that is removed meanwhile is not found any more.
    pub(crate) fn lock(&self) -> Result<Lock> {
        self.lock_within(LOCK_LIMIT)
    }

    /// Waits for the lock for `limit` at most.
    pub(crate) fn lock_within(&self, limit: Duration) -> Result<Lock> {
        let lock = lock::lock(self.fd(), &self.path, limit)?;
        self.check_alive()?;
        Ok(lock)
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>> {
        let lock = lock::try_lock(self.fd(), &self.path)?;
        if lock.is_some() {
            self.check_alive()?;
        }
        Ok(lock)
    }

    fn check_alive(&self) -> Result<()> {
        match exists(self.fd()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(unknown(&self.id)),
            Err(errno) => Err(errno).at_path("read state directory", &self.path),
        }
    }

    /// Writes a file that does not exist yet. Who reads it before it is complete sees less of it.
    pub(crate) fn write_new(&self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.put(name, bytes, mode, OFlag::O_EXCL)
    }

    /// Writes what [`publish`](Self::publish) makes the content of a file: who reads that sees all of the old or all
    /// of the new content. Needs the lock.
    pub(crate) fn stage(&self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.put(&temporary(name), bytes, mode, OFlag::O_TRUNC)
    }

    /// Makes what was staged the content of a file, all at once. Needs the lock.
    pub(crate) fn publish(&self, name: &str) -> Result<()> {
        renameat(&self.fd, temporary(name).as_str(), &self.fd, name).at_path("replace", self.path.join(name))
    }

    fn put(&self, name: &str, bytes: &[u8], mode: u32, how: OFlag) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | how;
        let file = openat(&self.fd, name, flags, Mode::from_bits_truncate(mode))
            .at_path("create", self.path.join(name))?;
        File::from(file)
            .write_all(bytes)
            .at_path("write", self.path.join(name))
    }

    /// Reads a file of `limit` bytes at most.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let refuse = |error: Error| error.operand(self.path.join(name)).with_code(Code::State);
        // Not to hang on a FIFO that somebody has put there.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.fd, name, flags, Mode::empty())
            .at("read")
            .map_err(refuse)?;
        let file = File::from(file);
        // With one byte to spare the end shows without another allocation.
        let size = file
            .metadata()
            .map_or(0, |metadata| metadata.len() as usize)
            .min(limit);
        let mut bytes = Vec::with_capacity(size + 1);
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .at("read")
            .map_err(refuse)?;
        if bytes.len() > limit {
            return Err(refuse(
                Error::new(Code::State, "read").reason(format!("larger than {limit} bytes")),
            ));
        }
        Ok(bytes)
    }

    /// Makes the gate and opens it for init, which waits at it by reading one byte.
    pub(crate) fn make_fifo(&self) -> Result<OwnedFd> {
        let path = || self.path.join(FIFO);
        mkfifoat(&self.fd, FIFO, Mode::S_IRUSR | Mode::S_IWUSR).at_path("make exec fifo", path())?;
        // For writing as well: init's own end keeps the gate from reading as closed while nobody else has it open.
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.fd, FIFO, flags, Mode::empty()).at_path("open exec fifo", path())
    }

    /// The gate's outer end, if somebody waits behind it: a byte written there lets init go on. Never waits. A gate
    /// that a killed `start` has left behind is none.
    pub(crate) fn gate(&self) -> Option<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.fd, FIFO, flags, Mode::empty()).ok()
    }

    /// Removes the gate, if it is there.
    pub(crate) fn remove_fifo(&self) -> Result<()> {
        match unlinkat(&self.fd, FIFO, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).at_path("remove exec fifo", self.path.join(FIFO)),
        }
    }

    /// Removes the directory and all that is in it. Needs the lock; what is gone already is fine.
    pub(crate) fn remove_all(self) -> Result<()> {
        // First what makes the container known, so that nobody reads what is half gone.
        match unlinkat(&self.fd, STATE, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => {}
            Err(errno) => return Err(errno).at_path("remove", self.path.join(STATE)),
        }
        for _ in 0..ATTEMPTS {
            match clear(self.fd(), DEPTH) {
                // Removed by somebody else; by now the name may even be another container's.
                Err(Errno::ENOENT) => return Ok(()),
                cleared => cleared.at_path("empty state directory", &self.path)?,
            }
            match unlinkat(AT_FDCWD, &self.path, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
                Err(errno) => return Err(errno).at_path("remove state directory", &self.path),
            }
        }
        Err(Error::new(Code::System, "remove state directory")
            .operand(&self.path)
            .reason("others keep putting files there"))
    }
}

/// Removes what is in the directory `fd`. ENOENT: the directory itself is gone.
fn clear(fd: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
    for (name, _) in entries(fd)? {
        remove_entry(fd, &name, depth)?;
    }
    Ok(())
}

fn remove_entry(parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR) if depth > 0 => {}
        Err(errno) => return Err(errno),
    }
    match openat(parent, name, directory(), Mode::empty()) {
        Ok(inner) => match clear(inner.as_fd(), depth - 1) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        },
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}
