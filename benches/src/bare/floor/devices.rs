//! Which devices the container may use: the list that runc always allows.

use crate::sys::{self, Fd, Result};
use crate::text::Text;

const RULES: [&[u8]; 11] = [
    b"c *:* m",
    b"b *:* m",
    b"c 1:3 rwm",
    b"c 1:5 rwm",
    b"c 1:7 rwm",
    b"c 1:8 rwm",
    b"c 1:9 rwm",
    b"c 5:0 rwm",
    b"c 5:1 rwm",
    b"c 5:2 rwm",
    b"c 136:* rwm",
];

/// v1: the rules as text.
pub(super) fn write_rules(directory: &[u8]) -> Result<()> {
    let deny = sys::open(
        libc::AT_FDCWD,
        Text::of(&[directory, b"/devices.deny"]).as_c(),
        libc::O_WRONLY,
    )?;
    sys::write(deny, b"a")?;
    sys::close(deny);
    let allow = sys::open(
        libc::AT_FDCWD,
        Text::of(&[directory, b"/devices.allow"]).as_c(),
        libc::O_WRONLY,
    )?;
    for rule in RULES {
        sys::write(allow, rule)?;
    }
    sys::close(allow);
    Ok(())
}

/// One instruction: code, target register, source register, offset, immediate value.
type Instruction = (u8, u8, u8, i16, i32);

const LOAD: u8 = 0x61;
const COPY: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const IF_EQUAL: u8 = 0x15;
const IF_OTHER: u8 = 0x55;
const EXIT: u8 = 0x95;

/// v2: the same rules as a program. r1 points to three words: access and type, major, minor.
const PROGRAM: [Instruction; 22] = [
    (LOAD, 2, 1, 0, 0),
    (COPY, 3, 2, 0, 0),
    (AND, 2, 0, 0, 0xffff),
    (SHIFT_RIGHT, 3, 0, 0, 16),
    (LOAD, 4, 1, 4, 0),
    (LOAD, 5, 1, 8, 0),
    (SET, 0, 0, 0, 1),
    // To make a node is always allowed: jump to the end.
    (IF_EQUAL, 3, 0, 13, 1),
    // Character devices only, or else jump to the refusal.
    (IF_OTHER, 2, 0, 11, 2),
    (IF_EQUAL, 4, 0, 11, 136),
    (IF_OTHER, 4, 0, 5, 1),
    (IF_EQUAL, 5, 0, 9, 3),
    (IF_EQUAL, 5, 0, 8, 5),
    (IF_EQUAL, 5, 0, 7, 7),
    (IF_EQUAL, 5, 0, 6, 8),
    (IF_EQUAL, 5, 0, 5, 9),
    (IF_OTHER, 4, 0, 3, 5),
    (IF_EQUAL, 5, 0, 3, 0),
    (IF_EQUAL, 5, 0, 2, 1),
    (IF_EQUAL, 5, 0, 1, 2),
    (SET, 0, 0, 0, 0),
    (EXIT, 0, 0, 0, 0),
];

#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 13],
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// v2: loads the program and attaches it to the group.
pub(super) fn attach(group: Fd) -> Result<()> {
    const LOAD_PROGRAM: u32 = 5;
    const ATTACH_PROGRAM: u32 = 8;
    const KIND_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;

    let instructions = PROGRAM.map(|(code, target, source, offset, immediate)| {
        let [o0, o1] = offset.to_le_bytes();
        let [i0, i1, i2, i3] = immediate.to_le_bytes();
        [code, source << 4 | target, o0, o1, i0, i1, i2, i3]
    });
    let load = Load {
        kind: KIND_CGROUP_DEVICE,
        count: PROGRAM.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        rest: [0; 13],
    };
    let program = sys::bpf(LOAD_PROGRAM, &load)?;
    let attach = Attach {
        target: group as u32,
        program: program as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    sys::bpf(ATTACH_PROGRAM, &attach)?;
    sys::close(program);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers to an access (1 mknod, 2 read, 4 write) of a device of `kind` (1 block, 2 character).
    fn verdict(access: u64, kind: u64, major: u64, minor: u64) -> u64 {
        let words = [access << 16 | kind, major, minor];
        let mut registers = [0u64; 6];
        let mut next = 0i16;
        loop {
            let (code, target, source, offset, immediate) = PROGRAM[next as usize];
            let (target, immediate) = (target as usize, immediate as u64);
            next += 1;
            match code {
                LOAD => registers[target] = words[offset as usize / 4],
                COPY => registers[target] = registers[source as usize],
                SET => registers[target] = immediate,
                AND => registers[target] &= immediate,
                SHIFT_RIGHT => registers[target] >>= immediate,
                IF_EQUAL if registers[target] == immediate => next += offset,
                IF_OTHER if registers[target] != immediate => next += offset,
                IF_EQUAL | IF_OTHER => {}
                _ => return registers[0],
            }
        }
    }

    #[test]
    fn the_program_and_the_text_allow_the_same() {
        for (major, minor) in [
            (1, 3),
            (1, 5),
            (1, 7),
            (1, 8),
            (1, 9),
            (5, 0),
            (5, 1),
            (5, 2),
            (136, 0),
            (136, 7),
        ] {
            assert_eq!(verdict(6, 2, major, minor), 1, "c {major}:{minor} rw");
            assert_eq!(verdict(2, 1, major, minor), 0, "b {major}:{minor} r");
        }
        for (major, minor) in [(1, 1), (1, 2), (1, 4), (5, 3), (8, 0), (10, 200), (0, 3)] {
            assert_eq!(verdict(2, 2, major, minor), 0, "c {major}:{minor} r");
            assert_eq!(verdict(1, 1, major, minor), 1, "b {major}:{minor} m");
        }
        assert_eq!(verdict(5, 2, 8, 0), 0, "mknod and write at once");
    }
}
