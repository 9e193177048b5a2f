//! What happens to every number, as ranges, and the search tree over them.

use super::arch::{self, Abi, Host, X32_BIT};
use super::assembler::{Assembler, Target};
use super::condition::Outcome;
use super::profile::{ALLOW, ERRNO, KILL_THREAD, LOG, TRACE};

/// The same number on every architecture that is known.
const ENOSYS: u32 = ERRNO | 38;
/// What a tracer sets to have a call skipped; the filter sees it again then.
const SKIPPED: u32 = u32::MAX;

/// Outcome of a number: a value to return, or the index of an outcome that looks at arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Return(u32),
    Depends(usize),
}

/// The numbers of one ABI.
#[derive(Debug)]
pub(super) struct Numbers {
    /// What the rules say, by number.
    pub verdicts: Vec<(u32, Verdict)>,
    /// The largest number that the profile names.
    pub largest: Option<u32>,
}

/// What holds from a number on for calls without a rule.
#[derive(Debug, Clone, Copy)]
struct Zone {
    start: u32,
    value: u32,
    /// Rules do not count.
    absolute: bool,
}

/// Ranges from their first number on, the first from 0.
#[derive(Debug)]
pub(super) struct Ranges(Vec<(u32, Verdict)>);

impl Ranges {
    /// Lays out the ABIs that share one architecture: one, or x86-64 and x32.
    ///
    /// Calls newer than any that the profile names return ENOSYS rather than the default action, unless that
    /// lets them through: the profile's author could not know them, and C libraries fall back to older calls
    /// on ENOSYS only. runc does the same, by a program of its own before libseccomp's.
    pub(super) fn new(abis: &[Abi], mut numbers: Vec<Numbers>, default: u32) -> Ranges {
        if matches!(default & 0xffff_0000, ALLOW | LOG | TRACE) {
            numbers.iter_mut().for_each(|numbers| numbers.largest = None);
        }
        let largest = numbers[0].largest;
        let zones = match abis {
            [abi] if abi.is_x86_64() => x86_64_zones(largest, None, default),
            [abi] => zones(abi, largest, default),
            _ => x86_64_zones(largest, Some(numbers[1].largest), default),
        };
        let mut verdicts: Vec<_> = numbers.into_iter().flat_map(|numbers| numbers.verdicts).collect();
        verdicts.sort_unstable_by_key(|(number, _)| *number);
        Ranges::lay(&zones, &verdicts)
    }

    fn lay(zones: &[Zone], verdicts: &[(u32, Verdict)]) -> Ranges {
        let mut ranges = Ranges(Vec::with_capacity(verdicts.len()));
        let mut verdicts = verdicts.iter().peekable();
        for (at, zone) in zones.iter().enumerate() {
            let background = Verdict::Return(zone.value);
            ranges.push(zone.start, background);
            let end = zones.get(at + 1).map(|next| next.start);
            while let Some((number, verdict)) =
                verdicts.next_if(|(number, _)| end.is_none_or(|end| *number < end))
            {
                if zone.absolute {
                    continue;
                }
                ranges.push(*number, *verdict);
                if number + 1 != end.unwrap_or(0) {
                    ranges.push(number + 1, background);
                }
            }
        }
        ranges
    }

    fn push(&mut self, start: u32, verdict: Verdict) {
        match self.0.last() {
            Some((last, _)) if *last == start => {
                self.0.pop();
                self.push(start, verdict);
            }
            Some((_, last)) if *last == verdict => {}
            _ => self.0.push((start, verdict)),
        }
    }
}

/// Zones of an ABI that has its architecture for itself.
fn zones(abi: &Abi, largest: Option<u32>, default: u32) -> Vec<Zone> {
    let mut zones = vec![Zone {
        start: 0,
        value: default,
        absolute: false,
    }];
    if let Some(largest) = largest {
        if abi.is_s390() {
            // Numbers that the kernel does not know arrive as 0 there.
            zones[0] = Zone {
                start: 0,
                value: ENOSYS,
                absolute: true,
            };
            zones.push(Zone {
                start: 1,
                value: default,
                absolute: false,
            });
        }
        zones.push(Zone {
            start: largest + 1,
            value: ENOSYS,
            absolute: true,
        });
    }
    zones
}

/// Zones of x86-64 and x32, whose numbers have bit 30 set. `x32` is absent when the profile does not list it:
/// its calls then meet the action for unknown architectures.
fn x86_64_zones(largest: Option<u32>, x32: Option<Option<u32>>, default: u32) -> Vec<Zone> {
    let open = |start| Zone {
        start,
        value: default,
        absolute: false,
    };
    let missing = |start| Zone {
        start,
        value: ENOSYS,
        absolute: true,
    };
    let killed = |start| Zone {
        start,
        value: KILL_THREAD,
        absolute: true,
    };
    let mut zones = vec![open(0)];
    zones.extend(largest.map(|largest| missing(largest + 1)));
    match x32 {
        None => zones.push(killed(X32_BIT)),
        Some(x32) => {
            zones.push(open(X32_BIT));
            zones.extend(x32.map(|largest| missing(largest + 1)));
        }
    }
    // No call has such numbers; but a program can try them.
    zones.push(match (largest, x32) {
        (Some(_), _) => missing(2 * X32_BIT),
        (None, Some(_)) => open(2 * X32_BIT),
        (None, None) => killed(2 * X32_BIT),
    });
    zones.push(match x32 {
        Some(Some(_)) => missing(3 * X32_BIT),
        Some(None) => open(3 * X32_BIT),
        None => killed(3 * X32_BIT),
    });
    if x32.is_none() {
        zones.push(open(SKIPPED));
    }
    zones
}

/// Writes binary searches, so that a verdict takes the logarithm of the number of ranges, which is far below
/// that of the calls: profiles allow runs of numbers.
pub(super) struct Search<'a> {
    assembler: &'a mut Assembler,
    outcomes: &'a [Outcome],
    default: u32,
    host: &'a Host,
    /// Where the comparisons of an outcome begin, once they are written.
    written: Vec<Option<Target>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        assembler: &'a mut Assembler,
        outcomes: &'a [Outcome],
        default: u32,
        host: &'a Host,
    ) -> Search<'a> {
        Search {
            assembler,
            outcomes,
            default,
            host,
            written: vec![None; outcomes.len()],
        }
    }

    /// Writes the verdicts on all numbers of an architecture.
    pub(super) fn write(&mut self, ranges: &Ranges) -> Target {
        let start = self.tree(&ranges.0);
        self.assembler.load(arch::NUMBER, start)
    }

    fn tree(&mut self, ranges: &[(u32, Verdict)]) -> Target {
        if let [(_, verdict)] = ranges {
            return self.verdict(*verdict);
        }
        let (below, above) = ranges.split_at(ranges.len() / 2);
        let then = self.tree(above);
        let otherwise = self.tree(below);
        self.assembler.at_least(above[0].0, then, otherwise)
    }

    fn verdict(&mut self, verdict: Verdict) -> Target {
        let index = match verdict {
            Verdict::Return(value) => return Target::Return(value),
            Verdict::Depends(index) => index,
        };
        if let Some(target) = self.written[index] {
            return target;
        }
        let target = self
            .assembler
            .outcome(&self.outcomes[index], self.default, self.host);
        self.written[index] = Some(target);
        target
    }
}
