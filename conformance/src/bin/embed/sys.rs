//! The only door to `unsafe` of this program: an allocator that only the original process may use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, Ordering};

static OWNER: AtomicI32 = AtomicI32::new(0);

/// From now on, allocating in any other process than this one ends that process.
pub fn guard_heap() {
    OWNER.store(std::process::id() as i32, Ordering::Relaxed);
}

/// The system's allocator, which a process that was cloned off a threaded program must not touch: the thread that
/// holds its lock does not exist there.
pub struct OwnersHeap;

fn check() {
    let owner = OWNER.load(Ordering::Relaxed);
    if owner == 0 {
        return;
    }
    // SAFETY: getpid has no arguments and cannot fail; the raw call, as a library may remember the parent's.
    let own = unsafe { libc::syscall(libc::SYS_getpid) };
    if own != i64::from(owner) {
        let message = b"embed: allocation between clone and exec\n";
        // SAFETY: the pointer and the length are those of a constant.
        unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
        // SAFETY: it does not return, and runs nothing of the parent's.
        unsafe { libc::_exit(97) };
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for OwnersHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller keeps the contract, and the pointer is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check();
        // SAFETY: the caller keeps the contract, and the pointer is the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Whether the guard is one: a process that is forked off and allocates must end by it.
pub fn heap_is_guarded() -> bool {
    // SAFETY: the child does nothing but allocate, which is not allowed there: that is what is tried. The heap's
    // lock is free, as this is called before there are other threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it is the child's copy; the message is due for nobody.
        unsafe { libc::close(2) };
        std::hint::black_box(vec![0_u8; 100]);
        // SAFETY: it does not return, and runs nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to a live local.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    child > 0 && waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 97
}

/// The session keyring's number.
pub fn session_keyring() -> i64 {
    // SAFETY: KEYCTL_GET_KEYRING_ID (0) of the session's keyring (-3) takes no pointers.
    unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) }
}
