//! Instructions, written from the last to the first.
//!
//! Classic BPF only jumps forward. Written backwards, every target exists before the jump to it, so that
//! distances are known at once, and one that exceeds the 8 bits of a conditional jump is bridged on the spot.

use super::Instruction;
use super::arch::{self, Host};
use super::condition::{Branch, Level, Node, Outcome, Test};

// Classes, sizes, modes and operations of linux/bpf_common.h.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// How far a conditional jump reaches, less the two instructions that may come between it and its target.
const REACH: usize = 253;

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// To an instruction, counted from the end: 1 is the last one.
    Label(usize),
    /// To an instruction that returns this.
    Return(u32),
}

/// The start of a level.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where to go when the first node's word is loaded, or needs not be.
    start: Target,
    /// That word, by its offset.
    word: Option<u32>,
    /// Where to go when another word is loaded; written when that is first needed.
    fresh: Option<Target>,
}

impl Entry {
    fn at(start: Target) -> Entry {
        Entry {
            start,
            word: None,
            fresh: Some(start),
        }
    }
}

/// A program, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// The nearest instruction that returns a value.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    /// Room for a filter of common size.
    pub(super) fn with_capacity(instructions: usize) -> Assembler {
        Assembler {
            reversed: Vec::with_capacity(instructions),
            returns: Vec::new(),
        }
    }

    /// The finished program.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// Loads the word at `offset` and goes on at `target`.
    pub(super) fn load(&mut self, offset: u32, target: Target) -> Target {
        self.fall_into(target);
        self.push(LOAD_WORD, offset)
    }

    /// Branches on whether the loaded word equals `value`.
    pub(super) fn equal(&mut self, value: u32, then: Target, otherwise: Target) -> Target {
        self.branch(JUMP_EQUAL, value, then, otherwise)
    }

    /// Branches on whether the loaded word is at least `value`.
    pub(super) fn at_least(&mut self, value: u32, then: Target, otherwise: Target) -> Target {
        self.branch(JUMP_GREATER_EQUAL, value, then, otherwise)
    }

    /// Writes what follows from `outcome`, with `default` where no rule matches.
    pub(super) fn outcome(&mut self, outcome: &Outcome, default: u32, host: &Host) -> Target {
        match outcome {
            Outcome::Default => Target::Return(default),
            Outcome::Always(action) => Target::Return(*action),
            Outcome::Depends(nodes) => {
                let mut tree = Tree {
                    assembler: self,
                    host,
                    written: Vec::new(),
                };
                let mut entry = tree.level(nodes, Target::Return(default));
                tree.enter(&mut entry, None)
            }
        }
    }

    fn branch(&mut self, code: u16, k: u32, then: Target, otherwise: Target) -> Target {
        if then == otherwise {
            return then;
        }
        let otherwise = self.near(otherwise);
        let then = self.near(then);
        let at = self.reversed.len();
        // `near` left room for the conversions: both are at most 255.
        self.reversed.push(Instruction {
            code,
            jt: (at - then) as u8,
            jf: (at - otherwise) as u8,
            k,
        });
        Target::Label(at + 1)
    }

    /// An instruction within reach that does what `target` says.
    fn near(&mut self, target: Target) -> usize {
        let reaches = |label: usize| self.reversed.len() - label <= REACH;
        match target {
            Target::Label(label) if reaches(label) => label,
            Target::Label(label) => {
                let distance = (self.reversed.len() - label) as u32;
                self.push_plain(JUMP, distance)
            }
            Target::Return(value) => match self.returns.iter().find(|(known, _)| *known == value) {
                Some((_, label)) if reaches(*label) => *label,
                _ => self.push_return(value),
            },
        }
    }

    /// Makes `target` what follows the instruction that is pushed next.
    fn fall_into(&mut self, target: Target) {
        match target {
            Target::Label(label) if label == self.reversed.len() => {}
            Target::Label(label) => {
                let distance = (self.reversed.len() - label) as u32;
                self.push_plain(JUMP, distance);
            }
            Target::Return(value) => {
                self.push_return(value);
            }
        }
    }

    fn push_return(&mut self, value: u32) -> usize {
        let label = self.push_plain(RETURN, value);
        self.returns.retain(|(known, _)| *known != value);
        self.returns.push((value, label));
        label
    }

    fn push(&mut self, code: u16, k: u32) -> Target {
        Target::Label(self.push_plain(code, k))
    }

    fn push_plain(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Instruction {
            code,
            jt: 0,
            jf: 0,
            k,
        });
        self.reversed.len()
    }
}

/// Writes the comparisons of one system call.
struct Tree<'a> {
    assembler: &'a mut Assembler,
    host: &'a Host,
    /// Levels that several branches share, and where they go on.
    written: Vec<(*const Vec<Node>, Target, Entry)>,
}

impl Tree<'_> {
    fn level(&mut self, nodes: &[Node], next: Target) -> Entry {
        let mut entry = Entry::at(next);
        for node in nodes.iter().rev() {
            entry = self.node(node, &mut entry);
        }
        entry
    }

    fn node(&mut self, node: &Node, next: &mut Entry) -> Entry {
        if node.test == Test::MaskedEqual && node.mask == 0 {
            return Entry::at(self.follow(&node.then, next, None));
        }
        let word = self.host.argument(node.index, node.high);
        let unmasked = (node.mask == u32::MAX).then_some(word);
        let otherwise = self.follow(&node.otherwise, next, unmasked);
        let then = self.follow(&node.then, next, unmasked);
        let code = match node.test {
            Test::Equal | Test::MaskedEqual => JUMP_EQUAL,
            Test::Greater => JUMP_GREATER,
            Test::GreaterEqual => JUMP_GREATER_EQUAL,
        };
        let mut start = self.assembler.branch(code, node.value, then, otherwise);
        if unmasked.is_none() {
            self.assembler.fall_into(start);
            start = self.assembler.push(AND, node.mask);
        }
        Entry {
            start,
            word: Some(word),
            fresh: None,
        }
    }

    /// Where `branch` leads while the word at offset `loaded` is.
    fn follow(&mut self, branch: &Branch, next: &mut Entry, loaded: Option<u32>) -> Target {
        match branch {
            Branch::Return(action) => Target::Return(*action),
            Branch::Next => self.enter(next, loaded),
            Branch::Level(level) => {
                let next = self.enter(next, None);
                self.shared(level, next, loaded)
            }
        }
    }

    fn enter(&mut self, entry: &mut Entry, loaded: Option<u32>) -> Target {
        if loaded.is_some() && loaded == entry.word {
            return entry.start;
        }
        let (start, word) = (entry.start, entry.word);
        *entry.fresh.get_or_insert_with(|| match word {
            Some(word) => self.assembler.load(word, start),
            None => start,
        })
    }

    fn shared(&mut self, level: &Level, next: Target, loaded: Option<u32>) -> Target {
        let identity: *const Vec<Node> = &**level;
        let written = self
            .written
            .iter()
            .position(|(known, after, _)| *known == identity && *after == next);
        let at = written.unwrap_or_else(|| {
            let entry = self.level(level, next);
            self.written.push((identity, next, entry));
            self.written.len() - 1
        });
        let mut entry = self.written[at].2;
        let target = self.enter(&mut entry, loaded);
        self.written[at].2 = entry;
        target
    }
}

/// Writes the choice between architectures: `parts` maps what the kernel reports to where to go on.
pub(super) fn choose(assembler: &mut Assembler, parts: &[(u32, Target)], unknown: u32) -> Target {
    let mut next = Target::Return(unknown);
    for (architecture, part) in parts.iter().rev() {
        next = assembler.equal(*architecture, *part, next);
    }
    assembler.load(arch::ARCHITECTURE, next)
}
