//! Steps about the process itself: namespaces, identity, privileges, signals, and the exec.

use core::ffi::{CStr, c_char};

use crate::context::{Context, HOME_MAX, NONE};
use crate::sys::{self, Call, Fail};
use crate::{List, Numbers, Str};

/// The kernel's highest capability number can grow; the sets have 64 bits.
const CAPABILITIES: u64 = 64;
/// A list of groups longer than the kernel's own limit is refused by it.
const GROUPS_AT_ONCE: usize = 1024;

pub(crate) fn own_time() -> Result<(), Fail> {
    /// linux/sched.h; the libc crate lacks it.
    const CLONE_NEWTIME: i32 = 0x80;
    let namespace = sys::open(c"/proc/self/ns/time_for_children", libc::O_RDONLY)?;
    let joined = sys::setns(namespace, CLONE_NEWTIME);
    sys::close(namespace);
    joined
}

pub(crate) fn become_root() -> Result<(), Fail> {
    // Without a mapping for groups the kernel refuses setgroups(2) there; the list is then what it was.
    match sys::setgroups(&[]) {
        Err(fail) if !fail.is(libc::EPERM) => return Err(fail),
        _ => {}
    }
    sys::setresgid(0)?;
    sys::setresuid(0)
}

pub(crate) fn bounding_set(keep: u64) -> Result<(), Fail> {
    for capability in 0..CAPABILITIES {
        if keep & (1 << capability) == 0 {
            match sys::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0) {
                // The first number that the kernel does not know ends the list.
                Err(fail) if fail.is(libc::EINVAL) => break,
                result => result?,
            }
        }
    }
    Ok(())
}

pub(crate) fn user(uid: u32, gid: u32) -> Result<(), Fail> {
    sys::setresgid(gid)?;
    if uid != 0 {
        // Up to the exec, which ends this by itself.
        sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0)?;
    }
    sys::setresuid(uid)
}

pub(crate) fn capabilities(
    permitted: u64,
    effective: u64,
    inheritable: u64,
    ambient: u64,
) -> Result<(), Fail> {
    sys::capset(permitted, effective, inheritable)?;
    // What is not both permitted and inheritable is not ambient any more.
    if permitted & inheritable != 0 {
        sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0, 0)?;
    }
    for capability in (0..CAPABILITIES).filter(|capability| ambient & (1 << capability) != 0) {
        sys::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as u64,
            capability,
            0,
        )?;
    }
    Ok(())
}

/// Gives pipes, sockets and files among the standard streams to `uid`, so that the process can open
/// `/dev/stdout` again. Devices stay as they are: `/dev/null` belongs to everybody.
pub(crate) fn own_stdio(uid: u32) -> Result<(), Fail> {
    for fd in 0..3 {
        let Ok(stat) = sys::statx(fd) else { continue };
        let kind = stat.stx_mode as u32 & libc::S_IFMT;
        if stat.stx_uid == uid || matches!(kind, libc::S_IFCHR | libc::S_IFBLK | libc::S_IFDIR) {
            continue;
        }
        match sys::fchown(fd, uid, u32::MAX) {
            // Not ours to give away, or on a file system that has no such owners.
            Err(fail) if !matches!(fail.errno, libc::EPERM | libc::EINVAL | libc::EROFS) => return Err(fail),
            _ => {}
        }
    }
    Ok(())
}

/// Ends what is left after a clone without handlers: signals that are ignored.
pub(crate) fn default_signals(ignored: u64) -> Result<(), Fail> {
    const SIGNALS: i32 = 64;
    for signal in (1..=SIGNALS).filter(|signal| ignored >> (signal - 1) & 1 != 0) {
        sys::default_action(signal);
    }
    sys::empty_signal_mask()
}

pub(crate) fn gate(fifo: i32) -> Result<(), Fail> {
    let mut byte = [0u8];
    sys::read(fifo, &mut byte).map(drop)
}

impl Context<'_> {
    pub(crate) fn close_fds(&mut self, keep: Numbers) -> Result<(), Fail> {
        let mut next = 0u32;
        for &fd in self.numbers(keep) {
            let fd = fd as u32;
            if fd > next {
                sys::close_range(next, fd - 1, 0)?;
            }
            next = fd + 1;
        }
        sys::close_range(next, u32::MAX, 0)
    }

    pub(crate) fn set_ns(&mut self, fd: i32, flags: i32, again: bool) -> Result<(), Fail> {
        if again && self.pending & flags == 0 {
            return Ok(());
        }
        match sys::setns(fd, flags) {
            Err(fail) if fail.is(libc::EPERM) && !again && flags & libc::CLONE_NEWUSER == 0 => {
                self.pending |= flags;
                Ok(())
            }
            result => result,
        }
    }

    /// A process in the pid namespace that it is going to be the first of, in the place of this one. It belongs to the
    /// same parent, which learns its pid from the page.
    pub(crate) fn reborn(&mut self) -> Result<(), Fail> {
        if sys::clone_sibling(libc::CLONE_NEWPID as u64, self.page().successor_address())? {
            return Ok(());
        }
        sys::exit(0)
    }

    pub(crate) fn keyring(&mut self, name: Str) -> Result<(), Fail> {
        match sys::join_session_keyring(self.str(name)) {
            // A kernel without keyrings has nothing to isolate.
            Err(fail) if !fail.is(libc::ENOSYS) => Err(fail),
            _ => Ok(()),
        }
    }

    pub(crate) fn groups(&mut self, groups: Numbers) -> Result<(), Fail> {
        match self.numbers(groups) {
            [] => match sys::setgroups(&[]) {
                // In a user namespace whose creator may not change groups there are none to clear either.
                Err(fail) if fail.is(libc::EPERM) => Ok(()),
                result => result,
            },
            groups => set_groups(groups),
        }
    }

    pub(crate) fn scheduler(&mut self, attributes: Numbers) -> Result<(), Fail> {
        sys::sched_setattr(self.numbers(attributes))
    }

    pub(crate) fn seccomp(&mut self, program: Numbers, flags: u64) -> Result<(), Fail> {
        let listener = sys::seccomp(self.numbers(program), flags)?;
        self.page().note(listener);
        Ok(())
    }

    /// Chooses the first candidate that is a file which this user may execute. What stands in the way of the
    /// best one is what gets reported: a file that cannot be executed says more than one that is missing.
    pub(crate) fn find(&mut self, candidates: List) -> Result<(), Fail> {
        let mut worst = Fail::new(Call::Execve, libc::ENOENT);
        for (number, &candidate) in self.list(candidates).iter().enumerate() {
            let path = self.str(candidate);
            match check_executable(path) {
                Ok(()) => {
                    self.page().note(number as i32);
                    self.executable = path.as_ptr();
                    return Ok(());
                }
                Err(fail) if fail.is(libc::ENOENT) || fail.is(libc::ENOTDIR) => {}
                Err(fail) => worst = fail,
            }
        }
        Err(worst)
    }

    /// Fills the environment's `HOME` slot from the container's /etc/passwd; `/` when the user is not in it.
    pub(crate) fn home(&mut self, uid: u32, slot: u32) -> Result<(), Fail> {
        const PREFIX: &[u8] = b"HOME=";
        let mut entry = [0u8; HOME_MAX];
        let home = &mut entry[PREFIX.len()..HOME_MAX - 1];
        if !matches!(find_home(uid, home), Some(length) if length > 0) {
            home.fill(0);
            home[0] = b'/';
        }
        entry[..PREFIX.len()].copy_from_slice(PREFIX);
        self.home = entry;
        // SAFETY: the parent made the table with this slot in it, and `self` outlives the exec.
        unsafe { *self.program.pointers.add(slot as usize) = self.home.as_ptr().cast() };
        Ok(())
    }

    pub(crate) fn exec(&mut self, argv: u32, envp: u32) -> Result<(), Fail> {
        let table = |index: u32| -> *const *const c_char {
            // SAFETY: the parent put the tables there.
            unsafe { self.program.pointers.add(index as usize) }
        };
        // SAFETY: the tables end with NULL and their strings with NUL, and `find` chose the path.
        Err(unsafe { sys::execve(self.executable, table(argv), table(envp)) })
    }
}

#[inline(never)]
fn set_groups(groups: &[u64]) -> Result<(), Fail> {
    let mut list = [0u32; GROUPS_AT_ONCE];
    let Some(list) = list.get_mut(..groups.len()) else {
        return Err(Fail::new(Call::Setgroups, libc::EINVAL));
    };
    for (entry, &group) in list.iter_mut().zip(groups) {
        *entry = group as u32;
    }
    sys::setgroups(list)
}

fn check_executable(path: &CStr) -> Result<(), Fail> {
    // By path, not by descriptor: the limit of those may be reached already.
    match sys::statx_at(path)?.stx_mode as u32 & libc::S_IFMT {
        libc::S_IFREG => sys::executable(path),
        libc::S_IFDIR => Err(Fail::new(Call::Execve, libc::EISDIR)),
        _ => Err(Fail::new(Call::Execve, libc::EACCES)),
    }
}

/// Looks for the home directory of `uid` in /etc/passwd, through a window that moves over the file.
/// Lines longer than the window are skipped.
fn find_home(uid: u32, into: &mut [u8]) -> Option<usize> {
    // No symbolic link may lead elsewhere here: the root is the container's already. A FIFO or device in its
    // place must not block or act.
    let fd = sys::open(c"/etc/passwd", libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY).ok()?;
    let regular = matches!(sys::statx(fd), Ok(stat) if stat.stx_mode as u32 & libc::S_IFMT == libc::S_IFREG);
    let found = if regular { scan_passwd(fd, uid, into) } else { None };
    sys::close(fd);
    found
}

#[inline(never)]
fn scan_passwd(fd: i32, uid: u32, into: &mut [u8]) -> Option<usize> {
    /// Ends a scan through an endless file.
    const READS: usize = 4096;
    let mut window = [0u8; 2048];
    let mut filled = 0;
    let mut skipping = false;
    for _ in 0..READS {
        let got = sys::read(fd, &mut window[filled..]).ok()?;
        let end = filled + got;
        let mut start = 0;
        while let Some(length) = window[start..end].iter().position(|&byte| byte == b'\n') {
            let line = &window[start..start + length];
            if let (false, Some(home)) = (skipping, home_of(line, uid)) {
                let length = home.len().min(into.len());
                into[..length].copy_from_slice(&home[..length]);
                return (length == home.len()).then_some(length);
            }
            skipping = false;
            start += length + 1;
        }
        if got == 0 {
            let home =
                home_of(&window[start..end], uid).filter(|home| !skipping && home.len() <= into.len())?;
            into[..home.len()].copy_from_slice(home);
            return Some(home.len());
        }
        window.copy_within(start..end, 0);
        filled = end - start;
        if filled == window.len() {
            skipping = true;
            filled = 0;
        }
    }
    None
}

/// The sixth field of a passwd line whose third is `uid`.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|&byte| byte == b':');
    let id = fields.nth(2)?;
    let matches = !id.is_empty()
        && id
            .iter()
            .try_fold(0u32, |sum, &digit| match digit {
                b'0'..=b'9' => sum.checked_mul(10)?.checked_add((digit - b'0') as u32),
                _ => None,
            })
            .is_some_and(|id| id == uid);
    if matches { fields.nth(2) } else { None }
}

impl Context<'_> {
    /// Makes a terminal of the container's devpts the standard streams. The master stays for the parent.
    #[inline(never)]
    pub(crate) fn console(&mut self, width: u16, height: u16, uid: u32) -> Result<(), Fail> {
        let flags = libc::O_RDWR | libc::O_NOCTTY;
        let master = sys::openat2(
            self.root,
            c"dev/pts/ptmx",
            flags,
            0,
            sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS,
        )?;
        self.master = master;
        // The container's image may hold anything under this name.
        let stat = sys::statx(master)?;
        if (stat.stx_rdev_major, stat.stx_rdev_minor) != (5, 2) {
            return Err(Fail::new(Call::Ioctl, libc::ENOTTY));
        }
        let unlocked = 0i32;
        // SAFETY: the request takes a pointer to an int.
        unsafe { sys::ioctl(master, libc::TIOCSPTLCK, &raw const unlocked as usize) }?;
        // SAFETY: the request takes open flags as a number.
        self.slave = unsafe { sys::ioctl(master, libc::TIOCGPTPEER, (flags | libc::O_CLOEXEC) as usize) }?;
        sys::clear_onlcr(self.slave)?;
        if width != 0 || height != 0 {
            let size = libc::winsize {
                ws_row: height,
                ws_col: width,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // SAFETY: the request takes a pointer to a winsize.
            unsafe { sys::ioctl(self.slave, libc::TIOCSWINSZ, &raw const size as usize) }?;
        }
        match sys::fchown(self.slave, uid, u32::MAX) {
            // A user outside the mapping cannot own it.
            Err(fail) if !matches!(fail.errno, libc::EPERM | libc::EINVAL) => return Err(fail),
            _ => {}
        }
        // SAFETY: the request takes a number.
        unsafe { sys::ioctl(self.slave, libc::TIOCSCTTY, 0) }?;
        (0..3).try_for_each(|fd| sys::dup2(self.slave, fd))
    }

    pub(crate) fn place_console(&mut self, at: Str) -> Result<(), Fail> {
        let mount = sys::open_tree(self.slave, c"", false)?;
        self.set_mount(mount);
        sys::close(core::mem::replace(&mut self.slave, NONE));
        self.place(at, crate::Target::File, crate::PlaceFlags::default())
    }
}
