//! What the steps share: the program, the socket, and the few descriptors that one step opens for another.

use core::ffi::{CStr, c_char};

use crate::sys::{self, Call, Fail};
use crate::{List, Numbers, Page, Point, Program, Str, Supply};

/// No descriptor.
pub(crate) const NONE: i32 = -1;

/// The state of one run.
pub(crate) struct Context<'a> {
    pub(crate) program: &'a Program<'a>,
    pub(crate) socket: i32,
    page: *mut Page,
    /// The directory that paths in the container start from.
    pub(crate) root: i32,
    /// Inode and mount of that directory, once they were asked for.
    pub(crate) root_identity: Option<(u64, u64)>,
    /// The mount that the next steps work on.
    pub(crate) mount: i32,
    /// A mount that others go right below.
    pub(crate) base: i32,
    /// A private procfs.
    pub(crate) proc: i32,
    /// The host's /dev/null, checked.
    pub(crate) null: i32,
    /// An empty read-only file system, and whether it is attached already.
    pub(crate) empty: i32,
    pub(crate) empty_attached: bool,
    /// Both ends of the console.
    pub(crate) master: i32,
    pub(crate) slave: i32,
    /// Namespaces that could not be joined before the user namespace was.
    pub(crate) pending: i32,
    /// What to execute.
    pub(crate) executable: *const c_char,
    /// `HOME=…`, for as long as the run lasts.
    pub(crate) home: [u8; HOME_MAX],
}

/// Longest `HOME=` entry that is taken from /etc/passwd.
pub(crate) const HOME_MAX: usize = 512;

impl<'a> Context<'a> {
    pub(crate) fn new(program: &'a Program<'a>, socket: i32, page: *mut Page) -> Context<'a> {
        Context {
            program,
            socket,
            page,
            root: NONE,
            root_identity: None,
            mount: NONE,
            base: NONE,
            proc: NONE,
            null: NONE,
            empty: NONE,
            empty_attached: false,
            master: NONE,
            slave: NONE,
            pending: 0,
            executable: core::ptr::null(),
            home: [0; HOME_MAX],
        }
    }

    pub(crate) fn page(&self) -> &Page {
        // SAFETY: the caller of `run` vouches for the mapping; all its fields are atomics.
        unsafe { &*self.page }
    }

    pub(crate) fn str(&self, at: Str) -> &'a CStr {
        let bytes = self.program.arena.get(at.0 as usize..).unwrap_or(b"\0");
        CStr::from_bytes_until_nul(bytes).unwrap_or(c"")
    }

    pub(crate) fn list(&self, list: List) -> &'a [Str] {
        let start = list.start as usize;
        self.program
            .strings
            .get(start..start + list.len as usize)
            .unwrap_or(&[])
    }

    pub(crate) fn numbers(&self, numbers: Numbers) -> &'a [u64] {
        let start = numbers.start as usize;
        self.program
            .numbers
            .get(start..start + numbers.len as usize)
            .unwrap_or(&[])
    }

    /// The number of a descriptor that was received.
    pub(crate) fn supply(&self, supply: Supply) -> i32 {
        // SAFETY: the parent has made the table as long as the number of all supplies.
        unsafe { self.program.supplies.add(supply.0 as usize).read() }
    }

    /// Receives `count` descriptors, in as many messages as they take, and at least one message; they get no number
    /// below `base`.
    pub(crate) fn receive(&mut self, count: u32, base: i32) -> Result<(), Fail> {
        let mut received = 0;
        loop {
            // SAFETY: the table is that long, and nobody else looks at it meanwhile.
            let table = unsafe {
                let start = self.program.supplies.add(received);
                core::slice::from_raw_parts_mut(start, count as usize - received)
            };
            let Some(got) = sys::receive_fds(self.socket, table)? else {
                // The parent is gone: nobody would know of this process.
                sys::exit(1)
            };
            for fd in &mut table[..got] {
                if *fd < base {
                    let low = core::mem::replace(fd, sys::dup_above(*fd, base)?);
                    sys::close(low);
                }
            }
            received += got;
            if received == count as usize {
                return Ok(());
            }
        }
    }

    /// Stops at `point`. The console's master goes along with the last one.
    pub(crate) fn sync(&mut self, point: Point) -> Result<(), Fail> {
        let console = if point == Point::Ready {
            core::mem::replace(&mut self.master, NONE)
        } else {
            NONE
        };
        sys::send(self.socket, point as u8, console)?;
        sys::close(console);
        let mut answer = [0u8];
        match sys::read(self.socket, &mut answer)? {
            1 if answer[0] == point as u8 => Ok(()),
            1 => Err(Fail::new(Call::Recv, libc::EPROTO)),
            // The parent is gone: nobody would know of this process.
            _ => sys::exit(1),
        }
    }

    /// Makes `fd` the current mount.
    pub(crate) fn set_mount(&mut self, fd: i32) {
        sys::close(core::mem::replace(&mut self.mount, fd));
    }
}
