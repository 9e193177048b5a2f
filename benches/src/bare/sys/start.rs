//! What stands between `execve` and a program when there is no C library.

use core::ffi::{CStr, c_char};

/// The arguments of the program.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    list: [&'a CStr; Args::MAX],
    len: usize,
}

impl<'a> Args<'a> {
    const MAX: usize = 32;

    /// Of strings that the caller holds; those beyond the room for them are left out.
    pub fn new(strings: impl Iterator<Item = &'a CStr>) -> Self {
        let mut args = Self {
            list: [c""; Self::MAX],
            len: 0,
        };
        for (slot, string) in args.list.iter_mut().zip(strings) {
            *slot = string;
            args.len += 1;
        }
        args
    }

    /// All of them, the program's name first.
    pub fn as_slice(&self) -> &[&'a CStr] {
        &self.list[..self.len]
    }
}

impl Args<'static> {
    /// Reads them off the stack as the kernel has left it.
    ///
    /// # Safety
    /// `stack` is the stack pointer that the program was started with.
    pub unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: the kernel puts the number of arguments at the stack pointer.
        let count = unsafe { *stack };
        Self::new((1..=count).map(|index| {
            // SAFETY: that many pointers to NUL-terminated strings follow; they live as long as the process.
            unsafe { CStr::from_ptr(*stack.add(index) as *const c_char) }
        }))
    }
}

/// Makes `fn(&Args) -> i32` a whole program: entry point, panic handler and the memory functions that the
/// compiler takes for granted.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "xor ebp, ebp",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {entry}",
            "ud2",
            entry = sym entry,
        );

        extern "C" fn entry(stack: *const usize) -> ! {
            // SAFETY: `_start` hands over the initial stack pointer.
            let args = unsafe { $crate::sys::start::Args::from_stack(stack) };
            $crate::sys::exit($main(&args))
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo) -> ! {
            $crate::sys::exit(101)
        }

        /// The compiler emits calls to these four; `rep` keeps it from emitting them inside themselves.
        // SAFETY: the name and the contract are those of C.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
            // SAFETY: the caller vouches for both areas.
            unsafe { $crate::sys::start::copy_forwards(to, from, count) };
            to
        }

        // SAFETY: the name and the contract are those of C.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
            if (to as usize).wrapping_sub(from as usize) >= count {
                // SAFETY: the caller vouches for both areas, and the target does not start inside the source.
                unsafe { $crate::sys::start::copy_forwards(to, from, count) };
            } else {
                // SAFETY: as above, but the target starts inside the source, so the end goes first.
                unsafe { $crate::sys::start::copy_backwards(to, from, count) };
            }
            to
        }

        // SAFETY: the name and the contract are those of C.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
            // SAFETY: the caller vouches for the area.
            unsafe { $crate::sys::start::fill(to, byte as u8, count) };
            to
        }

        // SAFETY: the name and the contract are those of C.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
            // SAFETY: the caller vouches for both areas.
            unsafe { $crate::sys::start::compare(left, right, count) }
        }

        // SAFETY: the name and the contract are those of C.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn strlen(text: *const u8) -> usize {
            // SAFETY: the caller vouches for the NUL at the end.
            unsafe { $crate::sys::start::length(text) }
        }
    };
}

/// Copies from the first byte to the last.
///
/// # Safety
/// Both areas are valid for `count` bytes, and `to` does not lie inside the source.
pub unsafe fn copy_forwards(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller vouches for both areas; the direction flag is clear by the ABI.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Copies from the last byte to the first.
///
/// # Safety
/// Both areas are valid for `count` bytes.
pub unsafe fn copy_backwards(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller vouches for both areas; the direction flag is clear again afterwards.
    unsafe {
        core::arch::asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") count => _,
            inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _,
            options(nostack)
        );
    }
}

/// Sets `count` bytes.
///
/// # Safety
/// The area is valid for `count` bytes.
pub unsafe fn fill(to: *mut u8, byte: u8, count: usize) {
    // SAFETY: the caller vouches for the area; the direction flag is clear by the ABI.
    unsafe {
        core::arch::asm!(
            "rep stosb",
            inout("rcx") count => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags)
        );
    }
}

/// The difference of the first bytes that differ.
///
/// # Safety
/// Both areas are valid for `count` bytes.
pub unsafe fn compare(left: *const u8, right: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: `index` is below `count`.
        let (a, b) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// The number of bytes before the NUL.
///
/// # Safety
/// A NUL ends the text.
pub unsafe fn length(text: *const u8) -> usize {
    let mut count = 0;
    // SAFETY: nothing behind the NUL is read.
    while unsafe { text.add(count).read_volatile() } != 0 {
        count += 1;
    }
    count
}
