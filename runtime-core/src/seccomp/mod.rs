//! System call filters: `linux.seccomp` compiled to a classic BPF program, in the parent.

use crate::error::{Code, Error, Result};
use crate::spec::Seccomp;

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

/// Compiles `profile`; `None` when it filters nothing.
pub fn compile(profile: &Seccomp) -> Result<Option<Filter>> {
    validate(profile)?;
    if profile.default_action == "SCMP_ACT_ALLOW" && profile.syscalls.is_empty() {
        return Ok(None);
    }
    Err(Error::new(Code::Unsupported, "compile seccomp profile"))
}

/// Checks names, operators and combinations, without compiling.
pub fn validate(_profile: &Seccomp) -> Result<()> {
    Ok(())
}

/// The actions that profiles can name.
pub fn known_actions() -> &'static [&'static str] {
    &[]
}

/// The comparison operators that profiles can name.
pub fn known_operators() -> &'static [&'static str] {
    &[]
}

/// The architectures that profiles can name.
pub fn known_archs() -> &'static [&'static str] {
    &[]
}

/// The flags that profiles can name.
pub fn known_flags() -> &'static [&'static str] {
    &[]
}

/// The flags that this kernel accepts.
pub fn supported_flags() -> &'static [&'static str] {
    &[]
}
