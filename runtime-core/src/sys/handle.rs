//! File handles: a number for a process that is never given to another one, see name_to_handle_at(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Most bytes that the kernel puts into a handle.
pub(crate) const MAX_HANDLE: usize = 128;

/// An opaque name of a file; of a process when the file is a pidfd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileHandle {
    /// Tells the file system how to read the bytes.
    pub kind: i32,
    /// The name.
    pub bytes: Vec<u8>,
}

/// `struct file_handle` with room for its flexible array.
#[repr(C)]
struct RawHandle {
    size: u32,
    kind: i32,
    bytes: [u8; MAX_HANDLE],
}

/// The handle of the open file `fd`.
pub(crate) fn handle_of(fd: BorrowedFd<'_>) -> Result<FileHandle, Errno> {
    let mut raw = RawHandle {
        size: MAX_HANDLE as u32,
        kind: 0,
        bytes: [0; MAX_HANDLE],
    };
    let mut mount: libc::c_int = 0;
    // SAFETY: `raw` starts as a file_handle and has the room that `size` states, the path is an empty C string and
    // `mount` is a valid place; all outlive the call.
    let done = unsafe {
        libc::name_to_handle_at(
            fd.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut raw).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::result(done)?;
    let bytes = raw.bytes.get(..raw.size as usize).ok_or(Errno::EOVERFLOW)?;
    Ok(FileHandle {
        kind: raw.kind,
        bytes: bytes.to_vec(),
    })
}

/// Opens the file that `handle` names in the file system that `anchor` is in. ESTALE: it is gone.
pub(crate) fn open_handle(anchor: BorrowedFd<'_>, handle: &FileHandle) -> Result<OwnedFd, Errno> {
    let mut raw = RawHandle {
        size: handle.bytes.len() as u32,
        kind: handle.kind,
        bytes: [0; MAX_HANDLE],
    };
    raw.bytes
        .get_mut(..handle.bytes.len())
        .ok_or(Errno::EINVAL)?
        .copy_from_slice(&handle.bytes);
    // SAFETY: `raw` starts as a file_handle and holds the bytes that `size` states, and outlives the call.
    let fd = unsafe {
        libc::open_by_handle_at(
            anchor.as_raw_fd(),
            (&raw mut raw).cast(),
            libc::O_RDWR | libc::O_CLOEXEC,
        )
    };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
