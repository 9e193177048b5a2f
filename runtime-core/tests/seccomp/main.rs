//! The filters that are compiled here against those that runc loads with libseccomp, from the same profiles: the
//! same verdict on every call.
//!
//! runc makes a container without `noNewPrivileges`, so that its init has the filter while it waits to be
//! started; there ptrace(2) reads it. That needs root and runc.

#[path = "../../src/seccomp/interpreter.rs"]
mod interpreter;
mod profiles;
mod runc;
mod sys;

use std::io::Write;

use interpreter::{Call, run, verify};
use runtime_core::seccomp::{self, Instruction};
use runtime_core::spec::Seccomp;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const X32_BIT: u32 = 0x4000_0000;
/// Every call that exists, and some that will.
const NUMBERS: std::ops::Range<u32> = 0..600;

#[test]
fn dockers_profile() {
    compare("docker", &profiles::docker());
}

#[test]
fn podmans_profile() {
    match profiles::podman() {
        Some(profile) => compare("podman", &profile),
        None => skip(
            "podmans_profile",
            "there is no /usr/share/containers/seccomp.json",
        ),
    }
}

#[test]
fn overlapping_and_contradictory_rules() {
    compare("overlaps", &profiles::overlaps());
}

#[test]
fn denial_by_death_and_multiplexed_calls() {
    compare("multiplexed", &profiles::multiplexed());
}

#[test]
fn masks_and_other_actions() {
    compare("masks", &profiles::masks());
}

fn compare(name: &str, profile: &Seccomp) {
    if cfg!(not(target_arch = "x86_64")) {
        return skip(name, "its numbers are those of x86-64");
    }
    if !nix::unistd::geteuid().is_root() {
        return skip(name, "reading runc's filter needs root");
    }
    if !runc::is_installed() {
        return skip(name, "runc is not installed");
    }
    let ours = seccomp::compile(profile)
        .expect("a valid profile")
        .expect("a filter")
        .program;
    verify(&ours);
    let theirs = runc::filter(name, profile);
    verify(&theirs);
    let arguments = arguments();
    for architecture in [X86_64, X86, AARCH64] {
        for number in numbers() {
            for arguments in &arguments {
                let call = Call {
                    number,
                    architecture,
                    arguments: *arguments,
                    big_endian: false,
                };
                let (found, wanted) = (run(&ours, &call).0, run(&theirs, &call).0);
                assert_eq!(
                    found, wanted,
                    "{name}: {call:x?}: {found:#x}, runc has {wanted:#x}"
                );
            }
        }
    }
}

/// Written past the test harness, which would keep it to itself.
fn skip(name: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}

fn numbers() -> impl Iterator<Item = u32> {
    let edges = [
        0x0fff_ffff,
        X32_BIT - 1,
        2 * X32_BIT - 1,
        2 * X32_BIT,
        3 * X32_BIT,
        u32::MAX - 1,
        u32::MAX,
    ];
    NUMBERS.chain(NUMBERS.map(|number| X32_BIT + number)).chain(edges)
}

/// Each argument with each value alone, and the pairs of the first three.
fn arguments() -> Vec<[u64; 6]> {
    let values = profiles::values();
    let mut all = vec![[0; 6]];
    for index in 0..6 {
        all.extend(values.iter().map(|value| {
            let mut arguments = [0; 6];
            arguments[index] = *value;
            arguments
        }));
    }
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        for one in [1, 2, 5, 9, 16] {
            for other in [1, 2, 5, 9] {
                let mut arguments = [0; 6];
                (arguments[first], arguments[second]) = (one, other);
                all.push(arguments);
            }
        }
    }
    all
}
