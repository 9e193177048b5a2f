//! Extended attributes of open files.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Most bytes that the kernel gives for a list of names or for a value.
const MOST: usize = 64 * 1024;

/// Names of the attributes of `fd`. None where the file system has no attributes.
pub(crate) fn names(fd: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // SAFETY: without room for it the list is only measured.
    let needed = unsafe { libc::flistxattr(fd.as_raw_fd(), std::ptr::null_mut(), 0) };
    if matches!(Errno::result(needed), Ok(0) | Err(Errno::EOPNOTSUPP)) {
        return Ok(Vec::new());
    }
    let mut list = vec![0u8; MOST];
    // SAFETY: the buffer is valid for the length given and outlives the call.
    let length = unsafe { libc::flistxattr(fd.as_raw_fd(), list.as_mut_ptr().cast(), list.len()) };
    let list = &list[..Errno::result(length)? as usize];
    let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| CString::new(name).map_err(|_| Errno::EIO))
        .collect()
}

/// The value of the attribute `name` of `fd`.
pub(crate) fn get(fd: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0u8; MOST];
    // SAFETY: the name ends with NUL, the buffer is valid for the length given, and both outlive the call.
    let length = unsafe {
        libc::fgetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    value.truncate(Errno::result(length)? as usize);
    Ok(value)
}

/// Gives `fd` the attribute `name`.
pub(crate) fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name ends with NUL, the value is valid for the length given, and both outlive the call.
    let done = unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    Errno::result(done).map(drop)
}
