//! Steps about mounts. A mount is always a descriptor: it is made detached, given its attributes, and then moved
//! onto a descriptor of its place.

use core::ffi::CStr;

use crate::context::{Context, NONE};
use crate::files::{open_inside, open_or_make};
use crate::sys::{self, Call, Fail};
use crate::{Attributes, DirMode, List, PlaceFlags, Str, Supply, Target};

const PROC_SUPER_MAGIC: i64 = libc::PROC_SUPER_MAGIC;
const MOUNT_ATTR_RDONLY: u64 = 1;
const NULL_DEVICE: (u32, u32) = (1, 3);

impl Context<'_> {
    pub(crate) fn open_root(&mut self, path: Str) -> Result<(), Fail> {
        self.root = sys::open(self.str(path), libc::O_PATH | libc::O_DIRECTORY)?;
        Ok(())
    }

    pub(crate) fn attach_root(&mut self) -> Result<(), Fail> {
        sys::move_mount(self.mount, self.root)?;
        self.root_identity = None;
        sys::close(core::mem::replace(
            &mut self.root,
            core::mem::replace(&mut self.mount, NONE),
        ));
        Ok(())
    }

    pub(crate) fn take_mount(&mut self, mount: Supply) -> Result<(), Fail> {
        self.set_mount(self.supply(mount));
        Ok(())
    }

    pub(crate) fn clone_tree(&mut self, path: Str, recursive: bool) -> Result<(), Fail> {
        let path = sys::open(self.str(path), libc::O_PATH)?;
        let mount = sys::open_tree(path, c"", recursive);
        sys::close(path);
        self.set_mount(mount?);
        Ok(())
    }

    pub(crate) fn new_fs(&mut self, fs: Str, parameters: List, attributes: u32) -> Result<(), Fail> {
        let fs = sys::fsopen(self.str(fs))?;
        let mount = self
            .configure(fs, parameters)
            .and_then(|()| sys::fscreate(fs))
            .and_then(|()| sys::fsmount(fs, attributes));
        sys::close(fs);
        self.set_mount(mount?);
        Ok(())
    }

    pub(crate) fn set_attr(&mut self, attributes: Attributes) -> Result<(), Fail> {
        sys::mount_setattr(self.mount, &attributes)
    }

    pub(crate) fn place(&mut self, at: Str, target: Target, flags: PlaceFlags) -> Result<(), Fail> {
        if flags.below > 0 {
            return self.place_below(at, flags);
        }
        let target = match target {
            Target::LikeSource if is_directory(sys::statx(self.mount)?) => Target::Directory,
            Target::LikeSource => Target::File,
            target => target,
        };
        let place = open_or_make(self.root, self.str(at), target, flags.plain_directory)?;
        let result = self.put(place, target, flags);
        sys::close(place);
        self.done(flags);
        result
    }

    /// Puts the current mount on a directory that the runtime made in a file system of its own: there is nothing to
    /// look up, make or check.
    fn place_below(&mut self, at: Str, flags: PlaceFlags) -> Result<(), Fail> {
        let path = self.str(at).to_bytes_with_nul();
        let name = path.get(flags.below as usize..).unwrap_or(b"\0");
        let name = CStr::from_bytes_until_nul(name).unwrap_or(c"");
        let result = sys::move_mount_at(self.mount, self.base, name);
        self.done(flags);
        result
    }

    /// Lets go of the current mount, which is in place.
    fn done(&mut self, flags: PlaceFlags) {
        if flags.base {
            let base = core::mem::replace(&mut self.mount, NONE);
            sys::close(core::mem::replace(&mut self.base, base));
        }
        self.set_mount(NONE);
    }

    /// Moves the current mount onto `place`, if that is a fit place for it.
    fn put(&mut self, place: i32, target: Target, flags: PlaceFlags) -> Result<(), Fail> {
        let stat = sys::statx(place)?;
        if is_directory(stat) != (target == Target::Directory) {
            let errno = if target == Target::Directory {
                libc::ENOTDIR
            } else {
                libc::EISDIR
            };
            return Err(Fail::new(Call::MoveMount, errno));
        }
        let root = match self.root_identity {
            Some(identity) => identity,
            None => identity(sys::statx(self.root)?),
        };
        self.root_identity = Some(root);
        if identity(stat) == root {
            // A mount over the root itself would hide what was prepared and vanish with the pivot.
            return Err(Fail::new(Call::MoveMount, libc::EBUSY));
        }
        // The root itself is no procfs, nor is what is on the same mount.
        let elsewhere = stat.stx_mnt_id != root.1;
        if !flags.inside_proc && elsewhere && sys::fs_magic(place)? == PROC_SUPER_MAGIC {
            return Err(Fail::new(Call::MoveMount, libc::EPERM));
        }
        sys::move_mount(self.mount, place)?;
        match flags.mode {
            DirMode::Own => Ok(()),
            DirMode::Inherit => sys::fchmodat(self.mount, c".", stat.stx_mode as u32 & 0o7777),
        }
    }

    pub(crate) fn reattribute(&mut self, at: Str, attributes: Attributes) -> Result<(), Fail> {
        let path = self.str(at);
        if path == c"/" {
            return sys::mount_setattr(self.root, &attributes);
        }
        let place = open_inside(self.root, path, libc::O_PATH)?;
        let result = sys::mount_setattr(place, &attributes);
        sys::close(place);
        result
    }

    pub(crate) fn mask_sources(&mut self, empty: Supply) -> Result<(), Fail> {
        let null = sys::open(c"/dev/null", libc::O_PATH | libc::O_NOFOLLOW)?;
        let stat = sys::statx(null)?;
        let kind = stat.stx_mode as u32 & libc::S_IFMT;
        if kind != libc::S_IFCHR || (stat.stx_rdev_major, stat.stx_rdev_minor) != NULL_DEVICE {
            return Err(Fail::new(Call::Statx, libc::ENODEV));
        }
        (self.null, self.empty) = (null, self.supply(empty));
        Ok(())
    }

    pub(crate) fn mask(&mut self, at: Str) -> Result<(), Fail> {
        let Some(place) = self.existing(at)? else {
            return Ok(());
        };
        let result = self.cover(place);
        sys::close(place);
        result
    }

    fn cover(&mut self, place: i32) -> Result<(), Fail> {
        if !is_directory(sys::statx(place)?) {
            return move_and_close(sys::open_tree(self.null, c"", false)?, place);
        }
        // A detached mount can be moved, and only an attached one copied: the first masked directory gets the
        // file system itself, the others copies of it.
        if self.empty_attached {
            return move_and_close(sys::open_tree(self.empty, c"", false)?, place);
        }
        sys::move_mount(self.empty, place)?;
        self.empty_attached = true;
        Ok(())
    }

    pub(crate) fn readonly(&mut self, at: Str) -> Result<(), Fail> {
        let Some(place) = self.existing(at)? else {
            return Ok(());
        };
        let attributes = Attributes {
            set: MOUNT_ATTR_RDONLY,
            recursive: true,
            ..Attributes::default()
        };
        let result = changed_copy(place, &attributes).and_then(|copy| move_and_close(copy, place));
        sys::close(place);
        result
    }

    /// Opens what may be missing.
    fn existing(&self, at: Str) -> Result<Option<i32>, Fail> {
        match open_inside(self.root, self.str(at), libc::O_PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(fail) if fail.is(libc::ENOENT) || fail.is(libc::ENOTDIR) => Ok(None),
            Err(fail) => Err(fail),
        }
    }

    /// All three ways to the new root end with standing in it, and with the descriptor that was the start of all paths
    /// before as the start of those after.
    pub(crate) fn pivot(&mut self) -> Result<(), Fail> {
        sys::fchdir(self.root)?;
        // Old and new root are the same directory: the old one ends up on top of the new one, and goes.
        sys::pivot_root(c".", c".")?;
        sys::umount_detached(c".")
    }

    pub(crate) fn move_root(&mut self) -> Result<(), Fail> {
        sys::fchdir(self.root)?;
        sys::move_to_root(c".")?;
        sys::chroot(c".")
    }

    pub(crate) fn chroot(&mut self) -> Result<(), Fail> {
        sys::fchdir(self.root)?;
        sys::chroot(c".")
    }
}

fn identity(stat: libc::statx) -> (u64, u64) {
    (stat.stx_ino, stat.stx_mnt_id)
}

fn is_directory(stat: libc::statx) -> bool {
    stat.stx_mode as u32 & libc::S_IFMT == libc::S_IFDIR
}

/// A copy of what `place` is, and of what is mounted below, with other attributes.
fn changed_copy(place: i32, attributes: &Attributes) -> Result<i32, Fail> {
    if let Some(copy) = sys::open_tree_attr(place, c"", true, attributes) {
        return Ok(copy);
    }
    let copy = sys::open_tree(place, c"", true)?;
    match sys::mount_setattr(copy, attributes) {
        Ok(()) => Ok(copy),
        Err(fail) => {
            sys::close(copy);
            Err(fail)
        }
    }
}

/// Moves a detached mount onto `place`.
fn move_and_close(mount: i32, place: i32) -> Result<(), Fail> {
    let result = sys::move_mount(mount, place);
    sys::close(mount);
    result
}
