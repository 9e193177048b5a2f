//! bpf(2), as far as device programs of cgroups need it.

use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// One instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination in the lower four bits, source in the upper.
    pub registers: u8,
    /// Of a jump or a memory access.
    pub offset: i16,
    /// Immediate operand.
    pub value: i32,
}

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;

const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// How many programs the kernel lets be attached to one cgroup.
const MOST_ATTACHED: usize = 64;

/// The parts of `union bpf_attr` that are used. None has padding, which the kernel would want to be zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    flags: u32,
}

#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// Loads a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`.
pub(crate) fn load_device_program(instructions: &[Instruction]) -> Result<OwnedFd, Errno> {
    let mut name = [0; 16];
    name[..11].copy_from_slice(b"oci_devices");
    let mut attributes = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
    };
    // The verifier gives up when a signal comes.
    for _ in 0..5 {
        match call(PROG_LOAD, &mut attributes) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // SAFETY: the kernel has just made this descriptor for us alone.
            done => return done.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }
    Err(Errno::EAGAIN)
}

/// Attaches a program to a cgroup, beside others or in place of one.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let flags = if replaced.is_some() {
        ALLOW_MULTI | REPLACE
    } else {
        ALLOW_MULTI
    };
    let mut attributes = Attach {
        target: number(cgroup),
        program: number(program),
        kind: ATTACH_CGROUP_DEVICE,
        flags,
        replaced: replaced.map_or(0, number),
    };
    call(PROG_ATTACH, &mut attributes).map(drop)
}

/// Detaches a program from a cgroup.
pub(crate) fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attributes = Attach {
        target: number(cgroup),
        program: number(program),
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
        replaced: 0,
    };
    call(PROG_DETACH, &mut attributes).map(drop)
}

/// Numbers of the programs that are attached to a cgroup itself.
pub(crate) fn attached_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut ids = vec![0u32; MOST_ATTACHED];
    let mut attributes = Query {
        target: number(cgroup),
        kind: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        padding: 0,
    };
    call(PROG_QUERY, &mut attributes)?;
    ids.truncate(attributes.count as usize);
    Ok(ids)
}

/// A descriptor of the program with this number.
pub(crate) fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let fd = call(
        PROG_GET_FD_BY_ID,
        &mut ById {
            id,
            next_id: 0,
            flags: 0,
        },
    )?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn call<T>(command: i32, attributes: &mut T) -> Result<i32, Errno> {
    let size = size_of_val(attributes);
    // SAFETY: `attributes` is one of the structures above, valid for its whole size, and the buffers whose addresses
    // it holds are alive in the callers' frames.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    Errno::result(done).map(|fd| fd as i32)
}
