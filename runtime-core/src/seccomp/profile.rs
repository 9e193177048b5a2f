//! The profile with its names resolved and its mistakes found.

use super::arch::{self, Abi, Host};
use crate::error::{Code, Error, Result};
use crate::spec::{Seccomp, SyscallArg, SyscallRule};

pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const LOG: u32 = 0x7ffc_0000;
pub(super) const TRACE: u32 = 0x7ff0_0000;
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;
const TRAP: u32 = 0x0003_0000;
pub(super) const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Actions by name, sorted.
const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_ERRNO", ERRNO),
    ("SCMP_ACT_KILL", KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", KILL_THREAD),
    ("SCMP_ACT_LOG", LOG),
    ("SCMP_ACT_NOTIFY", NOTIFY),
    ("SCMP_ACT_TRACE", TRACE),
    ("SCMP_ACT_TRAP", TRAP),
];
pub(super) const ACTION_NAMES: [&str; ACTIONS.len()] = names(&ACTIONS);

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    GreaterEqual,
    Greater,
    LessEqual,
    Less,
    MaskedEqual,
    NotEqual,
}

const OPERATORS: [(&str, Comparison); 7] = [
    ("SCMP_CMP_EQ", Comparison::Equal),
    ("SCMP_CMP_GE", Comparison::GreaterEqual),
    ("SCMP_CMP_GT", Comparison::Greater),
    ("SCMP_CMP_LE", Comparison::LessEqual),
    ("SCMP_CMP_LT", Comparison::Less),
    ("SCMP_CMP_MASKED_EQ", Comparison::MaskedEqual),
    ("SCMP_CMP_NE", Comparison::NotEqual),
];
pub(super) const OPERATOR_NAMES: [&str; OPERATORS.len()] = names(&OPERATORS);

const TSYNC: u32 = 1;
pub(super) const SPEC_ALLOW: u32 = 1 << 2;
pub(super) const NEW_LISTENER: u32 = 1 << 3;
const TSYNC_ESRCH: u32 = 1 << 4;
pub(super) const WAIT_KILLABLE_RECV: u32 = 1 << 5;
/// Flags by name, sorted.
pub(super) const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV),
];
pub(super) const FLAG_NAMES: [&str; FLAGS.len()] = names(&FLAGS);

/// What actions return when the profile names no errno, on every architecture that is known.
const EPERM: u32 = 1;
/// The largest errno that the kernel returns.
const MAX_ERRNO: u32 = 4095;

/// One comparison of a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition {
    pub index: u32,
    pub comparison: Comparison,
    pub mask: u64,
    pub value: u64,
}

/// A rule: `action` when all conditions of one of the `alternatives` hold, or always when there is none.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub names: &'a [String],
    pub action: u32,
    pub alternatives: Vec<Vec<Condition>>,
}

/// A checked profile.
#[derive(Debug)]
pub(super) struct Profile<'a> {
    pub default: u32,
    pub rules: Vec<Rule<'a>>,
    pub flags: u32,
    pub notify: bool,
    pub warnings: Vec<String>,
}

impl<'a> Profile<'a> {
    /// Checks `profile`; `None` when it asks for no filter at all.
    pub(super) fn new(profile: &'a Seccomp) -> Result<Option<Profile<'a>>> {
        if profile.default_action.is_empty() && profile.syscalls.is_empty() {
            return Ok(None);
        }
        let default = action(
            "defaultAction",
            &profile.default_action,
            profile.default_errno_ret,
        )?;
        if default == NOTIFY {
            let reason = "cannot be the default: the process could not even start";
            return Err(invalid("defaultAction")
                .operand(&profile.default_action)
                .reason(reason));
        }
        if let Some(name) = profile
            .architectures
            .iter()
            .find(|name| !arch::KNOWN.contains(&name.as_str()))
        {
            return Err(unknown("architectures", name, &arch::KNOWN));
        }
        let rules: Vec<Rule> = profile
            .syscalls
            .iter()
            .enumerate()
            .map(|(at, rule)| Rule::new(at, rule))
            .collect::<Result<_>>()?;
        let notify = rules
            .iter()
            .any(|rule| rule.action == NOTIFY && !rule.names.is_empty());
        if notify
            && profile
                .listener_path
                .as_ref()
                .is_none_or(|path| path.as_os_str().is_empty())
        {
            return Err(invalid("listenerPath").reason("missing, though a rule notifies"));
        }
        let mut warnings = Vec::new();
        let flags = flags(profile.flags.as_deref(), notify, &mut warnings)?;
        let checked = Profile {
            default,
            rules,
            flags,
            notify,
            warnings,
        };
        if default == ALLOW && profile.syscalls.is_empty() && profile.architectures.is_empty() {
            return Ok(None);
        }
        Ok(Some(checked))
    }

    /// The ABIs that the filter serves: the native one and those of `named` that this machine can run.
    pub(super) fn archs(&mut self, named: &[String], host: &Host) -> Vec<Abi> {
        let foreign: Vec<&str> = named
            .iter()
            .map(String::as_str)
            .filter(|name| host.archs.iter().all(|abi| abi.name != *name))
            .collect();
        if !foreign.is_empty() {
            // The kernel would have to report another machine's architecture for their rules to be reached.
            self.warnings.push(format!(
                "architectures of other machines ignored: {}",
                foreign.join(", ")
            ));
        }
        let wanted = |(index, abi): &(usize, &Abi)| *index == 0 || named.iter().any(|name| name == abi.name);
        host.archs
            .iter()
            .enumerate()
            .filter(wanted)
            .map(|(_, abi)| *abi)
            .collect()
    }
}

impl<'a> Rule<'a> {
    fn new(at: usize, rule: &'a SyscallRule) -> Result<Rule<'a>> {
        let key = |name: &str| format!("syscalls[{at}].{name}");
        let action = action(&key("action"), &rule.action, rule.errno_ret)?;
        if rule.names.iter().any(String::is_empty) {
            return Err(invalid(&key("names")).reason("an empty name"));
        }
        if action == NOTIFY && rule.names.iter().any(|name| name == "write") {
            let reason = "write cannot notify: the runtime itself writes once the filter is in force";
            return Err(invalid(&key("names")).operand("write").reason(reason));
        }
        let mut conditions = Vec::with_capacity(rule.args.len());
        for argument in &rule.args {
            conditions.push(condition(argument, &key)?);
        }
        conditions.sort_by_key(|condition: &Condition| condition.index);
        let repeated = conditions.windows(2).any(|pair| pair[0].index == pair[1].index);
        let alternatives = match conditions.len() {
            0 => Vec::new(),
            // libseccomp takes one comparison an argument. A rule with more has always meant any of them, in
            // every runtime, whatever the specification says of rules with several arguments.
            _ if repeated => conditions.into_iter().map(|condition| vec![condition]).collect(),
            _ => vec![conditions],
        };
        Ok(Rule {
            names: &rule.names,
            action,
            alternatives,
        })
    }
}

fn condition(argument: &SyscallArg, key: &impl Fn(&str) -> String) -> Result<Condition> {
    let Some((_, comparison)) = OPERATORS.iter().find(|(name, _)| *name == argument.op) else {
        return Err(unknown(&key("args.op"), &argument.op, &OPERATOR_NAMES));
    };
    if argument.index > 5 {
        let reason = "system calls have the arguments 0 to 5";
        return Err(invalid(&key("args.index"))
            .operand(argument.index.to_string())
            .reason(reason));
    }
    let (mask, value) = match comparison {
        Comparison::MaskedEqual => (argument.value, argument.value_two),
        _ => (u64::MAX, argument.value),
    };
    Ok(Condition {
        index: argument.index,
        comparison: *comparison,
        mask,
        value,
    })
}

/// The value that a filter returns for an action.
fn action(key: &str, name: &str, errno: Option<u32>) -> Result<u32> {
    let Some((_, action)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
        return Err(unknown(key, name, &ACTION_NAMES));
    };
    if !matches!(*action, ERRNO | TRACE) {
        return Ok(*action);
    }
    // The kernel would quietly return the largest errno for a larger one; tracers may use all bits.
    let largest = if *action == ERRNO { MAX_ERRNO } else { 0xffff };
    let errno = errno.unwrap_or(EPERM);
    if errno > largest {
        let reason = format!("not an errno: more than {largest}");
        return Err(invalid(key).operand(errno.to_string()).reason(reason));
    }
    Ok(action | errno)
}

fn flags(names: Option<&[String]>, notify: bool, warnings: &mut Vec<String>) -> Result<u32> {
    let mut flags = 0;
    match names {
        // As runc and crun do; programs that never heard of speculation keep their speed.
        None => flags = SPEC_ALLOW,
        Some(names) => {
            for name in names {
                match FLAGS.iter().find(|(known, _)| known == name) {
                    Some((_, flag)) => flags |= flag,
                    None => return Err(unknown("flags", name, &FLAG_NAMES)),
                }
            }
        }
    }
    if notify {
        flags |= NEW_LISTENER;
        if flags & TSYNC != 0 {
            // Both flags want the return value; this one gives it to the listener.
            flags |= TSYNC_ESRCH;
        }
    } else if flags & WAIT_KILLABLE_RECV != 0 {
        // The kernel refuses it without a listener.
        flags &= !WAIT_KILLABLE_RECV;
        warnings.push("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV ignored: no rule notifies".to_owned());
    }
    Ok(flags)
}

fn invalid(key: &str) -> Error {
    Error::new(Code::InvalidConfig, format!("check linux.seccomp.{key}"))
}

fn unknown(key: &str, value: &str, known: &[&str]) -> Error {
    invalid(key)
        .operand(value)
        .reason("unknown")
        .hint(format!("known: {}", known.join(", ")))
}

const fn names<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = table[at].0;
        at += 1;
    }
    names
}
