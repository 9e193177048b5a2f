//! Fills a tmpfs with what the image has in its place (`tmpcopyup`).
//!
//! The image is not trusted, and may be changed meanwhile by others who use it. So no path is looked up but the first,
//! which the kernel keeps inside the rootfs; from there on each name is opened for itself, without following it, and
//! what is done depends on what was opened, never on what was seen under the name before.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchown, fchownat, lseek};
use runtime_init::sys;

use super::mounts::{c_string, failed};
use crate::error::{At, Code, Error, Result};
use crate::sys::fd::owned;
use crate::sys::{dirents, xattr};

/// Levels of directories: each of them is open while what is below it is copied.
const MAX_DEPTH: usize = 64;

/// Copies what `rootfs` has at `at` into the new file system `to`. Without a directory there it stays empty.
pub(super) fn copy_up(rootfs: &Path, at: &str, to: &OwnedFd) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let rootfs = open(rootfs, flags, Mode::empty()).at_path("open rootfs", rootfs)?;
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let from = match sys::openat2(rootfs.as_raw_fd(), &c_string(at.as_bytes())?, flags, 0, resolve) {
        Ok(fd) => owned(fd),
        Err(fail) if fail.is(libc::ENOENT) || fail.is(libc::ENOTDIR) => return Ok(()),
        Err(fail) => return Err(failed("open for tmpcopyup", at, fail)),
    };
    let mut copy = Copy {
        at,
        path: PathBuf::from(at),
    };
    copy.contents(from.as_fd(), to.as_fd(), 1)
}

/// A copy under way.
struct Copy<'a> {
    at: &'a str,
    /// What is being copied, for errors only.
    path: PathBuf,
}

impl Copy<'_> {
    fn failed(&self, errno: Errno) -> Error {
        let error = Error::sys("copy into tmpfs", errno as i32).operand(&self.path);
        match errno {
            Errno::ENOSPC => error.hint(format!(
                "tmpcopyup: the image's {} does not fit into the tmpfs there; raise size= or nr_inodes=",
                self.at
            )),
            _ => error.hint(format!("tmpcopyup of {}", self.at)),
        }
    }

    fn contents(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(Code::Unsupported, "copy into tmpfs")
                .operand(&self.path)
                .reason(format!(
                    "tmpcopyup of {} goes down {MAX_DEPTH} directories at most",
                    self.at
                )));
        }
        let entries = dirents::entries(from).map_err(|errno| self.failed(errno))?;
        for (name, _) in entries {
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            let below = entry(from, to, &name).map_err(|errno| self.failed(errno))?;
            if let Some((from, to, stat)) = below {
                self.contents(from.as_fd(), to.as_fd(), depth + 1)?;
                // Only now: what was put into it changed its times.
                finish(from.as_fd(), to.as_fd(), &stat).map_err(|errno| self.failed(errno))?;
            }
            self.path.pop();
        }
        Ok(())
    }
}

/// Copies one entry. Of a directory, gives both sides of what is yet to be filled and finished.
fn entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
) -> nix::Result<Option<(OwnedFd, OwnedFd, FileStat)>> {
    // Opened like this, nothing happens yet: a fifo does not wait and a device does not notice.
    let source = openat(from, name, flags(OFlag::O_PATH), Mode::empty())?;
    let stat = fstat(&source)?;
    let private = Mode::S_IRWXU;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => {
            sys::mkdirat(to.as_raw_fd(), name, private.bits()).map_err(errno)?;
            let directory = flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY);
            let made = openat(to, name, directory, Mode::empty())?;
            return Ok(Some((
                openat(&source, c".", directory, Mode::empty())?,
                made,
                stat,
            )));
        }
        libc::S_IFREG => {
            // The very file that was looked at; this link of the kernel's leads to a descriptor, not to a path.
            let link = format!("/proc/self/fd/{}", source.as_raw_fd());
            let source = open(link.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
            let create = flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL);
            let made = openat(to, name, create, private)?;
            let (source, made) = (File::from(source), File::from(made));
            data(&source, &made, stat.st_size)?;
            finish(source.as_fd(), made.as_fd(), &stat)?;
        }
        libc::S_IFLNK => {
            let target = readlinkat(&source, c"")?;
            let target = c_string(target.as_bytes()).map_err(|_| Errno::EIO)?;
            sys::symlinkat(&target, to.as_raw_fd(), name).map_err(errno)?;
            own(to, name, &stat)?;
        }
        _ => {
            sys::mknodat(to.as_raw_fd(), name, stat.st_mode, stat.st_rdev).map_err(errno)?;
            own(to, name, &stat)?;
            // The name is a node that was just made where nobody else can be.
            fchmodat(to, name, mode(&stat), FchmodatFlags::FollowSymlink)?;
        }
    }
    Ok(None)
}

fn flags(kind: OFlag) -> OFlag {
    kind | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn errno(fail: runtime_init::Fail) -> Errno {
    Errno::from_raw(fail.errno)
}

fn mode(stat: &FileStat) -> Mode {
    Mode::from_bits_truncate(stat.st_mode & 0o7777)
}

fn times(stat: &FileStat) -> (TimeSpec, TimeSpec) {
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    (accessed, TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec))
}

/// Copies what a file contains. Holes stay holes: filled, they would take memory.
fn data(from: &File, to: &File, size: i64) -> nix::Result<()> {
    let mut end = 0;
    while end < size {
        let start = match lseek(from, end, Whence::SeekData) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::ENXIO) => break,
            Err(errno) => return Err(errno),
        };
        end = lseek(from, start, Whence::SeekHole)?.min(size);
        lseek(from, start, Whence::SeekSet)?;
        lseek(to, start, Whence::SeekSet)?;
        let (mut from, mut to) = (from.take((end - start) as u64), to);
        io::copy(&mut from, &mut to).map_err(system)?;
    }
    to.set_len(size as u64).map_err(system)
}

fn system(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Owner and times of what cannot be opened.
fn own(dir: BorrowedFd<'_>, name: &CStr, stat: &FileStat) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let (accessed, modified) = times(stat);
    utimensat(dir, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
}

/// Owner, mode, attributes and times, in this order: a change of owner takes mode bits and capabilities away.
fn finish(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &FileStat) -> nix::Result<()> {
    fchown(
        to,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    fchmod(to, mode(stat))?;
    for name in xattr::names(from)? {
        // Others are notes of the file system below, or labels that the policy gives anew.
        let bytes = name.to_bytes();
        let wanted = bytes == b"security.capability"
            || bytes.starts_with(b"system.posix_acl_")
            || bytes.starts_with(b"user.");
        if !wanted {
            continue;
        }
        match xattr::set(to, &name, &xattr::get(from, &name)?) {
            // A tmpfs does not have all kinds on all kernels.
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    let (accessed, modified) = times(stat);
    futimens(to, &accessed, &modified)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::testing::Scratch;

    /// Copies `at` of a rootfs with these contents, and gives where to.
    fn copied(scratch: &Scratch, at: &str) -> Result<PathBuf> {
        let to = scratch.path().join("to");
        fs::create_dir(&to).unwrap();
        let opened = OwnedFd::from(File::open(&to).unwrap());
        copy_up(&scratch.path().join("rootfs"), at, &opened).map(|()| to)
    }

    fn rootfs(scratch: &Scratch, directory: &str) -> PathBuf {
        let path = scratch.path().join("rootfs").join(directory);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn all_kinds_are_copied_with_modes_and_times() {
        let scratch = Scratch::new();
        let from = rootfs(&scratch, "a/deep");
        fs::write(from.join("file"), "content").unwrap();
        fs::set_permissions(from.join("file"), fs::Permissions::from_mode(0o4640)).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), Mode::from_bits_truncate(0o622)).unwrap();
        fs::set_permissions(from.join("fifo"), fs::Permissions::from_mode(0o622)).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1777)).unwrap();
        let to = copied(&scratch, "/a").unwrap().join("deep");
        assert_eq!(fs::read(to.join("file")).unwrap(), b"content");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        for name in ["", "file", "link", "fifo"] {
            let facts = |path: &Path| {
                let stat = path.join(name).symlink_metadata().unwrap();
                (stat.mode(), stat.uid(), stat.mtime(), stat.mtime_nsec())
            };
            assert_eq!(facts(&to), facts(&from), "{name}");
        }
    }

    #[test]
    fn holes_stay_holes() {
        let scratch = Scratch::new();
        let file = File::create(rootfs(&scratch, "a").join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"x", 1 << 30).unwrap();
        file.set_len(1 << 31).unwrap();
        let copy = copied(&scratch, "/a").unwrap().join("sparse");
        let stat = copy.metadata().unwrap();
        assert_eq!(stat.size(), 1 << 31);
        assert!(stat.blocks() < 1024, "{} blocks", stat.blocks());
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_at(&File::open(copy).unwrap(), &mut byte, 1 << 30).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn links_to_the_place_stay_inside_the_rootfs() {
        let scratch = Scratch::new();
        fs::write(rootfs(&scratch, "outside").join("inner"), "").unwrap();
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "").unwrap();
        symlink("../../../../outside", scratch.path().join("rootfs/place")).unwrap();
        let to = copied(&scratch, "/place").unwrap();
        assert!(to.join("inner").exists() && !to.join("secret").exists());
    }

    #[test]
    fn without_a_directory_there_is_nothing_to_copy() {
        for at in ["/missing", "/file", "/file/below"] {
            let scratch = Scratch::new();
            fs::write(rootfs(&scratch, "").join("file"), "").unwrap();
            let to = copied(&scratch, at).unwrap();
            assert_eq!(fs::read_dir(to).unwrap().count(), 0, "{at}");
        }
    }

    #[test]
    fn depth_has_an_end() {
        let scratch = Scratch::new();
        rootfs(&scratch, &format!("a{}", "/d".repeat(MAX_DEPTH - 1)));
        copied(&scratch, "/a").unwrap();
        let scratch = Scratch::new();
        rootfs(&scratch, &format!("a{}", "/d".repeat(MAX_DEPTH)));
        let error = copied(&scratch, "/a").unwrap_err();
        assert_eq!(error.code(), Code::Unsupported);
        assert!(error.to_string().contains("tmpcopyup of /a"), "{error}");
    }
}
