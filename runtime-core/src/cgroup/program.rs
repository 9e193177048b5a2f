//! The device rules of version 2: a program that the kernel asks at every mknod(2) and open(2) of a device.
//!
//! Later rules win, for each kind of access by itself. So the program goes through them from the last one: one that
//! denies something of what is wanted ends it, one that allows strikes its part off, and when nothing is left to be
//! decided the answer is yes.

use super::devices::{ALL, Kind, MKNOD, READ, Rule, WRITE};
use crate::sys::bpf::Instruction;

/// Registers: 0 is the answer, 1 comes with the address of the question.
const ANSWER: u8 = 0;
const QUESTION: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// The operations that are needed; `32` compares the lower half, so that no number is taken as negative.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_IF_NOT_32: u8 = 0x56;
const JUMP_IF_ANY_32: u8 = 0x46;
const EXIT: u8 = 0x95;

/// The kernel's numbers of the two kinds; those of the kinds of access are ours.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const _: () = assert!(MKNOD == 1 && READ == 2 && WRITE == 4);

fn instruction(code: u8, register: u8, offset: i16, value: i32) -> Instruction {
    Instruction {
        code,
        registers: register,
        offset,
        value,
    }
}

/// The program for `rules`; `None` when it would always say yes.
pub(super) fn compile(rules: &[Rule]) -> Option<Vec<Instruction>> {
    let start = rules.iter().rposition(Rule::is_all);
    let otherwise = start.is_some_and(|at| rules[at].allow);
    let rules = &rules[start.map_or(0, |at| at + 1)..];
    if otherwise && rules.iter().all(|rule| rule.allow) {
        return None;
    }
    let load = |into: u8, at: i16| instruction(LOAD_WORD, into | QUESTION << 4, at, 0);
    let mut program = vec![
        load(KIND, 0),
        load(WANTED, 0),
        load(MAJOR, 4),
        load(MINOR, 8),
        instruction(AND, KIND, 0, 0xffff),
        instruction(SHIFT_RIGHT, WANTED, 0, 16),
    ];
    for (index, rule) in rules.iter().enumerate().rev() {
        let decided = rules[index + 1..].iter().any(|later| covers(later, rule));
        if !decided {
            program.extend(block(rule));
        }
    }
    program.extend(answer(otherwise));
    Some(program)
}

/// Whether nothing that `rule` speaks of gets past `later`.
fn covers(later: &Rule, rule: &Rule) -> bool {
    fn within<T: PartialEq>(of: Option<T>, part: Option<T>) -> bool {
        of.is_none() || of == part
    }
    within(later.kind, rule.kind)
        && within(later.major, rule.major)
        && within(later.minor, rule.minor)
        && rule.access & !later.access == 0
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        instruction(MOVE, ANSWER, 0, allow.into()),
        instruction(EXIT, 0, 0, 0),
    ]
}

/// One rule; whatever does not match jumps behind it.
fn block(rule: &Rule) -> Vec<Instruction> {
    let kind = rule
        .kind
        .map(|kind| if kind == Kind::Block { BLOCK } else { CHARACTER });
    let number = |number: Option<u32>| number.map(|number| number as i32);
    let mut block: Vec<Instruction> = [
        (KIND, kind),
        (MAJOR, number(rule.major)),
        (MINOR, number(rule.minor)),
    ]
    .into_iter()
    .filter_map(|(register, value)| Some(instruction(JUMP_IF_NOT_32, register, 0, value?)))
    .collect();
    let bits = i32::from(rule.access);
    match (rule.allow, rule.access) {
        (_, ALL) => {}
        (true, _) => {
            block.push(instruction(AND, WANTED, 0, !bits));
            block.push(instruction(JUMP_IF_NOT_32, WANTED, 0, 0));
        }
        (false, _) => {
            block.push(instruction(JUMP_IF_ANY_32, WANTED, 1, bits));
            block.push(instruction(JUMP, 0, 0, 0));
        }
    }
    block.extend(answer(rule.allow));
    let length = block.len() as i16;
    for (at, jump) in (0i16..).zip(&mut block) {
        if matches!(jump.code, JUMP_IF_NOT_32 | JUMP) {
            jump.offset = length - at - 1;
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::super::devices::rules;
    use super::*;
    use crate::spec::DeviceRule;

    /// Runs the program as the kernel would.
    fn run(program: &[Instruction], kind: i32, major: u32, minor: u32, access: u8) -> bool {
        let question = [kind as u32 | u32::from(access) << 16, major, minor];
        let mut registers = [0u64; 6];
        let mut at = 0usize;
        for _ in 0..100_000 {
            let one = program[at];
            let (into, from) = (usize::from(one.registers & 15), usize::from(one.registers >> 4));
            let value = i64::from(one.value) as u64;
            let jump = (at as i64 + i64::from(one.offset)) as usize;
            match one.code {
                LOAD_WORD => {
                    assert_eq!(from, usize::from(QUESTION));
                    registers[into] = u64::from(question[one.offset as usize / 4]);
                }
                MOVE => registers[into] = value,
                AND => registers[into] &= value,
                SHIFT_RIGHT => registers[into] >>= value,
                JUMP => at = jump,
                JUMP_IF_NOT_32 if registers[into] as u32 != one.value as u32 => at = jump,
                JUMP_IF_ANY_32 if registers[into] as u32 & one.value as u32 != 0 => at = jump,
                JUMP_IF_NOT_32 | JUMP_IF_ANY_32 => {}
                EXIT => return registers[0] != 0,
                other => panic!("unknown operation {other:#x}"),
            }
            at += 1;
        }
        panic!("the program does not end");
    }

    /// The verdict by definition: for each kind of access the last rule that speaks of it.
    fn verdict(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        [MKNOD, READ, WRITE]
            .into_iter()
            .filter(|bit| access & bit != 0)
            .all(|bit| {
                let speaks = |rule: &&Rule| {
                    rule.kind.is_none_or(|of| of == kind)
                        && rule.major.is_none_or(|of| of == major)
                        && rule.minor.is_none_or(|of| of == minor)
                        && rule.access & bit != 0
                };
                rules.iter().rev().find(speaks).is_some_and(|rule| rule.allow)
            })
    }

    fn agree(rules: &[Rule]) {
        let program = compile(rules);
        for (kind, number) in [(Kind::Block, BLOCK), (Kind::Character, CHARACTER)] {
            for major in [0, 1, 5, 8, 136, 0x8000_0001, u32::MAX] {
                for minor in [0, 1, 2, 3, 229, u32::MAX] {
                    for access in 1..=ALL {
                        let said = program
                            .as_ref()
                            .is_none_or(|program| run(program, number, major, minor, access));
                        let expected = verdict(rules, kind, major, minor, access);
                        assert_eq!(
                            said, expected,
                            "{kind:?} {major}:{minor} {access:#b} of {rules:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_default_rules() {
        let rules = rules(&[], &[]).unwrap();
        agree(&rules);
        let program = compile(&rules).unwrap();
        assert!(run(&program, CHARACTER, 1, 3, ALL));
        assert!(run(&program, CHARACTER, 136, 77, READ | WRITE));
        assert!(run(&program, BLOCK, 8, 0, MKNOD));
        assert!(!run(&program, BLOCK, 8, 0, READ));
        assert!(!run(&program, CHARACTER, 10, 229, READ));
        assert!(!run(&program, CHARACTER, 1, 1, MKNOD | WRITE));
    }

    #[test]
    fn holes_work_here() {
        let all = |allow| Rule {
            allow,
            ..Rule::all(allow)
        };
        let disk = |allow, access| Rule {
            kind: Some(Kind::Block),
            major: Some(8),
            access,
            ..Rule::all(allow)
        };
        agree(&[all(true), disk(false, WRITE)]);
        agree(&[
            all(false),
            disk(true, ALL),
            Rule {
                minor: Some(1),
                ..disk(false, READ)
            },
        ]);
        agree(&[
            all(true),
            disk(false, READ | WRITE),
            Rule {
                minor: Some(2),
                ..disk(true, READ)
            },
            disk(false, MKNOD),
        ]);
        agree(&[
            all(false),
            Rule {
                major: Some(u32::MAX),
                ..Rule::all(true)
            },
        ]);
        agree(&[]);
    }

    #[test]
    fn all_devices_need_no_program() {
        let everything = DeviceRule {
            allow: true,
            access: Some("rwm".into()),
            ..DeviceRule::default()
        };
        assert_eq!(compile(&rules(&[everything], &[]).unwrap()), None);
        assert!(compile(&[Rule::all(false)]).is_some());
    }

    #[test]
    fn random_lists_agree_with_the_definition() {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let numbers = [None, Some(0), Some(1), Some(8), Some(u32::MAX)];
        for _ in 0..200 {
            let rules: Vec<Rule> = (0..next(9))
                .map(|_| Rule {
                    allow: next(2) == 0,
                    kind: [None, Some(Kind::Block), Some(Kind::Character)][next(3) as usize],
                    major: numbers[next(5) as usize],
                    minor: numbers[next(5) as usize],
                    access: 1 + next(7) as u8,
                })
                .collect();
            agree(&rules);
        }
    }

    #[test]
    fn every_jump_stays_inside_and_every_path_ends() {
        let program = compile(&rules(&[], &[]).unwrap()).unwrap();
        for (at, one) in program.iter().enumerate() {
            if matches!(one.code, JUMP | JUMP_IF_NOT_32 | JUMP_IF_ANY_32) {
                let target = at as i64 + 1 + i64::from(one.offset);
                assert!(
                    target > at as i64 && target < program.len() as i64,
                    "{at}: {one:?}"
                );
            }
        }
        assert_eq!(program.last().unwrap().code, EXIT);
    }
}
