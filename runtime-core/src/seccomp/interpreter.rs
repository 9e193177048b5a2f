//! Runs filters as the kernel does; for the tests, those of this module and those in `tests/seccomp`.

use super::Instruction;

/// A system call as a filter sees it, `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Number.
    pub number: u32,
    /// Architecture.
    pub architecture: u32,
    /// Arguments.
    pub arguments: [u64; 6],
    /// Byte order of the machine.
    pub big_endian: bool,
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let half = |value: u64, second: bool| {
            if second == self.big_endian {
                value as u32
            } else {
                (value >> 32) as u32
            }
        };
        match offset {
            0 => self.number,
            4 => self.architecture,
            8 | 12 => 0,
            16..64 => half(self.arguments[(offset as usize - 16) / 8], offset % 8 == 4),
            _ => panic!("load beyond the data"),
        }
    }
}

/// The verdict on `call`, and how many instructions it took.
///
/// Panics where the kernel would not have loaded the program.
pub fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut at, mut steps, mut word) = (0, 0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let mut branch = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => word = call.word(k),
            0x54 => word &= k,
            0x05 => at += k as usize,
            0x15 => branch(word == k),
            0x25 => branch(word > k),
            0x35 => branch(word >= k),
            0x45 => branch(word & k != 0),
            0x06 => return (k, steps),
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// Checks what the kernel checks when it loads a filter.
pub fn verify(program: &[Instruction]) {
    assert!(
        (1..=4096).contains(&program.len()),
        "{} instructions",
        program.len()
    );
    for (at, Instruction { code, jt, jf, k }) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match code {
            0x20 => assert!(k % 4 == 0 && *k < 64, "{at}: load at {k}"),
            0x54 | 0x06 => {}
            0x05 => assert!((*k as usize) < left, "{at}: jump over the end"),
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(
                    usize::from(*jt) < left && usize::from(*jf) < left,
                    "{at}: branch over the end"
                );
            }
            code => panic!("{at}: instruction {code:#x}"),
        }
    }
    assert_eq!(
        program[program.len() - 1].code,
        0x06,
        "the last instruction returns"
    );
}
