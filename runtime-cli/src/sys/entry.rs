//! Where the kernel enters this program: ahead of the C library.
//!
//! A command that starts processes runs this program a second time, from a read-only mount of its own file (see
//! `guard`). Starting the C library only to throw it away is the larger part of what that costs, so the entry point
//! does it first, with nothing but system calls. It is only a short cut: whatever goes wrong here is left to
//! `guard`, which looks again, knows the fall-backs and can report errors.
//!
//! Nothing of the C library works yet: no thread-local storage, no `memcpy` (its variants are not chosen yet). That
//! is why strings are compared byte by byte through volatile reads, which the compiler does not turn into calls.

use std::arch::{asm, naked_asm};
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::ptr::read_volatile;

/// The commands that always start processes (`start` only does for hooks). A word that only looks like one costs a
/// needless second start.
const LAUNCHING: [&CStr; 3] = [c"create", c"run", c"exec"];

const STATFS_WORDS: usize = 15;
const STATFS_FLAGS: usize = 10;

const OWN_FILE: &CStr = c"/proc/self/exe";

/// The entry point, named to the linker by `build.rs`. The stack holds the number of arguments, their addresses and
/// those of the environment.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn oci_rt_entry() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov r12, rsp",
        "mov r13, rdx",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {enter}",
        "mov rsp, r12",
        "mov rdx, r13",
        "jmp _start",
        enter = sym enter,
    )
}

/// The same on the other architecture.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn oci_rt_entry() -> ! {
    naked_asm!(
        "mov x29, xzr",
        "mov x30, xzr",
        "mov x19, sp",
        "mov x20, x0",
        "mov x0, sp",
        "bl {enter}",
        "mov sp, x19",
        "mov x0, x20",
        "b _start",
        enter = sym enter,
    )
}

/// One system call; the result is the kernel's, negative for an error.
///
/// # Safety
/// The arguments must be valid for the call.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: i64, arguments: [usize; 5]) -> isize {
    let result;
    // SAFETY: the kernel changes the result and these two registers only, and memory as the call says.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The same on the other architecture.
///
/// # Safety
/// The arguments must be valid for the call.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall(number: i64, arguments: [usize; 5]) -> isize {
    let result;
    // SAFETY: the kernel changes the result only, and memory as the call says.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            options(nostack),
        );
    }
    result
}

/// Runs this program again from a read-only mount, if it is to start processes and does not run from one already.
unsafe extern "C" fn enter(stack: *const usize) {
    // SAFETY: the kernel put the number of arguments there, and their addresses behind it.
    let (count, arguments) = unsafe { (*stack, stack.add(1).cast::<*const c_char>()) };
    // SAFETY: there are `count` of them, each the address of a string.
    let launches = (1..count).any(|index| unsafe { is_launching(*arguments.add(index)) });
    if !launches || is_read_only() {
        return;
    }
    // SAFETY: the environment follows the arguments and their null pointer.
    let environment = unsafe { arguments.add(count + 1) };
    run_again(arguments, environment);
}

/// # Safety
/// `word` must be the address of a string that ends in NUL.
unsafe fn is_launching(word: *const c_char) -> bool {
    LAUNCHING.iter().any(|name| {
        let name = name.as_ptr();
        for index in 0.. {
            // SAFETY: both strings end in NUL, and the first difference or a common NUL ends the loop.
            let (a, b) = unsafe { (read_volatile(word.add(index)), read_volatile(name.add(index))) };
            if a != b {
                return false;
            }
            if a == 0 {
                return true;
            }
        }
        false
    })
}

/// Whether the file of this program is on a read-only mount.
fn is_read_only() -> bool {
    // The words of a `struct statfs`; the libc crate hides the one with the flags.
    let mut stat = MaybeUninit::<[u64; STATFS_WORDS]>::uninit();
    let arguments = [OWN_FILE.as_ptr() as usize, stat.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: the path ends in NUL, and the buffer has the right size.
    if unsafe { syscall(libc::SYS_statfs, arguments) } < 0 {
        return false;
    }
    // SAFETY: the kernel has filled it.
    let flags = unsafe { (*stat.as_ptr())[STATFS_FLAGS] };
    flags & libc::ST_RDONLY != 0
}

/// Returns only if something failed.
fn run_again(arguments: *const *const c_char, environment: *const *const c_char) {
    let empty = c"".as_ptr() as usize;
    let flags = (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as usize;
    let here = libc::AT_FDCWD as usize;
    // SAFETY: the path ends in NUL.
    let mount = unsafe {
        syscall(
            libc::SYS_open_tree,
            [here, OWN_FILE.as_ptr() as usize, flags, 0, 0],
        )
    };
    if mount < 0 {
        return;
    }
    let mount = mount as usize;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let (change, size) = (&raw const attributes as usize, size_of::<libc::mount_attr>());
    let at = libc::AT_EMPTY_PATH as usize;
    // SAFETY: the path is empty, and the structure has the size given.
    let changed = unsafe { syscall(libc::SYS_mount_setattr, [mount, empty, at, change, size]) };
    if changed == 0 {
        let (arguments, environment) = (arguments as usize, environment as usize);
        // SAFETY: both tables come from the kernel as it wants them back.
        unsafe { syscall(libc::SYS_execveat, [mount, empty, arguments, environment, at]) };
    }
    // SAFETY: the descriptor was made above.
    unsafe { syscall(libc::SYS_close, [mount, 0, 0, 0, 0]) };
}
