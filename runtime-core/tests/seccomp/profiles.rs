//! The profiles: two that everybody uses, three that nobody should.

use runtime_core::spec::{Seccomp, SyscallRule};
use serde_json::{Value, json};

/// Docker's default for a container with its default capabilities, as it reaches runtimes on x86-64.
pub fn docker() -> Seccomp {
    serde_json::from_str(include_str!("docker.json")).expect("Docker's profile")
}

/// Podman's, as Debian installs it, resolved for a container with these capabilities.
pub fn podman() -> Option<Seccomp> {
    const CAPABILITIES: [&str; 3] = ["CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_SETUID"];
    let text = std::fs::read_to_string("/usr/share/containers/seccomp.json").ok()?;
    let mut profile: Value = serde_json::from_str(&text).expect("Podman's profile");
    let applies = |rule: &Value| {
        let names = |filter: &str, kind: &str| -> Vec<String> {
            serde_json::from_value(rule[filter][kind].clone()).unwrap_or_default()
        };
        let any_capability =
            |names: &[String]| names.iter().any(|name| CAPABILITIES.contains(&name.as_str()));
        let (wanted, arches) = (names("includes", "caps"), names("includes", "arches"));
        (wanted.is_empty() || any_capability(&wanted))
            && (arches.is_empty() || arches.iter().any(|arch| arch == "amd64"))
            && !any_capability(&names("excludes", "caps"))
    };
    profile["syscalls"].as_array_mut().expect("rules").retain(applies);
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    Some(serde_json::from_value(profile).expect("Podman's profile, resolved"))
}

/// Values at the edges of what the profiles compare with.
pub fn values() -> [u64; 22] {
    let wide = 1 << 32;
    [
        1,
        2,
        5,
        6,
        8,
        9,
        10,
        16,
        39,
        40,
        41,
        0x20000,
        0x7e02_0000,
        0xffff_ffff,
        wide,
        wide + 5,
        wide + 6,
        2 * wide + 5,
        0x00ff_0000_00f0_0000,
        0x0012_0000_0030_0000,
        u64::MAX - 1,
        u64::MAX,
    ]
}

/// Rules that overlap, repeat and contradict each other, with every operator.
pub fn overlaps() -> Seccomp {
    let wide = 1u64 << 32;
    profile(
        "ALLOW",
        &["X86_64", "X86", "X32"],
        vec![
            rule(&["acct"], "ERRNO", Some(5), &[]),
            // Without conditions: the first one wins, also over what has conditions.
            rule(&["swapon"], "ERRNO", Some(5), &[(0, "EQ", 1, 0)]),
            rule(&["swapon"], "ERRNO", Some(6), &[]),
            rule(&["swapon"], "ERRNO", Some(7), &[]),
            rule(&["swapon"], "ERRNO", Some(8), &[(0, "EQ", 2, 0)]),
            // Two comparisons of one argument.
            rule(
                &["swapoff"],
                "ERRNO",
                Some(5),
                &[(0, "EQ", 5, 0), (0, "EQ", 9, 0), (1, "EQ", 2, 0)],
            ),
            // Later arguments first.
            rule(&["reboot"], "ERRNO", Some(5), &[(0, "EQ", 1, 0)]),
            rule(&["reboot"], "ERRNO", Some(6), &[(1, "EQ", 2, 0)]),
            // Of two ranges the narrower.
            rule(&["sethostname"], "ERRNO", Some(5), &[(0, "GT", 5, 0)]),
            rule(&["sethostname"], "ERRNO", Some(6), &[(0, "GT", 9, 0)]),
            rule(&["setdomainname"], "ERRNO", Some(5), &[(0, "LT", 10, 0)]),
            rule(&["setdomainname"], "ERRNO", Some(6), &[(0, "LT", 6, 0)]),
            // Only adds conditions to an older rule.
            rule(&["delete_module"], "ERRNO", Some(5), &[(0, "EQ", 1, 0)]),
            rule(
                &["delete_module"],
                "ERRNO",
                Some(6),
                &[(0, "EQ", 1, 0), (1, "EQ", 2, 0)],
            ),
            // Does what happens anyway, so it does not undo the other.
            rule(&["init_module"], "ERRNO", Some(5), &[]),
            rule(&["init_module"], "ALLOW", None, &[(0, "EQ", 1, 0)]),
            // One operator each, on 64 bits.
            rule(&["kexec_load"], "ERRNO", Some(1), &[(0, "NE", wide + 5, 0)]),
            rule(&["quotactl"], "ERRNO", Some(1), &[(1, "LT", wide + 5, 0)]),
            rule(&["add_key"], "ERRNO", Some(1), &[(2, "LE", wide + 5, 0)]),
            rule(&["request_key"], "ERRNO", Some(1), &[(3, "EQ", wide + 5, 0)]),
            rule(&["keyctl"], "ERRNO", Some(1), &[(4, "GE", wide + 5, 0)]),
            rule(&["move_pages"], "ERRNO", Some(1), &[(5, "GT", wide + 5, 0)]),
            rule(
                &["no_such_call", "migrate_pages"],
                "ERRNO",
                Some(1),
                &[(0, "GT", 5, 0), (1, "LE", 2, 0)],
            ),
        ],
    )
}

/// Kills by default, denies x32, and allows calls of x86 that are reached through others, on conditions.
pub fn multiplexed() -> Seccomp {
    const REPLACED: [&str; 8] = [
        "socketcall",
        "ipc",
        "accept4",
        "recvmmsg",
        "send",
        "semtimedop",
        "shmget",
        "personality",
    ];
    let mut profile = docker();
    profile.default_action = "SCMP_ACT_KILL_PROCESS".to_owned();
    profile.architectures = vec!["SCMP_ARCH_X86".to_owned(), "SCMP_ARCH_X86_64".to_owned()];
    for rule in &mut profile.syscalls {
        rule.names
            .retain(|name| !REPLACED.contains(&name.as_str()) && name != "socket");
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    profile.syscalls.extend([
        rule(&["socket"], "ALLOW", None, &[(0, "EQ", 1, 0), (2, "EQ", 9, 0)]),
        rule(&["accept4"], "ERRNO", Some(22), &[(1, "GT", 5, 0)]),
        rule(&["recvmmsg"], "TRAP", None, &[]),
        rule(&["send"], "LOG", None, &[]),
        rule(&["semtimedop"], "ALLOW", None, &[(2, "NE", 5, 0)]),
        rule(&["shmget"], "ERRNO", None, &[]),
        rule(&["stime", "vm86"], "KILL_THREAD", None, &[]),
    ]);
    profile
}

/// Logs by default, so that calls newer than the profile are logged, too.
pub fn masks() -> Seccomp {
    let high = 0x00ff_0000_0000_0000;
    profile(
        "LOG",
        &["X32", "X86"],
        vec![
            rule(&["acct"], "TRACE", None, &[]),
            rule(
                &["swapon"],
                "TRACE",
                Some(9),
                &[(0, "MASKED_EQ", high, 0x0012_0000_0000_0000)],
            ),
            rule(
                &["swapoff"],
                "TRAP",
                None,
                &[(0, "MASKED_EQ", 0x00f0_0000, 0x0030_0000)],
            ),
            rule(
                &["reboot"],
                "KILL",
                None,
                &[(0, "MASKED_EQ", high | 0x00f0_0000, 0x0012_0000_0030_0000)],
            ),
            rule(&["sethostname"], "KILL_PROCESS", None, &[(5, "MASKED_EQ", 0, 7)]),
            rule(
                &["quotactl"],
                "ERRNO",
                Some(0),
                &[(0, "MASKED_EQ", 0, 7), (1, "EQ", 5, 0)],
            ),
            rule(
                &["init_module", "delete_module"],
                "ERRNO",
                Some(4094),
                &[(2, "MASKED_EQ", u64::MAX, 9)],
            ),
            rule(
                &["keyctl"],
                "ALLOW",
                None,
                &[(0, "NE", 1, 0), (1, "NE", 2, 0), (2, "NE", 5, 0)],
            ),
        ],
    )
}

fn profile(default: &str, architectures: &[&str], syscalls: Vec<SyscallRule>) -> Seccomp {
    Seccomp {
        default_action: format!("SCMP_ACT_{default}"),
        architectures: architectures
            .iter()
            .map(|name| format!("SCMP_ARCH_{name}"))
            .collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn rule(names: &[&str], action: &str, errno: Option<u32>, args: &[(u32, &str, u64, u64)]) -> SyscallRule {
    let args = args.iter().map(|(index, operator, value, second)| {
        json!({"index": index, "op": format!("SCMP_CMP_{operator}"), "value": value, "valueTwo": second})
    });
    SyscallRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: format!("SCMP_ACT_{action}"),
        errno_ret: errno,
        args: args
            .map(|argument| serde_json::from_value(argument).expect("an argument"))
            .collect(),
    }
}
