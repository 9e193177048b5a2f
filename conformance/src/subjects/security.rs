//! seccomp, sysctl, the session keyring, privileges through execve.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Bundle, Ctx, Outcome, Test};
use crate::{check, check_eq};

/// umask(2): always succeeds, says what it was before, and takes any number. The tests' victim.
const UMASK: i64 = libc::SYS_umask;
const BIG: u64 = 0x1_0000_0005;

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    // Actions.
    Test::new("seccomp/mode-is-filter", |ctx| {
        let mut bundle = filtered(ctx, json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}))?;
        check_eq!(ctx.probe(&mut bundle, &["see", "seccomp"])?["seccomp"], 2, "mode");
        Ok(())
    }),
    Test::new("seccomp/errno-default-is-eperm", |ctx| {
        verdict(ctx, json!({"action": "SCMP_ACT_ERRNO"}), "EPERM")
    }),
    Test::new("seccomp/errno-given", |ctx| {
        verdict(ctx, json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 38}), "ENOSYS")
    }),
    Test::new("seccomp/errno-zero-looks-like-success", |ctx| {
        verdict(
            ctx,
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 0}),
            "returned 0",
        )
    }),
    Test::new("seccomp/allow", |ctx| {
        verdict(ctx, json!({"action": "SCMP_ACT_ALLOW"}), "returned 18")
    }),
    Test::new("seccomp/log", |ctx| {
        verdict(ctx, json!({"action": "SCMP_ACT_LOG"}), "returned 18")
    }),
    Test::new("seccomp/trace-without-tracer-is-enosys", |ctx| {
        verdict(ctx, json!({"action": "SCMP_ACT_TRACE"}), "ENOSYS")
    }),
    Test::new("seccomp/kill", |ctx| killed(ctx, "SCMP_ACT_KILL")),
    Test::new("seccomp/kill-thread", |ctx| killed(ctx, "SCMP_ACT_KILL_THREAD")),
    Test::new("seccomp/kill-process", |ctx| killed(ctx, "SCMP_ACT_KILL_PROCESS")),
    Test::new("seccomp/trap", |ctx| killed(ctx, "SCMP_ACT_TRAP")),
    Test::new("seccomp/default-action-denies-the-rest", |ctx| {
        let mut bundle = allow_list(ctx)?;
        check_eq!(
            called(&ctx.probe(&mut bundle, &["syscall", "95", "18"])?),
            "EPERM",
            "umask"
        );
        Ok(())
    }),
    Test::new("seccomp/default-errno-given", |ctx| {
        let mut bundle = allow_list(ctx)?;
        bundle.set("/linux/seccomp/defaultErrnoRet", json!(13));
        check_eq!(
            called(&ctx.probe(&mut bundle, &["syscall", "95", "18"])?),
            "EACCES",
            "umask"
        );
        Ok(())
    }),
    Test::new("seccomp/newer-than-the-profile-is-enosys", |ctx| {
        // Programs fall back on ENOSYS, but not on EPERM.
        let mut bundle = allow_list(ctx)?;
        check_eq!(
            called(&ctx.probe(&mut bundle, &["syscall", "600"])?),
            "ENOSYS",
            "a system call of the future"
        );
        Ok(())
    })
    .peers(&[("crun", "answers with the default action")]),
    // Comparisons of arguments; each with one value that matches and one that does not.
    Test::new("seccomp/arg-eq", |ctx| {
        compared(ctx, &[("SCMP_CMP_EQ", 5, 0)], &[5], &[4, 6])
    }),
    Test::new("seccomp/arg-ne", |ctx| {
        compared(ctx, &[("SCMP_CMP_NE", 5, 0)], &[4, 6], &[5])
    }),
    Test::new("seccomp/arg-lt", |ctx| {
        compared(ctx, &[("SCMP_CMP_LT", 5, 0)], &[0, 4], &[5, 6])
    }),
    Test::new("seccomp/arg-le", |ctx| {
        compared(ctx, &[("SCMP_CMP_LE", 5, 0)], &[4, 5], &[6])
    }),
    Test::new("seccomp/arg-gt", |ctx| {
        compared(ctx, &[("SCMP_CMP_GT", 5, 0)], &[6], &[4, 5])
    }),
    Test::new("seccomp/arg-ge", |ctx| {
        compared(ctx, &[("SCMP_CMP_GE", 5, 0)], &[5, 6], &[4])
    }),
    Test::new("seccomp/arg-masked-eq", |ctx| {
        compared(
            ctx,
            &[("SCMP_CMP_MASKED_EQ", 0o70, 0o20)],
            &[0o20, 0o27],
            &[0o30, 0o10],
        )
    }),
    Test::new("seccomp/arg-eq-of-64-bits", |ctx| {
        compared(
            ctx,
            &[("SCMP_CMP_EQ", BIG, 0)],
            &[BIG],
            &[5, BIG + 1, 0x2_0000_0005],
        )
    }),
    Test::new("seccomp/arg-gt-of-64-bits", |ctx| {
        compared(
            ctx,
            &[("SCMP_CMP_GT", BIG, 0)],
            &[BIG + 1, 0x2_0000_0000],
            &[BIG, 7, 0xffff_ffff],
        )
    }),
    Test::new("seccomp/arg-le-of-64-bits", |ctx| {
        compared(
            ctx,
            &[("SCMP_CMP_LE", BIG, 0)],
            &[BIG, 0xffff_ffff, 0],
            &[BIG + 1, 0x2_0000_0000],
        )
    }),
    Test::new("seccomp/args-are-all-needed", |ctx| {
        compared(ctx, &[("SCMP_CMP_GE", 5, 0), ("SCMP_CMP_LE", 7, 0)], &[], &[])?;
        let rule = json!({"names": ["setpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 33, "args": [
            {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 3, "op": "SCMP_CMP_EQ"}]});
        let mut bundle = filtered(ctx, rule)?;
        let number = libc::SYS_setpriority.to_string();
        check_eq!(
            called(&ctx.probe(&mut bundle, &["syscall", &number, "0", "0", "3"])?),
            "EDOM",
            "both match"
        );
        check_eq!(
            called(&ctx.probe(&mut bundle, &["syscall", &number, "0", "0", "4"])?),
            "returned 0",
            "one matches"
        );
        Ok(())
    }),
    Test::new("seccomp/rules-of-one-call-are-alternatives", |ctx| {
        let mut bundle = ctx.bundle()?;
        let rule = |value: u64| {
            json!({"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 33,
                   "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
        };
        bundle.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(1), rule(2)]}),
        );
        for (value, want) in [("1", "EDOM"), ("2", "EDOM"), ("3", "returned 18")] {
            check_eq!(
                called(&ctx.probe(&mut bundle, &["syscall", "95", value])?),
                want,
                "umask({value})"
            );
        }
        Ok(())
    }),
    // In which order privileges go.
    Test::new("seccomp/without-no-new-privs-as-root", |ctx| {
        let mut bundle = filtered(ctx, json!({"names": ["umask"], "action": "SCMP_ACT_ERRNO"}))?;
        bundle.set("/process/noNewPrivileges", json!(false));
        denied_with(ctx, &mut bundle, 0)
    }),
    Test::new(
        "seccomp/without-no-new-privs-as-a-user-without-capabilities",
        |ctx| {
            let mut bundle = filtered(ctx, json!({"names": ["umask"], "action": "SCMP_ACT_ERRNO"}))?;
            bundle
                .set("/process/noNewPrivileges", json!(false))
                .capabilities(&[]);
            bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
            denied_with(ctx, &mut bundle, 0)
        },
    ),
    Test::new("seccomp/with-no-new-privs-as-a-user", |ctx| {
        let mut bundle = filtered(ctx, json!({"names": ["umask"], "action": "SCMP_ACT_ERRNO"}))?;
        bundle
            .capabilities(&[])
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        denied_with(ctx, &mut bundle, 1)
    }),
    Test::new("seccomp/denies-what-the-runtime-itself-uses", |ctx| {
        // With no_new_privs the filter comes last: what it denies is not needed any more.
        let names = json!([
            "capset",
            "setuid",
            "setgid",
            "setgroups",
            "setresuid",
            "setresgid",
            "mount",
            "umount2",
            "pivot_root",
            "unshare",
            "setns",
            "clone3",
            "chdir",
            "fchdir",
            "chroot",
            "sethostname",
            "prctl",
            "close_range",
            "openat2",
            "umask"
        ]);
        let mut bundle = filtered(ctx, json!({"names": names, "action": "SCMP_ACT_ERRNO"}))?;
        denied_with(ctx, &mut bundle, 1)
    }),
    Test::new("seccomp/is-in-force-in-exec", |ctx| {
        let mut bundle = filtered(ctx, json!({"names": ["umask"], "action": "SCMP_ACT_ERRNO"}))?;
        bundle.args(&["sleep", "1000"]);
        let container = ctx.started(&bundle)?;
        check_eq!(
            called(&container.probe(&[], &["syscall", "95", "18"])?),
            "EPERM",
            "umask"
        );
        Ok(())
    }),
    Test::new("seccomp/in-a-user-namespace", |ctx| {
        let mut bundle = super::namespaces::user_bundle(ctx, &[(0, 100_000, 65_536)])?;
        bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["umask"], "action": "SCMP_ACT_ERRNO"}]}));
        denied_with(ctx, &mut bundle, 1)
    }),
    Test::new("seccomp/unknown-names-are-ignored", |ctx| {
        let mut bundle = filtered(
            ctx,
            json!({"names": ["no_such_call", "umask"], "action": "SCMP_ACT_ERRNO"}),
        )?;
        denied_with(ctx, &mut bundle, 1)
    }),
    Test::new("seccomp/architectures-and-flags", |ctx| {
        let mut bundle = filtered(ctx, json!({"names": ["umask"], "action": "SCMP_ACT_ERRNO"}))?;
        bundle.set(
            "/linux/seccomp/architectures",
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        );
        bundle.set(
            "/linux/seccomp/flags",
            json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        );
        denied_with(ctx, &mut bundle, 1)
    })
    .peers(&[("runc", "1.1 knows no flags")]),
    Test::new("seccomp/a-filter-without-rules", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}))
            .args(&["true"]);
        ctx.run(&bundle)?.ok().map(drop)
    }),
    // sysctl.
    Test::new("sysctl/of-the-network", |ctx| {
        sysctl(ctx, "net.ipv4.ip_forward", "1", "/proc/sys/net/ipv4/ip_forward")
    }),
    Test::new("sysctl/of-ipc", |ctx| {
        sysctl(ctx, "kernel.msgmax", "16384", "/proc/sys/kernel/msgmax")
    }),
    Test::new("sysctl/of-message-queues", |ctx| {
        sysctl(ctx, "fs.mqueue.msg_max", "7", "/proc/sys/fs/mqueue/msg_max")
    }),
    Test::new("sysctl/with-slashes", |ctx| {
        sysctl(ctx, "net/ipv4/ip_forward", "1", "/proc/sys/net/ipv4/ip_forward")
    }),
    Test::new("sysctl/does-not-change-the-host", |ctx| {
        let path = "/proc/sys/kernel/shmmni";
        let before = fs::read_to_string(path)?;
        sysctl(ctx, "kernel.shmmni", "77", path)?;
        check_eq!(fs::read_to_string(path)?, before, "the host's value");
        Ok(())
    }),
    Test::new("sysctl/not-namespaced-is-refused", |ctx| {
        no_sysctl(ctx, "vm.swappiness", |b| b)
    }),
    Test::new("sysctl/not-namespaced-with-slashes-is-refused", |ctx| {
        no_sysctl(ctx, "vm/swappiness", |b| b)
    }),
    Test::new("sysctl/climbing-is-refused", |ctx| {
        no_sysctl(ctx, "net/../vm/swappiness", |b| b)
    })
    .peers(&[("runc", "names only the file that it made of it")]),
    Test::new("sysctl/of-the-hosts-network-is-refused", |ctx| {
        no_sysctl(ctx, "net.ipv4.ip_forward", |b| {
            b.without_namespace("network").unmount("/sys")
        })
    }),
    Test::new("sysctl/of-the-hosts-ipc-is-refused", |ctx| {
        no_sysctl(ctx, "kernel.msgmax", |b| {
            b.without_namespace("ipc").unmount("/dev/mqueue")
        })
    }),
    Test::new("sysctl/unknown-is-refused", |ctx| {
        no_sysctl(ctx, "net.no.such.thing", |b| b)
    }),
    // Keyring.
    Test::new("keyring/is-the-containers-own", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["/bin/probe", "see", "keyring"]);
        let container = ctx.container(&bundle)?;
        let seen = container.rt_run(&[]).ok()?.json()?;
        let description = seen["keyring"]["description"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        check!(
            description.ends_with(&format!("_ses.{}", container.id)),
            "session keyring: {}",
            seen["keyring"]
        );
        Ok(())
    })
    .peers(&[("crun", "names it by the id alone")]),
    Test::new("keyring/left-alone-with-no-new-keyring", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["/bin/probe", "see", "keyring"]);
        let container = ctx.container(&bundle)?;
        let seen = container.rt_run(&["--no-new-keyring"]).ok()?.json()?;
        let description = seen["keyring"]["description"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        check!(
            !description.contains(&container.id),
            "session keyring: {}",
            seen["keyring"]
        );
        Ok(())
    }),
    // Privileges through execve.
    Test::new("privileges/set-user-id-is-void-with-no-new-privs", |ctx| {
        set_user_id(ctx, true, 1000)
    }),
    Test::new("privileges/set-user-id-works-without", |ctx| {
        set_user_id(ctx, false, 0)
    }),
];

/// A bundle with one rule besides allowing all; the rule's `names` are umask unless it says others.
fn filtered(ctx: &Ctx, mut rule: Value) -> Outcome<Bundle> {
    if rule.get("names").is_none() {
        rule["names"] = json!(["umask"]);
    }
    let mut bundle = ctx.bundle()?;
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}),
    );
    Ok(bundle)
}

/// A profile of the kind that engines have: everything is denied but a list.
fn allow_list(ctx: &Ctx) -> Outcome<Bundle> {
    let names = json!([
        "access",
        "arch_prctl",
        "brk",
        "capget",
        "capset",
        "chdir",
        "clock_gettime",
        "clone",
        "clone3",
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "epoll_create1",
        "epoll_ctl",
        "epoll_pwait",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "faccessat2",
        "fchdir",
        "fchown",
        "fcntl",
        "fstat",
        "fstatfs",
        "futex",
        "getcwd",
        "getdents64",
        "getegid",
        "geteuid",
        "getgid",
        "getpgrp",
        "getpid",
        "getppid",
        "getrandom",
        "getrlimit",
        "getsid",
        "gettid",
        "getuid",
        "ioctl",
        "lseek",
        "lstat",
        "madvise",
        "mmap",
        "mprotect",
        "mremap",
        "munmap",
        "nanosleep",
        "newfstatat",
        "open",
        "openat",
        "openat2",
        "pipe2",
        "poll",
        "ppoll",
        "prctl",
        "pread64",
        "prlimit64",
        "read",
        "readlink",
        "readlinkat",
        "restart_syscall",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sched_getaffinity",
        "sched_yield",
        "seccomp",
        "sendmsg",
        "set_robust_list",
        "set_tid_address",
        "setgid",
        "setgroups",
        "setresgid",
        "setresuid",
        "setuid",
        "sigaltstack",
        "stat",
        "statfs",
        "statx",
        "tgkill",
        "uname",
        "wait4",
        "write",
        "writev"
    ]);
    let mut bundle = ctx.bundle()?;
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    });
    bundle.set("/linux/seccomp", profile);
    Ok(bundle)
}

/// What came of a system call, in words.
fn called(seen: &Value) -> String {
    match (&seen["errno"], &seen["returned"]) {
        (Value::String(errno), _) => errno.clone(),
        (_, returned) => format!("returned {returned}"),
    }
}

fn verdict(ctx: &Ctx, rule: Value, want: &str) -> Outcome {
    let mut bundle = filtered(ctx, rule)?;
    let seen = ctx.probe(&mut bundle, &["syscall", &UMASK.to_string(), "18"])?;
    check_eq!(called(&seen), want, "umask");
    Ok(())
}

fn killed(ctx: &Ctx, action: &str) -> Outcome {
    let mut bundle = filtered(ctx, json!({"action": action}))?;
    bundle.args(&["/bin/probe", "syscall", &UMASK.to_string(), "18"]);
    // 31 is SIGSYS.
    ctx.run(&bundle)?.exits(128 + 31).map(drop)
}

/// A rule on the argument of umask: which values hit it and which miss it. Comparisons: operator, value, valueTwo.
fn compared(ctx: &Ctx, comparisons: &[(&str, u64, u64)], hits: &[u64], misses: &[u64]) -> Outcome {
    let args: Vec<Value> = comparisons
        .iter()
        .map(|(op, value, two)| json!({"index": 0, "value": value, "valueTwo": two, "op": op}))
        .collect();
    let mut bundle = filtered(
        ctx,
        json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 33, "args": args}),
    )?;
    for (values, want) in [(hits, "EDOM"), (misses, "returned 18")] {
        for value in values {
            let seen = ctx.probe(&mut bundle, &["syscall", &UMASK.to_string(), &value.to_string()])?;
            check_eq!(called(&seen), want, "umask({value:#x})");
        }
    }
    Ok(())
}

/// umask is denied, and no_new_privs is as given.
fn denied_with(ctx: &Ctx, bundle: &mut Bundle, no_new_privs: i64) -> Outcome {
    check_eq!(
        called(&ctx.probe(bundle, &["syscall", &UMASK.to_string(), "18"])?),
        "EPERM",
        "umask"
    );
    let seen = ctx.probe(bundle, &["see", "no_new_privs", "seccomp"])?;
    check_eq!(
        seen,
        json!({"no_new_privs": no_new_privs, "seccomp": 2}),
        "no_new_privs and mode"
    );
    Ok(())
}

fn sysctl(ctx: &Ctx, key: &str, value: &str, path: &str) -> Outcome {
    let mut bundle = ctx.bundle()?;
    bundle
        .set("/linux/sysctl", json!({ key: value }))
        .args(&["cat", path]);
    check_eq!(ctx.run(&bundle)?.ok()?.stdout.trim(), value, "{path}");
    Ok(())
}

fn no_sysctl(ctx: &Ctx, key: &str, change: impl Fn(&mut Bundle) -> &mut Bundle) -> Outcome {
    let path = "/proc/sys/vm/swappiness";
    let before = fs::read_to_string(path)?;
    let mut bundle = ctx.bundle()?;
    change(&mut bundle);
    // The value that the host has, so that nothing is changed were it written.
    let value = match key.contains("swappiness") {
        true => before.trim().to_string(),
        false => "1".to_string(),
    };
    bundle.set("/linux/sysctl", json!({ key: value })).args(&["true"]);
    let output = ctx.run(&bundle)?.fails()?;
    let named = [key.to_string(), key.replace('/', "."), key.replace('.', "/")];
    let names_it = named.iter().any(|name| output.stderr.contains(name));
    check!(names_it, "the message does not name {key}: {:?}", output.stderr);
    Ok(())
}

/// A program with the set-user-id bit, started by a user: which effective user id does it get?
fn set_user_id(ctx: &Ctx, no_new_privs: bool, want: i64) -> Outcome {
    let mut bundle = ctx.bundle()?;
    let probe = bundle.rootfs().join("bin/suid-probe");
    // A copy: the original is shared by all tests.
    fs::copy(bundle.rootfs().join("bin/probe"), &probe)?;
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o4755))?;
    bundle
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/noNewPrivileges", json!(no_new_privs));
    bundle.args(&["/bin/suid-probe", "see", "ids"]);
    let seen = ctx.run(&bundle)?.ok()?.json()?;
    check_eq!(seen["ids"]["uid"][1], json!(want), "effective user id");
    Ok(())
}
