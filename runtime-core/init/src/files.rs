//! Steps that make or change files below the container's root, all through openat2(2): no path of the container
//! is ever looked up without the kernel's word that it stays inside.

use core::ffi::CStr;

use crate::context::Context;
use crate::sys::{self, Call, Fail};
use crate::{List, Str, Target};

/// How paths in the container are resolved.
const INSIDE: u64 = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS;
const PATH_MAX: usize = libc::PATH_MAX as usize;
/// As many symbolic links as the kernel follows.
const LINKS_MAX: usize = 40;
const NEW_DIRECTORY: u32 = 0o755;
const NEW_FILE: u32 = 0o644;
/// As long as the kernel takes the key of a parameter, with its NUL.
const KEY_MAX: usize = 256;

/// A path on the stack, NUL-terminated.
#[derive(Clone, Copy)]
struct PathBuffer {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl PathBuffer {
    fn new() -> PathBuffer {
        PathBuffer {
            bytes: [0; PATH_MAX],
            length: 0,
        }
    }

    /// Appends `part` behind a slash, or as it is when it is the first.
    fn push(&mut self, part: &[u8]) -> Result<(), Fail> {
        let slash = usize::from(self.length > 0);
        if self.length + slash + part.len() >= PATH_MAX {
            return Err(Fail::new(Call::Openat2, libc::ENAMETOOLONG));
        }
        if slash == 1 {
            self.bytes[self.length] = b'/';
        }
        self.bytes[self.length + slash..][..part.len()].copy_from_slice(part);
        self.truncate(self.length + slash + part.len());
        Ok(())
    }

    /// Goes to `part` as a look-up would if there were no links: dots stay or go back.
    fn step(&mut self, part: &[u8]) -> Result<(), Fail> {
        match part {
            b"" | b"." => {}
            b".." => {
                let cut = self
                    .as_bytes()
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .unwrap_or(0);
                self.truncate(cut);
            }
            part => self.push(part)?,
        }
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.length = length;
        self.bytes[length] = 0;
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Opens `path` below `root`, without following a last symbolic link out of it.
pub(crate) fn open_inside(root: i32, path: &CStr, flags: i32) -> Result<i32, Fail> {
    sys::openat2(root, path, flags, 0, INSIDE)
}

/// Opens `path` below `root` where no part of it may be a symbolic link.
pub(crate) fn open_plain(root: i32, path: &CStr, flags: i32) -> Result<i32, Fail> {
    sys::openat2(root, path, flags, 0, INSIDE | sys::RESOLVE_NO_SYMLINKS)
}

/// Opens the place of `path` below `root` as O_PATH; what is missing is made, the last part as `target` says.
/// Links are followed inside the root, also those whose target is missing. With `plain` they are refused.
pub(crate) fn open_or_make(root: i32, path: &CStr, target: Target, plain: bool) -> Result<i32, Fail> {
    let open = if plain { open_plain } else { open_inside };
    match open(root, path, libc::O_PATH) {
        Err(fail) if fail.is(libc::ENOENT) => make_path(root, path, target, plain),
        result => result,
    }
}

/// Makes what is missing of `path`. A function of its own, as those with buffers all are: the stack that they take is
/// touched only where they are called, and each page of it would be a fault in the child.
#[inline(never)]
fn make_path(root: i32, path: &CStr, target: Target, plain: bool) -> Result<i32, Fail> {
    let mut rest = PathBuffer::new();
    rest.push(path.to_bytes())?;
    for _ in 0..LINKS_MAX {
        match walk(root, &rest, target)? {
            Walk::There(fd) => return Ok(fd),
            Walk::Link(_) if plain => return Err(Fail::new(Call::Openat2, libc::ELOOP)),
            Walk::Link(next) => rest = next,
        }
    }
    Err(Fail::new(Call::Openat2, libc::ELOOP))
}

/// How far one walk came.
#[allow(clippy::large_enum_variant)] // there is no heap to put it on
enum Walk {
    There(i32),
    /// A link whose target is missing: the path to make instead.
    Link(PathBuffer),
}

/// Walks down `path`, making what is missing, until its end or a link that leads nowhere.
#[inline(never)]
fn walk(root: i32, path: &PathBuffer, target: Target) -> Result<Walk, Fail> {
    let mut done = PathBuffer::new();
    let mut parts = path
        .as_bytes()
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty())
        .peekable();
    let mut parent = open_inside(root, c"/", libc::O_PATH | libc::O_DIRECTORY)?;
    while let Some(part) = parts.next() {
        let before = done.length;
        done.push(part)?;
        let next = match open_inside(root, done.as_c_str(), libc::O_PATH) {
            Err(fail) if fail.is(libc::ENOENT) => {
                let kind = if parts.peek().is_some() {
                    Target::Directory
                } else {
                    target
                };
                make(parent, part, kind)
            }
            result => result.map(Some),
        };
        let next = match next {
            Ok(Some(fd)) => fd,
            Ok(None) => {
                let link = follow(parent, part, &done.as_bytes()[..before], parts);
                sys::close(parent);
                return link.map(Walk::Link);
            }
            Err(fail) => {
                sys::close(parent);
                return Err(fail);
            }
        };
        sys::close(parent);
        parent = next;
    }
    Ok(Walk::There(parent))
}

/// Makes `name` in `parent` and opens it. `None`: a symbolic link, whose target is missing, is in its place.
#[inline(never)]
fn make(parent: i32, name: &[u8], kind: Target) -> Result<Option<i32>, Fail> {
    let mut buffer = PathBuffer::new();
    buffer.push(name)?;
    let name = buffer.as_c_str();
    let made = match kind {
        Target::Directory => sys::mkdirat(parent, name, NEW_DIRECTORY),
        Target::File | Target::LikeSource => sys::mknodat(parent, name, libc::S_IFREG | NEW_FILE, 0),
    };
    match made {
        Ok(()) => {}
        Err(fail) if fail.is(libc::EEXIST) => {
            let fd = sys::openat2(
                parent,
                name,
                libc::O_PATH | libc::O_NOFOLLOW,
                0,
                sys::RESOLVE_BENEATH,
            )?;
            let link = sys::statx(fd)?.stx_mode as u32 & libc::S_IFMT == libc::S_IFLNK;
            if !link {
                return Ok(Some(fd));
            }
            sys::close(fd);
            return Ok(None);
        }
        Err(fail) => return Err(fail),
    }
    let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_XDEV;
    sys::openat2(parent, name, libc::O_PATH | libc::O_NOFOLLOW, 0, resolve).map(Some)
}

/// The path that a link `name` in `parent` (whose own path is `above`) and the `rest` after it amount to.
#[inline(never)]
fn follow<'a>(
    parent: i32,
    name: &[u8],
    above: &[u8],
    rest: impl Iterator<Item = &'a [u8]>,
) -> Result<PathBuffer, Fail> {
    let mut link = PathBuffer::new();
    link.push(name)?;
    let mut target = [0u8; PATH_MAX];
    let length = sys::readlinkat(parent, link.as_c_str(), &mut target)?;
    let target = &target[..length];
    let mut path = PathBuffer::new();
    if target.first() != Some(&b'/') && !above.is_empty() {
        path.push(above)?;
    }
    for part in target.split(|&byte| byte == b'/') {
        path.step(part)?;
    }
    for part in rest {
        path.step(part)?;
    }
    Ok(path)
}

/// Splits a path into its parent and its last part.
fn split(path: &CStr) -> Result<(PathBuffer, PathBuffer), Fail> {
    let bytes = path.to_bytes();
    let cut = bytes.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    let (mut parent, mut name) = (PathBuffer::new(), PathBuffer::new());
    parent.push(if cut == 0 { b"/" } else { &bytes[..cut] })?;
    name.push(bytes[cut..].strip_prefix(b"/").unwrap_or(bytes))?;
    Ok((parent, name))
}

impl Context<'_> {
    fn parent_of(&self, at: Str) -> Result<(i32, PathBuffer), Fail> {
        let (parent, name) = split(self.str(at))?;
        Ok((
            open_or_make(self.root, parent.as_c_str(), Target::Directory, false)?,
            name,
        ))
    }

    #[inline(never)]
    pub(crate) fn mknod(&mut self, at: Str, mode: u32, device: u64, uid: u32, gid: u32) -> Result<(), Fail> {
        let (parent, name) = self.parent_of(at)?;
        let result = make_node(parent, name.as_c_str(), mode, device, uid, gid);
        sys::close(parent);
        result
    }

    #[inline(never)]
    pub(crate) fn symlink(&mut self, at: Str, to: Str) -> Result<(), Fail> {
        let (parent, name) = self.parent_of(at)?;
        let (to, name) = (self.str(to), name.as_c_str());
        let made = match sys::symlinkat(to, parent, name) {
            // What the image has there instead gives way, unless it is a directory.
            Err(fail) if fail.is(libc::EEXIST) => match sys::unlinkat(parent, name) {
                Ok(()) => sys::symlinkat(to, parent, name),
                Err(fail) => Err(fail),
            },
            result => result,
        };
        sys::close(parent);
        made
    }

    /// Makes the working directory current, and checks that it is inside the root.
    #[inline(never)]
    pub(crate) fn cwd(&mut self, path: Str, create: bool) -> Result<(), Fail> {
        let path = self.str(path);
        if path == c"/" {
            sys::fchdir(self.root)?;
        } else {
            let directory = match create {
                true => open_or_make(self.root, path, Target::Directory, false),
                false => open_inside(self.root, path, libc::O_PATH | libc::O_DIRECTORY),
            }?;
            let changed = sys::fchdir(directory);
            sys::close(directory);
            changed?;
        }
        let mut cwd = [0u8; PATH_MAX];
        match sys::getcwd(&mut cwd) {
            Ok(_) if cwd[0] != b'/' => Err(Fail::new(Call::Getcwd, libc::ENOENT)),
            // A directory deeper than a path can say is still inside: the kernel found its way up to the root.
            Err(fail) if fail.is(libc::ERANGE) || fail.is(libc::ENAMETOOLONG) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Opens a procfs of this process's own, in no mount table: nothing can be mounted over its files.
    pub(crate) fn proc_fs(&mut self) -> Result<(), Fail> {
        let fs = sys::fsopen(c"proc")?;
        let mount = sys::fscreate(fs).and_then(|()| sys::fsmount(fs, 0));
        sys::close(fs);
        self.proc = mount?;
        Ok(())
    }

    pub(crate) fn write_proc(&mut self, path: Str, value: Str) -> Result<(), Fail> {
        let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
        let flags = libc::O_WRONLY | libc::O_NOFOLLOW;
        let file = sys::openat2(self.proc, self.str(path), flags, 0, resolve)?;
        let written = sys::write_all(file, self.str(value).to_bytes());
        sys::close(file);
        written
    }

    /// Gives the file system context one parameter after the other.
    pub(crate) fn configure(&self, fs: i32, parameters: List) -> Result<(), Fail> {
        for (number, &parameter) in self.list(parameters).iter().enumerate() {
            self.page().note(number as i32);
            let parameter = self.str(parameter).to_bytes_with_nul();
            let Some(equals) = parameter.iter().position(|&byte| byte == b'=') else {
                sys::fsconfig(fs, CStr::from_bytes_until_nul(parameter).unwrap_or(c""), None)?;
                continue;
            };
            let mut key = [0u8; KEY_MAX];
            let key = match key.get_mut(..equals + 1) {
                Some(key) => key,
                None => return Err(Fail::new(Call::Fsconfig, libc::EINVAL)),
            };
            key[..equals].copy_from_slice(&parameter[..equals]);
            let key = CStr::from_bytes_until_nul(key).unwrap_or(c"");
            let value = CStr::from_bytes_until_nul(&parameter[equals + 1..]).unwrap_or(c"");
            sys::fsconfig(fs, key, Some(value))?;
        }
        Ok(())
    }
}

fn make_node(parent: i32, name: &CStr, mode: u32, device: u64, uid: u32, gid: u32) -> Result<(), Fail> {
    match sys::mknodat(parent, name, mode, device) {
        Err(fail) if fail.is(libc::EEXIST) => return same_node(parent, name, mode, device),
        result => result?,
    }
    if (uid, gid) != (0, 0) {
        sys::fchownat(parent, name, uid, gid)?;
        // A change of owner can take mode bits away.
        sys::fchmodat(parent, name, mode & 0o7777)?;
    }
    Ok(())
}

/// What the image has in the place of a device must be that very device.
fn same_node(parent: i32, name: &CStr, mode: u32, device: u64) -> Result<(), Fail> {
    let fd = sys::openat2(
        parent,
        name,
        libc::O_PATH | libc::O_NOFOLLOW,
        0,
        sys::RESOLVE_BENEATH,
    )?;
    let stat = sys::statx(fd);
    sys::close(fd);
    let stat = stat?;
    let kind = stat.stx_mode as u32 & libc::S_IFMT;
    let number = libc::makedev(stat.stx_rdev_major, stat.stx_rdev_minor);
    if kind == mode & libc::S_IFMT && number == device {
        Ok(())
    } else {
        Err(Fail::new(Call::Mknodat, libc::EEXIST))
    }
}
