//! Which devices a container may use: the rules, and how each version is told.
//!
//! The rules are a list in which later ones win. It starts with "deny all", then come the configuration's, and last
//! the devices that every container may use. That order is what callers count on: a configuration as they write it
//! begins with a rule that denies everything.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode as Permissions;

use super::{Cgroup, Mode, Place, file, program};
use crate::error::{Code, Error, Result};
use crate::spec::{self, DeviceRule, Resources};
use crate::sys::bpf;

/// May be made with mknod(2).
pub(super) const MKNOD: u8 = 1;
/// May be read.
pub(super) const READ: u8 = 2;
/// May be written.
pub(super) const WRITE: u8 = 4;
/// All of them.
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

/// Character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Block,
    Character,
}

/// One rule; what is `None` is anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub allow: bool,
    pub kind: Option<Kind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

impl Rule {
    pub(super) fn all(allow: bool) -> Rule {
        Rule {
            allow,
            kind: None,
            major: None,
            minor: None,
            access: ALL,
        }
    }

    /// Whether nothing before it matters any more.
    pub(super) fn is_all(&self) -> bool {
        *self == Rule::all(self.allow)
    }

    fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
        Rule {
            allow: true,
            kind: Some(kind),
            major,
            minor,
            access,
        }
    }
}

/// The nodes that every container gets, with their numbers. A configuration that has a node of its own at such a path
/// decides about it alone.
const NODES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

/// All rules in order.
pub(super) fn rules(configured: &[DeviceRule], nodes: &[spec::Device]) -> Result<Vec<Rule>> {
    let mut rules = vec![Rule::all(false)];
    for (index, rule) in configured.iter().enumerate() {
        rules.push(parse(rule).map_err(|why| {
            Error::new(Code::InvalidConfig, "set device rules")
                .operand(format!("linux.resources.devices[{index}]"))
                .reason(why)
        })?);
    }
    // Making a node gives no access to the device, and init systems make more of them than they use.
    rules.push(Rule::allow(Kind::Character, None, None, MKNOD));
    rules.push(Rule::allow(Kind::Block, None, None, MKNOD));
    for (path, major, minor) in NODES {
        if !nodes.iter().any(|node| node.path == Path::new(path)) {
            rules.push(Rule::allow(Kind::Character, Some(major), Some(minor), ALL));
        }
    }
    // Terminals of a devpts, and its ptmx.
    rules.push(Rule::allow(Kind::Character, Some(136), None, ALL));
    rules.push(Rule::allow(Kind::Character, Some(5), Some(2), ALL));
    Ok(rules)
}

fn parse(rule: &DeviceRule) -> std::result::Result<Rule, String> {
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => None,
        Some("b") => Some(Kind::Block),
        Some("c") => Some(Kind::Character),
        Some(other) => return Err(format!("invalid cgroup device type {other:?}")),
    };
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| format!("invalid {name} {value}")),
    };
    let mut access = 0;
    for letter in rule.access.as_deref().unwrap_or("").chars() {
        access |= match letter {
            'm' => MKNOD,
            'r' => READ,
            'w' => WRITE,
            other => return Err(format!("unknown device access {other:?}")),
        };
    }
    if access == 0 {
        return Err("device access field cannot be empty".into());
    }
    Ok(Rule {
        allow: rule.allow,
        kind,
        major: number("major", rule.major)?,
        minor: number("minor", rule.minor)?,
        access,
    })
}

type Number = (Kind, Option<u32>, Option<u32>);

/// The kernel's model on version 1: one verdict for everything, and exceptions from it.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    allow: bool,
    exceptions: BTreeMap<Number, u8>,
}

impl Table {
    fn of(rules: &[Rule]) -> std::result::Result<Table, String> {
        let mut table = Table {
            allow: false,
            exceptions: BTreeMap::new(),
        };
        for rule in rules {
            if rule.is_all() {
                table = Table {
                    allow: rule.allow,
                    exceptions: BTreeMap::new(),
                };
                continue;
            }
            let kinds = [Kind::Block, Kind::Character];
            for kind in kinds
                .into_iter()
                .filter(|kind| rule.kind.is_none_or(|of| of == *kind))
            {
                let number = (kind, rule.major, rule.minor);
                if rule.allow == table.allow {
                    table.take(number, rule.access)?;
                } else {
                    *table.exceptions.entry(number).or_default() |= rule.access;
                }
            }
        }
        Ok(table)
    }

    /// Takes `access` out of the exceptions. The kernel would ignore a hole in a wider exception without a word.
    fn take(&mut self, number: Number, access: u8) -> std::result::Result<(), String> {
        let (kind, major, minor) = number;
        let within = |of: Option<u32>, part: Option<u32>| of.is_none() || of == part;
        let meets = |one: Option<u32>, other: Option<u32>| within(one, other) || within(other, one);
        for (&(of, its_major, its_minor), its) in &mut self.exceptions {
            if of != kind || *its & access == 0 {
                continue;
            }
            if within(major, its_major) && within(minor, its_minor) {
                *its &= !access;
            } else if meets(major, its_major) && meets(minor, its_minor) {
                let wider = line((of, its_major, its_minor), *its);
                return Err(format!(
                    "cannot punch hole {:?} in existing wildcard rule {wider:?}",
                    line(number, access)
                ));
            }
        }
        self.exceptions.retain(|_, access| *access != 0);
        Ok(())
    }
}

/// A rule as the kernel reads it.
fn line((kind, major, minor): Number, access: u8) -> String {
    struct Digits(Option<u32>);
    impl fmt::Display for Digits {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                Some(number) => number.fmt(f),
                None => f.write_str("*"),
            }
        }
    }
    let kind = if kind == Kind::Block { 'b' } else { 'c' };
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let letters: String = letters
        .iter()
        .filter(|(bit, _)| access & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    format!("{kind} {}:{} {letters}", Digits(major), Digits(minor))
}

/// Tells the kernel, through whichever version has a say over devices here.
pub(super) fn apply(cgroup: &Cgroup, resources: &Resources, nodes: &[spec::Device]) -> Result<()> {
    let rules = rules(&resources.devices, nodes)?;
    match cgroup.place("devices").or_else(|| cgroup.v2()) {
        Some(place) if place.is_v2() => apply_v2(place, &rules),
        Some(place) => apply_v1(place, &rules, cgroup.lenient),
        None if cgroup.lenient => Ok(()),
        None if cgroup.mode == Mode::V2 => Ok(()),
        None => {
            tracing::warn!("no hierarchy has the devices controller: device rules are not enforced");
            Ok(())
        }
    }
}

fn apply_v1(place: &Place, rules: &[Rule], lenient: bool) -> Result<()> {
    let dir = place.dir();
    let table = Table::of(rules).map_err(|why| {
        Error::new(Code::Unsupported, "set device rules")
            .operand(&dir)
            .reason(format!("{why}: not supported by devices cgroupv1"))
    })?;
    let (base, other) = match table.allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    let done = write_v1(&dir, base, &mut ["a".to_owned()].into_iter()).and_then(|()| {
        let mut lines = table
            .exceptions
            .iter()
            .map(|(number, access)| line(*number, *access));
        write_v1(&dir, other, &mut lines)
    });
    match done {
        Err((_, _, Errno::EPERM | Errno::EACCES)) if lenient || in_user_namespace() => Ok(()),
        Err((name, line, errno)) => {
            let error = Error::new(Code::Cgroup, format!("write {name}"));
            let error = error
                .operand(dir.join(name))
                .reason(format!("value {line:?}"))
                .errno(errno as i32);
            Err(match errno {
                // To deny everything is allowed wherever the call is.
                Errno::EPERM if line == "a" && !table.allow => error
                    .with_code(Code::Privilege)
                    .hint("device rules need CAP_SYS_ADMIN"),
                Errno::EPERM => {
                    error.hint("device rules need CAP_SYS_ADMIN, and the cgroup above has to allow this")
                }
                _ => error,
            })
        }
        Ok(()) => Ok(()),
    }
}

/// One open file, one write a line: that is how the kernel takes them.
fn write_v1(
    dir: &Path,
    name: &'static str,
    lines: &mut dyn Iterator<Item = String>,
) -> std::result::Result<(), (&'static str, String, Errno)> {
    let mut lines = lines.peekable();
    let Some(first) = lines.peek() else {
        return Ok(());
    };
    let opened = open(
        &dir.join(name),
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Permissions::empty(),
    );
    let opened = opened.map_err(|errno| (name, first.clone(), errno))?;
    for line in lines {
        file::put(opened.as_fd(), &line).map_err(|errno| (name, line, errno))?;
    }
    Ok(())
}

fn apply_v2(place: &Place, rules: &[Rule]) -> Result<()> {
    let dir = place.dir();
    let program = program::compile(rules);
    if place.fresh && program.is_none() {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let cgroup = open(&dir, flags, Permissions::empty());
    let cgroup = cgroup.map_err(|errno| file::failed("open cgroup", &dir, errno))?;
    match attach(&cgroup, program.as_deref(), place.fresh) {
        Err((_, Errno::EPERM | Errno::EACCES)) if in_user_namespace() => Ok(()),
        Err((step, errno)) => {
            let error = file::failed(step, &dir, errno);
            Err(match errno {
                Errno::EPERM | Errno::EACCES => error.hint("device rules need CAP_BPF or CAP_SYS_ADMIN"),
                Errno::ENOSYS | Errno::EINVAL => error.hint("the kernel needs CONFIG_CGROUP_BPF"),
                _ => error,
            })
        }
        Ok(()) => Ok(()),
    }
}

/// Attaches the program, if there is one, in place of what is attached already. All attached programs have to agree, so the old ones go
/// last and there is no moment at which everything is allowed.
fn attach(
    cgroup: &OwnedFd,
    program: Option<&[bpf::Instruction]>,
    fresh: bool,
) -> std::result::Result<(), (&'static str, Errno)> {
    let loaded = program
        .map(bpf::load_device_program)
        .transpose()
        .map_err(|errno| ("load device program", errno))?;
    let cgroup = cgroup.as_fd();
    let mut old = Vec::new();
    if !fresh {
        for id in bpf::attached_device_programs(cgroup).map_err(|errno| ("list device programs", errno))? {
            match bpf::program_by_id(id) {
                Ok(program) => old.push(program),
                // Detached since; or guarded by a security module, and then it can only forbid more.
                Err(Errno::ENOENT | Errno::EPERM | Errno::EACCES) => {}
                Err(errno) => return Err(("open device program", errno)),
            }
        }
    }
    if let Some(loaded) = loaded {
        let replaced = if old.len() == 1 { old.pop() } else { None };
        bpf::attach_device_program(cgroup, loaded.as_fd(), replaced.as_ref().map(OwnedFd::as_fd))
            .map_err(|errno| ("attach device program", errno))?;
    }
    for program in old {
        bpf::detach_device_program(cgroup, program.as_fd())
            .map_err(|errno| ("detach device program", errno))?;
    }
    Ok(())
}

/// Whether this process is in a user namespace other than the first one, where nobody has power over devices.
fn in_user_namespace() -> bool {
    file::read(Path::new("/proc/self/uid_map"))
        .is_ok_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn configured(json: &str) -> Vec<DeviceRule> {
        serde_json::from_str(json).unwrap()
    }

    fn v1(json: &str) -> Vec<String> {
        let table = Table::of(&rules(&configured(json), &[]).unwrap()).unwrap();
        let base = if table.allow { "allow a" } else { "deny a" };
        let lines = table
            .exceptions
            .iter()
            .map(|(number, access)| line(*number, *access));
        std::iter::once(base.to_owned()).chain(lines).collect()
    }

    const DEFAULT: [&str; 11] = [
        "deny a",
        "b *:* m",
        "c *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
        "c 136:* rwm",
    ];

    #[test]
    fn the_default_list() {
        assert_eq!(v1("[]"), sorted(&DEFAULT));
        assert_eq!(v1(r#"[{"allow":false,"access":"rwm"}]"#), sorted(&DEFAULT));
    }

    /// The order among exceptions is that of the table: wildcards first, then numbers.
    fn sorted(lines: &[&str]) -> Vec<String> {
        let mut rest = lines[1..].to_vec();
        let key = |line: &&str| {
            let (kind, numbers) = line.split_once(' ').unwrap();
            let numbers = numbers.split(' ').next().unwrap();
            let numbers: Vec<Option<u32>> = numbers.split(':').map(|number| number.parse().ok()).collect();
            (kind.to_owned(), numbers)
        };
        rest.sort_by_key(key);
        std::iter::once(lines[0]).chain(rest).map(str::to_owned).collect()
    }

    #[test]
    fn the_configuration_adds_and_cannot_take_the_defaults() {
        let fuse = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
                       {"allow":false,"type":"c","major":1,"minor":3,"access":"rwm"}]"#;
        let mut expected = DEFAULT.to_vec();
        expected.push("c 10:229 rw");
        assert_eq!(v1(fuse), sorted(&expected));
        // A denied device that was never allowed, as some engines write it.
        assert_eq!(
            v1(r#"[{"access":"rwm"},{"type":"c","major":10,"minor":229,"access":"rwm"}]"#),
            sorted(&DEFAULT)
        );
    }

    #[test]
    fn privileged_containers_get_one_line() {
        assert_eq!(v1(r#"[{"allow":true,"access":"rwm"}]"#), ["allow a"]);
        let but_one =
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","major":8,"minor":0,"access":"w"}]"#;
        assert_eq!(v1(but_one), ["allow a", "b 8:0 w"]);
    }

    #[test]
    fn rights_of_the_same_device_are_merged_and_taken_bit_by_bit() {
        let json = r#"[{"allow":true,"type":"b","major":8,"access":"r"},{"allow":true,"type":"b","major":8,"access":"w"},
                       {"allow":false,"type":"b","major":8,"access":"r"}]"#;
        let mut expected = DEFAULT.to_vec();
        expected.push("b 8:* w");
        assert_eq!(v1(json), sorted(&expected));
        let narrower = r#"[{"allow":true,"type":"b","major":8,"minor":1,"access":"rw"},
                           {"allow":false,"type":"b","major":8,"access":"rwm"}]"#;
        assert_eq!(v1(narrower), sorted(&DEFAULT));
    }

    #[test]
    fn a_type_of_all_is_both() {
        let mut expected = DEFAULT.to_vec();
        expected.extend(["b 4:* r", "c 4:* r"]);
        assert_eq!(
            v1(r#"[{"allow":true,"type":"a","major":4,"access":"r"}]"#),
            sorted(&expected)
        );
    }

    #[test]
    fn holes_in_wildcards_are_refused_on_version_1() {
        for json in [
            r#"[{"allow":true,"type":"c","access":"rw"},{"allow":false,"type":"c","major":1,"minor":1,"access":"w"}]"#,
            r#"[{"allow":true,"type":"b","minor":1,"access":"rw"},{"allow":false,"type":"b","major":1,"access":"w"}]"#,
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"w"},{"allow":true,"type":"b","major":8,"access":"w"}]"#,
        ] {
            let error = Table::of(&rules(&configured(json), &[]).unwrap()).unwrap_err();
            assert!(error.contains("cannot punch hole"), "{error}");
        }
    }

    #[test]
    fn nodes_of_the_configuration_replace_default_rules() {
        let node = spec::Device {
            path: "/dev/null".into(),
            ..spec::Device::default()
        };
        let rules = rules(&[], &[node]).unwrap();
        assert!(
            !rules
                .iter()
                .any(|rule| (rule.major, rule.minor) == (Some(1), Some(3)))
        );
        assert!(
            rules
                .iter()
                .any(|rule| (rule.major, rule.minor) == (Some(1), Some(5)))
        );
    }

    #[test]
    fn impossible_rules_are_refused_with_their_index() {
        for (json, text) in [
            (
                r#"[{"access":"rwm"},{"allow":true}]"#,
                "linux.resources.devices[1]\": device access field cannot be empty",
            ),
            (r#"[{"access":"x"}]"#, "unknown device access 'x'"),
            (
                r#"[{"type":"p","access":"r"}]"#,
                "invalid cgroup device type \"p\"",
            ),
            (r#"[{"major":-2,"access":"r"}]"#, "invalid major -2"),
            (
                r#"[{"minor":4294967296,"access":"r"}]"#,
                "invalid minor 4294967296",
            ),
        ] {
            let error = rules(&configured(json), &[]).unwrap_err();
            assert_eq!(error.code(), Code::InvalidConfig);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
