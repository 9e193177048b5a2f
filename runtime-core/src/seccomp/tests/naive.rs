//! Random profiles on every machine: each program against a plain reading of its profile.

use super::*;
use crate::spec::{SyscallArg, SyscallRule};

const ACTIONS: [(&str, u32); 8] = [
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_ERRNO", ERRNO | 1),
    ("SCMP_ACT_KILL", 0),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", 0),
    ("SCMP_ACT_LOG", 0x7ffc_0000),
    ("SCMP_ACT_TRACE", 0x7ff0_0001),
    ("SCMP_ACT_TRAP", TRAP),
];
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const VALUES: [u64; 12] = [
    0,
    1,
    2,
    5,
    16,
    39,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 5,
    (2 << 32) + 10,
    u64::MAX - 1,
    u64::MAX,
];
const SOCKET_CALLS: [&str; 5] = ["socketcall", "socket", "accept4", "send", "sendmmsg"];
const IPC_CALLS: [&str; 5] = ["ipc", "shmget", "semop", "semtimedop", "msgctl"];
const SELECTORS: [(&str, u64); 8] = [
    ("socket", 1),
    ("accept4", 18),
    ("send", 9),
    ("sendmmsg", 20),
    ("shmget", 23),
    ("semop", 1),
    ("semtimedop", 4),
    ("msgctl", 14),
];

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 33) as usize) % end
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

#[test]
fn random_profiles_do_what_they_say() {
    for (at, (_, host)) in HOSTS.iter().enumerate() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + at as u64);
        for round in 0..60 {
            let profile = random_profile(&mut random, host);
            let compiled = Compiled::new(&profile, host);
            for (architecture, number) in interesting_numbers(&mut random, &profile, host) {
                let expected = Expected::new(&profile, host, architecture, number);
                for _ in 0..24 {
                    let arguments = std::array::from_fn(|_| near(&mut random));
                    let found = compiled.call(architecture, number, &arguments).0;
                    let wanted = expected.verdict(&arguments);
                    assert_eq!(
                        found, wanted,
                        "host {at}, round {round}: {architecture:#x} {number:#x} {arguments:x?} in {profile:#?}"
                    );
                }
            }
        }
    }
}

fn near(random: &mut Random) -> u64 {
    random
        .pick(&VALUES)
        .wrapping_add(random.pick(&[0, 0, 0, 1, u64::MAX]))
}

/// A profile in which all rules of a call have one action, so that their order does not matter; what an ABI
/// reaches through one call counts as one.
fn random_profile(random: &mut Random, host: &Host) -> Seccomp {
    let mut profile = Seccomp {
        default_action: random.pick(&ACTIONS).0.to_owned(),
        ..Seccomp::default()
    };
    let named = host.archs.iter().filter(|_| random.below(3) > 0);
    profile.architectures = named.map(|abi| abi.name.to_owned()).collect();
    let hot: Vec<&str> = (0..3).map(|_| random_name(random)).collect();
    let (sockets, ipc) = (random.pick(&ACTIONS).0, random.pick(&ACTIONS).0);
    let salt = random.below(ACTIONS.len());
    for _ in 0..1 + random.below(8) {
        let names: Vec<&str> = match random.below(4) {
            0 => vec![random.pick(&SOCKET_CALLS), random.pick(&SOCKET_CALLS)],
            1 => vec![random.pick(&IPC_CALLS)],
            2 => vec![random.pick(&hot), "no_such_call"],
            _ => vec![random_name(random)],
        };
        let action = match names[0] {
            name if SOCKET_CALLS.contains(&name) => sockets,
            name if IPC_CALLS.contains(&name) => ipc,
            name => ACTIONS[(salt + name.len()) % ACTIONS.len()].0,
        };
        profile.syscalls.push(SyscallRule {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            action: action.to_owned(),
            errno_ret: None,
            args: random_arguments(random),
        });
    }
    profile
}

/// Any name, but none that is reached through others.
fn random_name(random: &mut Random) -> &'static str {
    loop {
        let name = Row::all().nth(random.below(500)).map(Row::name).unwrap_or("read");
        let multiplexed = super::super::rules::is_multiplexed(name);
        if !multiplexed && name != "socketcall" && name != "ipc" {
            return name;
        }
    }
}

fn random_arguments(random: &mut Random) -> Vec<SyscallArg> {
    let argument = |random: &mut Random, index| SyscallArg {
        index,
        op: format!("SCMP_CMP_{}", random.pick(&OPERATORS)),
        value: random.pick(&VALUES),
        value_two: random.pick(&VALUES),
    };
    match random.below(8) {
        0..3 => Vec::new(),
        // Two comparisons of one argument.
        3 => vec![argument(random, 1), argument(random, 1), argument(random, 0)],
        _ => {
            let chosen: Vec<u32> = (0..6).filter(|_| random.below(3) == 0).collect();
            chosen.into_iter().map(|index| argument(random, index)).collect()
        }
    }
}

fn interesting_numbers(random: &mut Random, profile: &Seccomp, host: &Host) -> Vec<(u32, u32)> {
    let mut numbers = vec![(0x1234, 0)];
    for abi in host.archs {
        let audit = abi.audit;
        numbers.extend((0..6).map(|_| (audit, abi.base + random.below(620) as u32)));
        for name in profile.syscalls.iter().flat_map(|rule| &rule.names) {
            if let Some(number) = Row::of(name).and_then(|row| row.number(abi.column)) {
                numbers.extend([(audit, abi.base + number), (audit, abi.base + number + 1)]);
            }
        }
        for edge in [0, 102, 117, 1 << 30, 2 << 30, 3 << 30, u32::MAX - 1, u32::MAX] {
            numbers.extend([(audit, edge), (audit, edge.wrapping_sub(1))]);
        }
    }
    numbers
}

/// What a profile says about one number.
struct Expected<'a> {
    otherwise: u32,
    /// Rules and, where they name what the call leads to, the selector.
    rules: Vec<(&'a SyscallRule, Option<u64>)>,
    wide: bool,
}

impl<'a> Expected<'a> {
    fn new(profile: &'a Seccomp, host: &Host, architecture: u32, number: u32) -> Expected<'a> {
        let only = |otherwise| Expected {
            otherwise,
            rules: Vec::new(),
            wide: true,
        };
        let default = value(&profile.default_action);
        let listed = |abi: &Abi| {
            abi.audit == architecture
                && (abi.name == host.archs[0].name
                    || profile.architectures.iter().any(|name| name == abi.name))
        };
        let has_x32 = host.archs.len() == 3;
        let bit = has_x32 && number & X32_BIT != 0 && architecture == host.archs[0].audit;
        let abi = host
            .archs
            .iter()
            .find(|abi| listed(abi) && bit == (abi.base != 0));
        let denies = !matches!(default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
        if let Some(largest) = abi.filter(|_| denies).and_then(|abi| largest(profile, abi)) {
            let s390 = host.big_endian && host.archs[0].name == "SCMP_ARCH_S390X";
            if number > largest || (s390 && number == 0) {
                return only(ENOSYS);
            }
        }
        if !host.archs.iter().any(listed) {
            return only(0);
        }
        let lists_x32 = host.archs.iter().any(|abi| listed(abi) && abi.base != 0);
        if has_x32 && architecture == host.archs[0].audit && !lists_x32 && number >= X32_BIT {
            return only(if number == u32::MAX { default } else { 0 });
        }
        let Some(abi) = abi else { return only(default) };
        let mut rules = Vec::new();
        for rule in &profile.syscalls {
            rules.extend(
                rule.names
                    .iter()
                    .filter_map(|name| Some((rule, reaches(name, abi, number)?))),
            );
        }
        Expected {
            otherwise: default,
            rules,
            wide: abi.wide,
        }
    }

    fn verdict(&self, arguments: &[u64; 6]) -> u32 {
        let applies = |(rule, selector): &&(&SyscallRule, Option<u64>)| {
            let first = if self.wide {
                arguments[0]
            } else {
                arguments[0] & 0xffff_ffff
            };
            let holds = |argument: &SyscallArg| {
                (selector.is_some() && argument.index == 0) || compare(argument, arguments, self.wide)
            };
            let indexes = |index| {
                rule.args
                    .iter()
                    .filter(|argument| argument.index == index)
                    .count()
            };
            selector.is_none_or(|selector| selector == first)
                && match (0..6).any(|index| indexes(index) > 1) {
                    true => rule.args.iter().any(holds),
                    false => rule.args.iter().all(holds),
                }
        };
        self.rules
            .iter()
            .find(applies)
            .map_or(self.otherwise, |(rule, _)| value(&rule.action))
    }
}

const X32_BIT: u32 = 1 << 30;

fn value(action: &str) -> u32 {
    ACTIONS
        .iter()
        .find(|(name, _)| *name == action)
        .expect("an action")
        .1
}

fn largest(profile: &Seccomp, abi: &Abi) -> Option<u32> {
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    let direct = names.filter(|name| !abi.multiplexed || !super::super::rules::is_multiplexed(name));
    let numbers = direct.filter_map(|name| Row::of(name)?.number(abi.column).map(|number| abi.base + number));
    numbers.max().filter(|largest| *largest > 0)
}

/// Whether a rule for `name` concerns this number, and by which selector.
fn reaches(name: &str, abi: &Abi, number: u32) -> Option<Option<u64>> {
    let is = |name: &str| Row::of(name).and_then(|row| row.number(abi.column)) == Some(number - abi.base);
    if is(name) {
        return Some(None);
    }
    let gate = if SOCKET_CALLS.contains(&name) {
        "socketcall"
    } else {
        "ipc"
    };
    let (_, selector) = SELECTORS.iter().find(|(known, _)| *known == name)?;
    (abi.multiplexed && is(gate)).then_some(Some(*selector))
}

fn compare(argument: &SyscallArg, arguments: &[u64; 6], wide: bool) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let found = cut(arguments[argument.index as usize]);
    let (value, second) = (cut(argument.value), cut(argument.value_two));
    match &argument.op["SCMP_CMP_".len()..] {
        "NE" => found != value,
        "LT" => found < value,
        "LE" => found <= value,
        "EQ" => found == value,
        "GE" => found >= value,
        "GT" => found > value,
        _ => found & value == second & value,
    }
}
