//! The page that parent and child share.

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::Call;

/// Where the child is and why it stopped. It outlives the child; whoever reads it treats it as untrusted.
#[derive(Debug)]
#[repr(C)]
pub struct Page {
    step: AtomicU32,
    call: AtomicU32,
    errno: AtomicI32,
    detail: AtomicI32,
    successor: AtomicI32,
}

impl Page {
    /// Size of the mapping in bytes.
    pub const SIZE: usize = 4096;

    /// Number of the step that was begun last.
    pub fn step(&self) -> usize {
        self.step.load(Ordering::Acquire) as usize
    }

    /// The call that failed and its errno, if one did.
    pub fn failure(&self) -> Option<(Call, i32)> {
        match self.errno.load(Ordering::Acquire) {
            0 => None,
            errno => Some((Call::from_number(self.call.load(Ordering::Relaxed)), errno)),
        }
    }

    /// A number that some steps leave: which candidate, which descriptor.
    pub fn detail(&self) -> i32 {
        self.detail.load(Ordering::Relaxed)
    }

    /// The process that took over from the one that was cloned, if one did.
    pub fn successor(&self) -> Option<i32> {
        Some(self.successor.load(Ordering::Acquire)).filter(|&pid| pid > 0)
    }

    /// Where the kernel writes the pid of that process, before it runs.
    pub(crate) fn successor_address(&self) -> u64 {
        self.successor.as_ptr() as u64
    }

    pub(crate) fn begin(&self, step: u32) {
        self.step.store(step, Ordering::Release);
    }

    pub(crate) fn note(&self, detail: i32) {
        self.detail.store(detail, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self, call: Call, errno: i32) {
        self.call.store(call as u32, Ordering::Relaxed);
        self.errno
            .store(if errno == 0 { libc::EIO } else { errno }, Ordering::Release);
    }
}
