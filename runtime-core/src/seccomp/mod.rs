//! System call filters: `linux.seccomp` compiled to a classic BPF program, in the parent.
//!
//! ```text
//! Seccomp --profile--> rules --rules--> outcome of every call --ranges--> ranges of numbers --assembler--> program
//! ```
//!
//! The verdicts are those of runc with libseccomp, call by call and argument by argument; the program is not.
//! libseccomp tests a call's number against a list, or a tree of groups of four, and runc puts a program of its
//! own in front. Here every architecture is one binary search over ranges of numbers. For Docker's default profile
//! that takes about eight comparisons a call and a quarter of the instructions.
//!
//! libseccomp compiles some profiles wrongly: it may compare the wrong word of an argument when several ranges of
//! it have rules, drop a rule that shares a comparison with another, or mix up the conditions of two rules (see
//! `condition`). Those are not followed.
//!
//! The `seccompiler` crate does not fit: a filter of it has one action for all that matches and one architecture,
//! and knows neither x32 nor multiplexed calls. A profile would become several filters, and the kernel runs all
//! of them for every call.
//!
//! Where runc's versions differ, this follows the newer ones (1.2.0 and later): calls newer than the profile get
//! ENOSYS on the native architecture even when the profile lists none. Architectures of other machines
//! are skipped with a warning; runc puts rules for them into the program, which are never reached, or fails when
//! their byte order differs.

mod arch;
mod assembler;
mod condition;
#[cfg(test)]
mod interpreter;
mod profile;
mod ranges;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use self::arch::Host;
use self::assembler::Assembler;
use self::profile::Profile;
use self::ranges::{Ranges, Search};
use self::rules::Rules;
use crate::error::{Code, Error, Result};
use crate::spec::Seccomp;
use crate::sys;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip when the comparison holds.
    pub jt: u8,
    /// How many to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A compiled filter, ready for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_…` bits; `NEW_LISTENER` is among them when a rule notifies.
    pub flags: u32,
    /// Whether a rule notifies, so that loading the filter yields a listener.
    pub notify: bool,
    /// What the profile asks for that has no effect here.
    pub warnings: Vec<String>,
}

/// The most instructions that the kernel takes, `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

/// Compiles `profile`; `None` when it filters nothing: no default action, or one that allows, and nothing else.
///
/// ```
/// use runtime_core::{seccomp, spec::Seccomp};
///
/// let profile: Seccomp = serde_json::from_str(
///     r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}"#,
/// )?;
/// let filter = seccomp::compile(&profile)?.expect("it denies reboot");
/// assert!(filter.program.len() < 20 && !filter.notify);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn compile(profile: &Seccomp) -> Result<Option<Filter>> {
    compile_for(profile, &Host::NATIVE)
}

fn compile_for(profile: &Seccomp, host: &Host) -> Result<Option<Filter>> {
    let Some(mut checked) = Profile::new(profile)? else {
        return Ok(None);
    };
    let step = "compile linux.seccomp";
    if host.archs.is_empty() {
        return Err(Error::new(Code::Unsupported, step).reason("no table of this machine's system calls"));
    }
    let abis = checked.archs(&profile.architectures, host);
    let mut rules = Rules::new(&checked);
    let mut architectures = Vec::with_capacity(abis.len());
    for abis in abis.chunk_by(|one, other| one.audit == other.audit) {
        let numbers = abis.iter().map(|abi| rules.numbers(abi)).collect::<Result<_>>()?;
        architectures.push((abis[0].audit, Ranges::new(abis, numbers, checked.default)));
    }
    let mut assembler = Assembler::with_capacity(512);
    let mut search = Search::new(&mut assembler, &rules.outcomes, checked.default, host);
    // What is written last is nearest to the start: the native architecture's.
    let mut parts: Vec<_> = architectures
        .iter()
        .rev()
        .map(|(audit, ranges)| (*audit, search.write(ranges)))
        .collect();
    parts.reverse();
    assembler::choose(&mut assembler, &parts, profile::KILL_THREAD);
    let program = assembler.finish();
    if program.len() > MAX_INSTRUCTIONS {
        let reason = format!(
            "{} instructions, the kernel takes {MAX_INSTRUCTIONS}",
            program.len()
        );
        return Err(Error::new(Code::InvalidConfig, step)
            .reason(reason)
            .hint("use fewer rules with arguments"));
    }
    if !rules.unknown.is_empty() {
        // No warning: common profiles name calls that never existed.
        tracing::debug!(
            "seccomp: unknown system calls ignored: {}",
            rules.unknown.join(", ")
        );
    }
    Ok(Some(Filter {
        program,
        flags: checked.flags,
        notify: checked.notify,
        warnings: checked.warnings,
    }))
}

/// Checks names, operators and combinations, without compiling.
pub fn validate(profile: &Seccomp) -> Result<()> {
    Profile::new(profile).map(drop)
}

/// The actions that profiles can name.
pub fn known_actions() -> &'static [&'static str] {
    &profile::ACTION_NAMES
}

/// The comparison operators that profiles can name.
pub fn known_operators() -> &'static [&'static str] {
    &profile::OPERATOR_NAMES
}

/// The architectures that profiles can name.
pub fn known_archs() -> &'static [&'static str] {
    &arch::KNOWN
}

/// The flags that profiles can name.
pub fn known_flags() -> &'static [&'static str] {
    &profile::FLAG_NAMES
}

/// The flags that this kernel accepts; it is asked once.
pub fn supported_flags() -> &'static [&'static str] {
    static SUPPORTED: OnceLock<Vec<&'static str>> = OnceLock::new();
    SUPPORTED.get_or_init(|| {
        // One flag is only valid beside another.
        let beside = |flag| {
            if flag == profile::WAIT_KILLABLE_RECV {
                flag | profile::NEW_LISTENER
            } else {
                flag
            }
        };
        let known = profile::FLAGS
            .iter()
            .filter(|(_, flag)| sys::seccomp::knows(beside(*flag)));
        known.map(|(name, _)| *name).collect()
    })
}
