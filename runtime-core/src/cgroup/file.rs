//! Reading and writing the files of a cgroup: one open, one transfer, one close.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd;

use crate::error::{Code, Error};

/// Writes `value`. The file is never created: in a cgroup that would only hide that it is missing.
pub(super) fn write(path: &Path, value: &str) -> Result<(), Errno> {
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    put(file.as_fd(), value)
}

/// Writes `value` to an open file, where each write is a command of its own.
pub(super) fn put(file: BorrowedFd<'_>, value: &str) -> Result<(), Errno> {
    loop {
        match unistd::write(file, value.as_bytes()) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(written) if written == value.len() => return Ok(()),
            Ok(_) => return Err(Errno::EIO),
        }
    }
}

/// The whole content of a file.
pub(super) fn read(path: &Path) -> Result<String, Errno> {
    rest(open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.as_fd())
}

/// The whole content of the file `name` in an open directory.
pub(super) fn read_at(dir: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    rest(openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.as_fd())
}

/// What an open file holds from its current offset on.
pub(super) fn rest(file: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match unistd::read(file, &mut buffer) {
            Ok(0) => return String::from_utf8(content).map_err(|_| Errno::EILSEQ),
            Ok(got) => content.extend_from_slice(&buffer[..got]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The number after `key` in a file of `key number` lines.
pub(super) fn number_of(content: &str, key: &str) -> Option<u64> {
    content
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The error of a cgroup file or directory.
pub(super) fn failed(step: impl Into<String>, path: &Path, errno: Errno) -> Error {
    Error::new(Code::Cgroup, step).operand(path).errno(errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_key() {
        let content = "low 0\noom 2\noom_kill 7\noom_group_kill 1\n";
        assert_eq!(number_of(content, "oom_kill"), Some(7));
        assert_eq!(number_of(content, "oom"), Some(2));
        assert_eq!(number_of(content, "oo"), None);
    }

    #[test]
    fn a_missing_file_is_not_created() {
        let path = std::env::temp_dir().join(format!("cgroup-file-{}", std::process::id()));
        assert_eq!(write(&path, "1"), Err(Errno::ENOENT));
        assert!(!path.exists());
    }
}
