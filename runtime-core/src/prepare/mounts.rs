//! Detached mounts, made before there is a container.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use runtime_init::{Attributes, Fail, sys};

use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};

use crate::error::{At, Code, Error, Result};
use crate::plan::{EMPTY_ATTRIBUTES, Entry};
use crate::sys::fd::owned;

/// An error of a mount call, which names the call.
pub(super) fn failed(what: &str, operand: impl AsRef<Path>, fail: Fail) -> Error {
    Error::sys(what, fail.errno)
        .call(fail.call.name())
        .operand(operand)
}

pub(super) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| {
        let text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
        Error::new(Code::InvalidConfig, "read string")
            .operand(text)
            .reason("contains a NUL")
    })
}

/// A copy of the host's tree at `path`, with its attributes changed in order.
pub(super) fn clone_tree(path: &Path, recursive: bool, attributes: &[Attributes]) -> Result<OwnedFd> {
    let c_path = c_string(path.as_os_str().as_bytes())?;
    if let Some((first, others)) = attributes.split_first() {
        let tree = sys::open_tree_attr(libc::AT_FDCWD, &c_path, recursive, first);
        if let Some(tree) = tree.map(owned) {
            change(&tree, others, path)?;
            return Ok(tree);
        }
    }
    let fail = |fail: Fail| failed("open mount source", path, fail);
    let tree = owned(sys::open_tree(libc::AT_FDCWD, &c_path, recursive).map_err(fail)?);
    change(&tree, attributes, path)?;
    Ok(tree)
}

fn change(mount: &OwnedFd, attributes: &[Attributes], operand: &Path) -> Result<()> {
    for change in attributes {
        sys::mount_setattr(mount.as_raw_fd(), change)
            .map_err(|fail| failed("set mount attributes of", operand, fail))?;
    }
    Ok(())
}

/// A new file system of type `kind`, to go on `at` later.
pub(super) fn new_fs(
    kind: &str,
    parameters: &[String],
    attributes: &[Attributes],
    at: &str,
) -> Result<OwnedFd> {
    let what = format!("mount {kind} on");
    let fail = |fail: Fail| failed(&what, at, fail);
    let context = owned(sys::fsopen(&c_string(kind.as_bytes())?).map_err(fail)?);
    let fs = context.as_raw_fd();
    for parameter in parameters {
        let (key, value) = match parameter.split_once('=') {
            Some((key, value)) => (key, Some(c_string(value.as_bytes())?)),
            None => (parameter.as_str(), None),
        };
        sys::fsconfig(fs, &c_string(key.as_bytes())?, value.as_deref()).map_err(|error| {
            explain(
                fail(error).hint(format!("option {parameter:?}")),
                context.try_clone(),
            )
        })?;
    }
    sys::fscreate(fs).map_err(|error| explain(fail(error), context.try_clone()))?;
    let (own, others) = attributes
        .split_first()
        .map_or((0, &[][..]), |(own, others)| (own.set, others));
    let mount = owned(sys::fsmount(fs, own as u32).map_err(fail)?);
    change(&mount, others, Path::new(at))?;
    Ok(mount)
}

/// Adds what the file system itself has to say: the kernel queues messages on the context.
fn explain(error: Error, context: std::io::Result<OwnedFd>) -> Error {
    let Ok(context) = context else { return error };
    let mut message = [0u8; 512];
    match std::fs::File::from(context).read(&mut message) {
        Ok(length) if length > 0 => {
            error.reason(String::from_utf8_lossy(&message[..length]).trim().to_owned())
        }
        _ => error,
    }
}

/// Puts `contents` right below the root of a file system that was just made; `umask` may take permissions away.
pub(super) fn fill(mount: &OwnedFd, contents: &[Entry], at: &str, umask: u32) -> Result<()> {
    for entry in contents {
        let name = entry.name();
        make(mount, entry, umask).map_err(|error| error.operand(format!("{at}/{name}")))?;
    }
    Ok(())
}

fn make(mount: &OwnedFd, entry: &Entry, umask: u32) -> Result<()> {
    let name = c_string(entry.name().as_bytes())?;
    let fd = mount.as_raw_fd();
    // What the caller's umask took away has to be given back: the umask itself is shared with other threads.
    let chmod = |mode: u32| {
        let mode = Mode::from_bits_truncate(mode & 0o7777);
        fchmodat(mount, name.as_c_str(), mode, FchmodatFlags::FollowSymlink).at("set mode")
    };
    let failed = |step: &str, fail: Fail| Error::sys(step, fail.errno).call(fail.call.name());
    match entry {
        Entry::Directory { .. } => {
            sys::mkdirat(fd, &name, DIRECTORY_MODE).map_err(|fail| failed("make directory", fail))?;
            if DIRECTORY_MODE & umask != 0 {
                chmod(DIRECTORY_MODE)?;
            }
            Ok(())
        }
        Entry::Symlink { to, .. } => {
            let to = c_string(to.as_bytes())?;
            sys::symlinkat(&to, fd, &name).map_err(|fail| failed("make symlink", fail))
        }
        Entry::Node {
            mode,
            device,
            uid,
            gid,
            ..
        } => {
            sys::mknodat(fd, &name, *mode, *device).map_err(|fail| failed("make device", fail))?;
            let owned = (*uid, *gid) != (0, 0);
            if owned {
                let owner = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                fchownat(
                    mount,
                    name.as_c_str(),
                    owner.0,
                    owner.1,
                    AtFlags::AT_SYMLINK_NOFOLLOW,
                )
                .at("set owner")?;
            }
            // A change of owner can take bits away, too.
            if owned || mode & umask != 0 {
                chmod(*mode)?;
            }
            Ok(())
        }
    }
}

/// Permissions of mount points.
const DIRECTORY_MODE: u32 = 0o755;

/// An empty, read-only directory to cover others with.
pub(super) fn empty() -> Result<OwnedFd> {
    let attributes = Attributes {
        set: EMPTY_ATTRIBUTES,
        ..Attributes::default()
    };
    new_fs(
        "tmpfs",
        &["source=tmpfs".into(), "nr_inodes=1".into(), "mode=755".into()],
        &[attributes],
        "masked paths",
    )
}
