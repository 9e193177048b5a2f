//! Whole profiles: what is refused, what becomes of architectures, new calls and flags, and how long programs get.

use super::*;

const DOCKER: &str = include_str!("../../../tests/seccomp/docker.json");
const X86_64_AUDIT: u32 = 0xc000_003e;
const X86_AUDIT: u32 = 0x4000_0003;

fn compiled(default: &str, architectures: &[&str], rules: &[String]) -> Compiled {
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    Compiled::new(&profile(default, architectures, &rules), X86_64)
}

#[test]
fn profiles_without_effect_need_no_filter() {
    let none = |json| assert_eq!(compile_for(&parse(json), X86_64), Ok(None), "{json}");
    none("{}");
    none(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    let some = |json| {
        assert!(
            compile_for(&parse(json), X86_64).is_ok_and(|filter| filter.is_some()),
            "{json}"
        )
    };
    some(r#"{"defaultAction": "SCMP_ACT_LOG"}"#);
    some(r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}"#);
    some(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_KILL"}]}"#,
    );
}

/// Asserts that a profile is refused, by an error that names the key, the value and what is wrong.
fn refused(json: &str, expected: &str) {
    let profile = parse(json);
    let error = validate(&profile).expect_err(json);
    assert_eq!(error.code(), Code::InvalidConfig, "{json}");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("check linux.seccomp.{expected}")),
        "{text}\nfor {json}"
    );
    assert!(compile_for(&profile, X86_64).is_err(), "{json}");
}

#[test]
fn mistakes_are_named() {
    refused(
        r#"{"defaultAction": "ALLOW"}"#,
        r#"defaultAction "ALLOW": unknown (known: SCMP_ACT_ALLOW, "#,
    );
    refused(
        r#"{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#,
        r#"defaultAction "": unknown"#,
    );
    refused(
        r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
        r#"defaultAction "SCMP_ACT_NOTIFY": cannot be the default"#,
    );
    refused(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#,
        r#"defaultAction "4096": not an errno: more than 4095"#,
    );
    refused(
        r#"{"defaultAction": "SCMP_ACT_KILL", "architectures": ["x86"]}"#,
        r#"architectures "x86": unknown (known: SCMP_ARCH_AARCH64, "#,
    );
    refused(
        r#"{"defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#,
        r#"flags "SECCOMP_FILTER_FLAG_NEW_LISTENER": unknown"#,
    );
}

#[test]
fn mistakes_in_rules_are_named() {
    let refused = |rule: &str, expected: &str| {
        let good = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#;
        refused(
            &format!(r#"{{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{good}, {rule}]}}"#),
            expected,
        );
    };
    refused(
        r#"{"names": ["read"], "action": "x"}"#,
        r#"syscalls[1].action "x": unknown"#,
    );
    refused(
        r#"{"names": [""], "action": "SCMP_ACT_ALLOW"}"#,
        "syscalls[1].names: an empty name",
    );
    refused(
        r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"op": "EQ"}]}"#,
        r#"syscalls[1].args.op "EQ": unknown (known: SCMP_CMP_EQ, "#,
    );
    refused(
        r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}"#,
        r#"syscalls[1].args.index "6": system calls have the arguments 0 to 5"#,
    );
    refused(
        r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}"#,
        "listenerPath: missing",
    );
    refused(
        r#"{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}"#,
        r#"syscalls[1].names "write": write cannot"#,
    );
}

#[test]
fn actions_return_what_the_kernel_expects() {
    let actions = [
        ("KILL", 0),
        ("KILL_THREAD", 0),
        ("KILL_PROCESS", KILL_PROCESS),
        ("TRAP", TRAP),
        ("ERRNO", ERRNO | 1),
        ("ERRNO 0", ERRNO),
        ("ERRNO 95", ERRNO | 95),
        ("TRACE", 0x7ff0_0001),
        ("TRACE 7", 0x7ff0_0007),
        ("LOG", 0x7ffc_0000),
        ("LOG 7", 0x7ffc_0000),
    ];
    for (action, value) in actions {
        let compiled = compiled("ALLOW", &[], &[rule("mkdir", action, &[])]);
        assert_eq!(compiled.verdict("X86_64", "mkdir", &[]), value, "{action}");
        assert_eq!(compiled.verdict("X86_64", "rmdir", &[]), ALLOW, "{action}");
    }
    let allowing = compiled(
        "ERRNO",
        &[],
        &[rule("mkdir", "ALLOW", &[]), rule("rmdir", "ERRNO 1", &[])],
    );
    assert_eq!(allowing.verdict("X86_64", "mkdir", &[]), ALLOW);
    assert_eq!(allowing.verdict("X86_64", "rmdir", &[]), ERRNO | 1);
}

#[test]
fn rules_that_notify_ask_for_a_listener() {
    let mut profile = profile("ALLOW", &[], &[&rule("mkdir", "NOTIFY", &[])]);
    profile.listener_path = Some("/run/agent.sock".into());
    let flags = |profile: &Seccomp| {
        let filter = compile_for(profile, X86_64).expect("valid").expect("a filter");
        (filter.flags, filter.notify, filter.warnings.len())
    };
    assert_eq!(flags(&profile), (4 | 8, true, 0));
    assert_eq!(
        Compiled::new(&profile, X86_64).verdict("X86_64", "mkdir", &[]),
        0x7fc0_0000
    );
    let name = |flag: &str| format!("SECCOMP_FILTER_FLAG_{flag}");
    profile.flags = Some(vec![name("WAIT_KILLABLE_RECV"), name("TSYNC"), name("LOG")]);
    assert_eq!(flags(&profile), (1 | 2 | 8 | 16 | 32, true, 0));
    profile.syscalls[0].action = "SCMP_ACT_TRAP".to_owned();
    assert_eq!(flags(&profile), (1 | 2, false, 1));
    profile.flags = Some(Vec::new());
    assert_eq!(flags(&profile), (0, false, 0));
    profile.flags = None;
    assert_eq!(flags(&profile), (4, false, 0));
}

#[test]
fn other_architectures_are_killed() {
    let native = compiled("ALLOW", &[], &[rule("mkdir", "ERRNO", &[])]);
    assert_eq!(native.call(X86_AUDIT, 39, &[]).0, 0);
    assert_eq!(native.call(X86_64_AUDIT, 83, &[]).0, ERRNO | 1);
    assert_eq!(native.call(X86_64_AUDIT, 0x4000_0000, &[]).0, 0);
    assert_eq!(native.call(X86_64_AUDIT, 0xffff_fffe, &[]).0, 0);
    // A tracer skips a call with -1; that must not kill.
    assert_eq!(native.call(X86_64_AUDIT, u32::MAX, &[]).0, ALLOW);
    let all = compiled("ALLOW", &["X86", "X32"], &[rule("mkdir", "ERRNO", &[])]);
    assert_eq!(all.call(X86_AUDIT, 39, &[]).0, ERRNO | 1);
    assert_eq!(all.call(X86_64_AUDIT, 0x4000_0000 + 83, &[]).0, ERRNO | 1);
    assert_eq!(all.call(X86_64_AUDIT, 0x4000_0000, &[]).0, ALLOW);
    assert_eq!(all.call(0xc000_00b7, 34, &[]).0, 0);
}

#[test]
fn architectures_of_other_machines_only_warn() {
    let profile = profile(
        "ALLOW",
        &["X86_64", "AARCH64", "S390X"],
        &[&rule("mkdir", "ERRNO", &[])],
    );
    let filter = compile_for(&profile, X86_64).expect("valid").expect("a filter");
    let expected = "architectures of other machines ignored: SCMP_ARCH_AARCH64, SCMP_ARCH_S390X";
    assert_eq!(filter.warnings, [expected]);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let rules = [rule("read openat2", "ALLOW", &[])];
    for default in ["ERRNO", "KILL", "KILL_PROCESS", "TRAP"] {
        let compiled = compiled(default, &["X86_64", "X86"], &rules);
        assert_ne!(compiled.verdict("X86_64", "openat", &[]), ENOSYS, "{default}");
        assert_eq!(compiled.verdict("X86_64", "openat2", &[]), ALLOW, "{default}");
        assert_eq!(
            compiled.verdict("X86_64", "pidfd_getfd", &[]),
            ENOSYS,
            "{default}"
        );
        assert_eq!(compiled.verdict("X86", "pidfd_getfd", &[]), ENOSYS, "{default}");
        assert_eq!(
            compiled.call(X86_64_AUDIT, 0x3fff_ffff, &[]).0,
            ENOSYS,
            "{default}"
        );
    }
    for (default, value) in [("LOG", 0x7ffc_0000), ("TRACE", 0x7ff0_0001)] {
        let compiled = compiled(default, &[], &rules);
        assert_eq!(compiled.verdict("X86_64", "pidfd_getfd", &[]), value, "{default}");
    }
    // The native architecture counts even when it is not listed.
    assert_eq!(
        compiled("ERRNO", &[], &rules).verdict("X86_64", "pidfd_getfd", &[]),
        ENOSYS
    );
}

#[test]
fn dockers_profile_is_short_and_quick_to_run() {
    let compiled = Compiled::new(&parse(DOCKER), X86_64);
    assert!(
        compiled.program.len() < 400,
        "{} instructions",
        compiled.program.len()
    );
    let mut longest = 0;
    for number in 0..600 {
        longest = longest.max(compiled.call(X86_64_AUDIT, number, &[]).1);
    }
    // Two loads, an architecture, eight numbers, the arguments of personality.
    assert!(longest <= 20, "{longest} instructions for one call");
    assert_eq!(compiled.verdict("X86_64", "socket", &[1]), ALLOW);
    assert_eq!(compiled.verdict("X86_64", "socket", &[40]), ERRNO | 1);
    assert_eq!(compiled.verdict("X86_64", "clone3", &[]), ENOSYS);
    assert_eq!(compiled.verdict("X86_64", "clone", &[0x1000_0000]), ERRNO | 1);
    assert_eq!(compiled.verdict("X86_64", "clone", &[17]), ALLOW);
    assert_eq!(compiled.verdict("X86_64", "mount", &[]), ERRNO | 1);
    assert_eq!(compiled.verdict("X32", "personality", &[8]), ALLOW);
    assert_eq!(compiled.verdict("X86", "personality", &[9]), ERRNO | 1);
}

/// Rules for `calls` calls, each with `rules` values of one argument.
fn many_values(calls: usize, rules: usize) -> Seccomp {
    let names = Row::all().filter(|row| {
        row.number(super::super::table::Column::X86_64)
            .is_some_and(|n| n < 300)
    });
    let names: Vec<_> = names.map(Row::name).take(calls).collect();
    let rules: Vec<_> = names
        .iter()
        .flat_map(|name| {
            (0..rules).map(move |value| rule(name, "ERRNO 5", &[&format!("3 EQ {}", 10 * value)]))
        })
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    profile("ALLOW", &[], &rules)
}

#[test]
fn programs_longer_than_a_jump_are_right() {
    let profile = many_values(100, 30);
    let compiled = Compiled::new(&profile, X86_64);
    assert!(compiled.program.len() > 3000);
    for rule in profile.syscalls.iter().step_by(7) {
        let value = rule.args[0].value;
        assert_eq!(
            compiled.verdict("X86_64", &rule.names[0], &[0, 0, 0, value]),
            ERRNO | 5,
            "{rule:?}"
        );
        assert_eq!(
            compiled.verdict("X86_64", &rule.names[0], &[0, 0, 0, value + 1]),
            ALLOW,
            "{rule:?}"
        );
        assert_eq!(
            compiled.verdict("X86_64", &rule.names[0], &[0, 0, 0, value + (1 << 32)]),
            ALLOW,
            "{rule:?}"
        );
    }
}

#[test]
fn programs_that_the_kernel_would_refuse_are_refused() {
    let error = compile_for(&many_values(150, 30), X86_64).expect_err("too long");
    let text = error.to_string();
    assert!(
        text.starts_with("compile linux.seccomp: ") && text.contains("the kernel takes 4096"),
        "{text}"
    );
}

#[test]
fn what_is_known_is_sorted_and_what_is_supported_is_known() {
    for names in [
        known_actions(),
        known_operators(),
        known_archs(),
        known_flags(),
        supported_flags(),
    ] {
        assert!(names.is_sorted(), "{names:?}");
    }
    assert_eq!(
        (
            known_actions().len(),
            known_operators().len(),
            known_archs().len()
        ),
        (9, 7, 23)
    );
    assert!(supported_flags().iter().all(|flag| known_flags().contains(flag)));
    // All kernels that can run containers here have these.
    assert!(supported_flags().contains(&"SECCOMP_FILTER_FLAG_SPEC_ALLOW"));
    assert!(supported_flags().contains(&"SECCOMP_FILTER_FLAG_LOG"));
}
