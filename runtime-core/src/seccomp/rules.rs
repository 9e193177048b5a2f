//! From rules that name calls to what happens to every call of an ABI.

use super::arch::Abi;
use super::condition::{Contradiction, Outcome};
use super::profile::{Comparison, Condition, Profile, Rule};
use super::ranges::{Numbers, Verdict};
use super::table::{ROWS, Row};
use crate::error::{Code, Error, Result};

/// A call through which an ABI reaches several others, told apart by its first argument.
struct Multiplexer {
    name: &'static str,
    /// Names of the others, and what the first argument is for them, from linux/net.h and linux/ipc.h.
    calls: &'static [(&'static str, u8)],
}

const MULTIPLEXERS: [Multiplexer; 2] = [
    Multiplexer {
        name: "socketcall",
        calls: &[
            ("socket", 1),
            ("bind", 2),
            ("connect", 3),
            ("listen", 4),
            ("accept", 5),
            ("getsockname", 6),
            ("getpeername", 7),
            ("socketpair", 8),
            ("send", 9),
            ("recv", 10),
            ("sendto", 11),
            ("recvfrom", 12),
            ("shutdown", 13),
            ("setsockopt", 14),
            ("getsockopt", 15),
            ("sendmsg", 16),
            ("recvmsg", 17),
            ("accept4", 18),
            ("recvmmsg", 19),
            ("sendmmsg", 20),
        ],
    },
    Multiplexer {
        name: "ipc",
        calls: &[
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    },
];

/// What the rules say about a name, before ABIs come into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mention {
    Never,
    /// Only by rules that do what happens anyway.
    Idle,
    /// First by a rule without conditions.
    Always(u32),
    /// First by a rule with conditions.
    Depends,
}

/// The rules of a profile, by call.
pub(super) struct Rules<'a> {
    rules: &'a [Rule<'a>],
    /// Calls and the rules that name them, in the profile's order, without those that do what happens anyway.
    named: Vec<(Row, &'a Rule<'a>)>,
    mentions: [Mention; ROWS],
    /// Names that are no calls.
    pub(super) unknown: Vec<&'a str>,
    /// Outcomes that look at arguments.
    pub(super) outcomes: Vec<Outcome>,
    /// Those already in `outcomes`, by call and width of the arguments.
    known: Vec<(Row, bool, Option<Verdict>)>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(profile: &'a Profile<'a>) -> Rules<'a> {
        let names = profile.rules.iter().map(|rule| rule.names.len()).sum();
        let mut rules = Rules {
            rules: &profile.rules,
            named: Vec::with_capacity(names),
            mentions: [Mention::Never; ROWS],
            unknown: Vec::new(),
            outcomes: Vec::new(),
            known: Vec::new(),
        };
        for rule in rules.rules {
            for name in rule.names {
                match Row::of(name) {
                    Some(row) => rules.mention(row, rule, profile.default),
                    None => rules.unknown.push(name),
                }
            }
        }
        rules
    }

    fn mention(&mut self, row: Row, rule: &'a Rule<'a>, default: u32) {
        let mention = &mut self.mentions[row.index()];
        if rule.action == default {
            if *mention == Mention::Never {
                *mention = Mention::Idle;
            }
            return;
        }
        self.named.push((row, rule));
        if matches!(mention, Mention::Never | Mention::Idle) {
            *mention = match rule.alternatives.is_empty() {
                true => Mention::Always(rule.action),
                false => Mention::Depends,
            };
        }
    }

    /// What happens to the calls of `abi`.
    pub(super) fn numbers(&mut self, abi: &Abi) -> Result<Numbers> {
        let mut numbers = Numbers {
            verdicts: Vec::with_capacity(ROWS),
            largest: None,
        };
        let multiplexed = if abi.multiplexed {
            multiplexed()
        } else {
            [None; ROWS]
        };
        for row in Row::all() {
            let mention = self.mentions[row.index()];
            let Some(number) = row.number(abi.column).map(|number| abi.base + number) else {
                continue;
            };
            if mention == Mention::Never {
                continue;
            }
            // libseccomp knows multiplexed calls by numbers of its own, even where they have real ones too, so
            // they do not count as the newest call for runc.
            if number > 0 && multiplexed[row.index()].is_none() {
                numbers.largest = numbers.largest.max(Some(number));
            }
            let verdict = match mention {
                Mention::Always(action) => Some(Verdict::Return(action)),
                Mention::Depends => self.depends(row, abi.wide)?,
                Mention::Idle | Mention::Never => None,
            };
            numbers.verdicts.extend(verdict.map(|verdict| (number, verdict)));
        }
        if abi.multiplexed {
            for multiplexer in &MULTIPLEXERS {
                self.multiplexer(multiplexer, &multiplexed, abi, &mut numbers)?;
            }
        }
        Ok(numbers)
    }

    /// The verdict on a call whose rules have conditions.
    fn depends(&mut self, row: Row, wide: bool) -> Result<Option<Verdict>> {
        let key = |(known, width, _): &&(Row, bool, _)| *known == row && *width == wide;
        if let Some((_, _, verdict)) = self.known.iter().find(key) {
            return Ok(*verdict);
        }
        let mut outcome = Outcome::Default;
        for (_, rule) in self.named.iter().filter(|(named, _)| *named == row) {
            add(&mut outcome, rule, None, wide).map_err(|_| contradiction(row.name()))?;
        }
        let verdict = self.verdict(outcome);
        self.known.push((row, wide, verdict));
        Ok(verdict)
    }

    /// Adds the verdict on `socketcall` or `ipc`, which the rules name by itself and by what it reaches.
    fn multiplexer(
        &mut self,
        multiplexer: &Multiplexer,
        multiplexed: &[Option<(&'static str, u8)>; ROWS],
        abi: &Abi,
        numbers: &mut Numbers,
    ) -> Result<()> {
        let Some(gate) = Row::of(multiplexer.name) else {
            return Ok(());
        };
        let Some(number) = gate.number(abi.column).map(|number| abi.base + number) else {
            return Ok(());
        };
        if matches!(self.mentions[gate.index()], Mention::Always(_)) {
            return Ok(());
        }
        let mut outcome = Outcome::Default;
        for (row, rule) in &self.named {
            let selector = match multiplexed[row.index()] {
                Some((name, selector)) if name == multiplexer.name => Some(selector),
                _ if *row == gate => None,
                _ => continue,
            };
            add(&mut outcome, rule, selector, abi.wide).map_err(|_| contradiction(multiplexer.name))?;
        }
        let verdict = self.verdict(outcome);
        numbers.verdicts.retain(|(other, _)| *other != number);
        numbers.verdicts.extend(verdict.map(|verdict| (number, verdict)));
        Ok(())
    }

    fn verdict(&mut self, outcome: Outcome) -> Option<Verdict> {
        match outcome {
            Outcome::Default => None,
            Outcome::Always(action) => Some(Verdict::Return(action)),
            depends => {
                self.outcomes.push(depends);
                Some(Verdict::Depends(self.outcomes.len() - 1))
            }
        }
    }
}

/// Adds a rule to the outcome of a call. A `selector` takes the place of any condition on the first argument;
/// those on the others stay, as in libseccomp, though a multiplexer's other arguments mean something else.
fn add(outcome: &mut Outcome, rule: &Rule, selector: Option<u8>, wide: bool) -> Result<(), Contradiction> {
    let always = Vec::new();
    let alternatives = if rule.alternatives.is_empty() {
        std::slice::from_ref(&always)
    } else {
        &rule.alternatives
    };
    for conditions in alternatives {
        match selector {
            None => outcome.add(conditions, rule.action, wide)?,
            Some(selector) => {
                let first = Condition {
                    index: 0,
                    comparison: Comparison::Equal,
                    mask: u64::MAX,
                    value: selector.into(),
                };
                let others = conditions
                    .iter()
                    .copied()
                    .filter(|condition| condition.index != 0);
                let conditions: Vec<_> = std::iter::once(first).chain(others).collect();
                outcome.add(&conditions, rule.action, wide)?;
            }
        }
    }
    Ok(())
}

/// For every call the multiplexer that reaches it, and its selector there.
fn multiplexed() -> [Option<(&'static str, u8)>; ROWS] {
    let mut multiplexed = [None; ROWS];
    for multiplexer in &MULTIPLEXERS {
        for (name, selector) in multiplexer.calls {
            if let Some(row) = Row::of(name) {
                multiplexed[row.index()] = Some((multiplexer.name, *selector));
            }
        }
    }
    multiplexed
}

fn contradiction(name: &str) -> Error {
    Error::new(Code::InvalidConfig, "compile linux.seccomp")
        .operand(name)
        .reason("two rules have the same arguments and different actions")
}

/// Whether some ABIs reach this call through another.
#[cfg(test)]
pub(super) fn is_multiplexed(name: &str) -> bool {
    MULTIPLEXERS
        .iter()
        .flat_map(|multiplexer| multiplexer.calls)
        .any(|(known, _)| *known == name)
}
