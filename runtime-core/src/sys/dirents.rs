//! Reading a directory through a descriptor that we hold, without an allocation a name or a second descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Offsets in `struct linux_dirent64`: the record's length, the entry's type and its name.
const LENGTH: usize = 16;
const KIND: usize = 18;
const NAME: usize = 19;

/// What an entry is, as far as the file system says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    Other,
    /// The file system does not say.
    Unknown,
}

/// Whether the open directory `fd` has not been removed. Moves its offset, as [`entries`] does.
///
/// Only reading it tells: the number of links is none for directories of some file systems anyway.
pub(crate) fn exists(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    match fill(fd, &mut [0; 64]) {
        // The first record may be too long for this buffer.
        Ok(_) | Err(Errno::EINVAL) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Names in the directory `fd`, without `.` and `..`. ENOENT: the directory itself was removed.
///
/// The descriptor's offset is moved, so it must not be shared with another reader.
pub(crate) fn entries(fd: BorrowedFd<'_>) -> Result<Vec<(CString, Kind)>, Errno> {
    lseek(fd, 0, Whence::SeekSet)?;
    let mut found = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let got = fill(fd, &mut buffer)?;
        if got == 0 {
            return Ok(found);
        }
        parse(&buffer[..got], &mut found)?;
    }
}

fn fill(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer is valid for the length given and outlives the call.
    let got = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            fd.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    Errno::result(got).map(|got| got as usize)
}

fn parse(mut records: &[u8], found: &mut Vec<(CString, Kind)>) -> Result<(), Errno> {
    while records.len() > NAME {
        let length = usize::from(u16::from_ne_bytes([records[LENGTH], records[LENGTH + 1]]));
        let record = records.get(..length).ok_or(Errno::EIO)?;
        let name = record.get(NAME..).ok_or(Errno::EIO)?;
        let name = CStr::from_bytes_until_nul(name).map_err(|_| Errno::EIO)?;
        let kind = match record[KIND] {
            libc::DT_DIR => Kind::Directory,
            libc::DT_UNKNOWN => Kind::Unknown,
            _ => Kind::Other,
        };
        if name != c"." && name != c".." {
            found.push((name.to_owned(), kind));
        }
        records = &records[length..];
    }
    Ok(())
}
