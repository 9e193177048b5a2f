//! Keeps containers from overwriting this program.
//!
//! A process that this program starts has it as `/proc/self/exe` until it executes the container's own program,
//! and a hostile container can get hold of that link. So before anything is started, this program runs itself
//! once more, from a read-only mount of its own file that exists nowhere else: what is reached through the link
//! then cannot be opened for writing. The mount shares the file's pages; nothing is copied.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::statvfs::{FsFlags, statvfs};
use runtime_core::{Error, Result};

use crate::sys;

const SELF: &str = "/proc/self/exe";

/// Returns when this program runs from a file that cannot be written through it.
pub fn enter() -> Result<()> {
    let failed = |step: &str, errno: Errno| Error::sys(step, errno as i32).operand(SELF);
    let protected = is_protected().map_err(|errno| failed("look at own program", errno))?;
    if protected {
        // A program executed by its descriptor is called by that number on older kernels.
        let _ = nix::sys::prctl::set_name(c"oci-rt");
        return Ok(());
    }
    let file = match read_only_mount() {
        // Without the privilege for a mount, or where a filter denies the call: a copy that is sealed.
        Err(Errno::EPERM | Errno::ENOSYS | Errno::EINVAL) => sealed_copy(),
        other => other,
    };
    let file = file.map_err(|errno| failed("guard own program", errno))?;
    let arguments: Vec<CString> = std::env::args_os()
        .filter_map(|argument| CString::new(argument.into_vec()).ok())
        .collect();
    Err(failed(
        "execute own program again",
        sys::execute(&file, &arguments),
    ))
}

/// Whether the file that runs is on a read-only mount, or sealed. Both are properties of the file itself, so
/// no caller can pretend them.
fn is_protected() -> nix::Result<bool> {
    if statvfs(SELF)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(true);
    }
    let seals = fcntl(&open()?, FcntlArg::F_GET_SEALS).unwrap_or(0);
    Ok(SealFlag::from_bits_truncate(seals).contains(seal()))
}

fn seal() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

fn read_only_mount() -> nix::Result<OwnedFd> {
    let mount = sys::clone_mount(c"/proc/self/exe")?;
    sys::make_read_only(&mount)?;
    Ok(mount)
}

fn sealed_copy() -> nix::Result<OwnedFd> {
    let mut copy = File::from(sys::memory_file(c"oci-rt")?);
    std::io::copy(&mut open()?, &mut copy).map_err(errno)?;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seal()))?;
    Ok(copy.into())
}

fn open() -> nix::Result<File> {
    File::open(SELF).map_err(errno)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_sealed_copy_is_whole_and_cannot_be_written() {
        let copy = sealed_copy().unwrap();
        let by_name = format!("/proc/self/fd/{}", copy.as_raw_fd());
        assert!(std::fs::read(&by_name).unwrap() == std::fs::read(SELF).unwrap());
        let mut file = OpenOptions::new().write(true).open(&by_name).unwrap();
        let refused = std::io::Write::write(&mut file, b"x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }
}
