//! Facts about this process and its surroundings.
//!
//! What Rust's own start-up changes cannot be seen from here (dispositions of signals, closed standard streams); tests
//! read those through busybox.

use std::collections::BTreeMap;
use std::fs;

use nix::errno::Errno;
use nix::unistd;
use serde_json::{Map, Value, json};

use crate::sys;

type Fact = fn() -> Value;

/// Every fact, by name.
const FACTS: &[(&str, Fact)] = &[
    ("args", || json!(std::env::args().collect::<Vec<_>>())),
    ("caps", caps),
    ("cgroup", || lines("/proc/self/cgroup")),
    ("cwd", || {
        text(std::env::current_dir().map(|path| path.display().to_string()))
    }),
    ("domainname", || {
        text(fs::read_to_string("/proc/sys/kernel/domainname").map(|s| s.trim().to_string()))
    }),
    ("dumpable", || number(sys::prctl(libc::PR_GET_DUMPABLE, 0))),
    ("env", env),
    ("fds", fds),
    ("hostname", || {
        text(fs::read_to_string("/proc/sys/kernel/hostname").map(|s| s.trim().to_string()))
    }),
    ("ids", ids),
    ("ioprio", || {
        number(sys::syscall(libc::SYS_ioprio_get, [1, 0, 0, 0, 0, 0]))
    }),
    ("keyring", keyring),
    (
        "maps",
        || json!({"uid": lines("/proc/self/uid_map"), "gid": lines("/proc/self/gid_map"), "setgroups": lines("/proc/self/setgroups")}),
    ),
    ("monotonic", || lines("/proc/uptime")),
    ("mounts", mounts),
    ("namespaces", namespaces),
    ("no_new_privs", || status_number("NoNewPrivs")),
    ("oom_score_adj", || lines("/proc/self/oom_score_adj")),
    ("personality", || {
        number(sys::syscall(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]))
    }),
    ("pids", pids),
    ("processes", processes),
    ("rlimits", rlimits),
    ("scheduler", || {
        number(sys::syscall(libc::SYS_sched_getscheduler, [0; 6]))
    }),
    ("seccomp", || status_number("Seccomp")),
    ("timens_offsets", || lines("/proc/self/timens_offsets")),
    ("tty", tty),
    ("umask", || text(status("Umask").ok_or(Errno::ENOENT))),
];

/// The named facts, or all.
pub fn facts(names: &[&str]) -> Result<Value, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| FACTS.iter().all(|(known, _)| known != *name))
    {
        return Err(format!("no fact {unknown:?}"));
    }
    let wanted = FACTS
        .iter()
        .filter(|(name, _)| names.is_empty() || names.contains(name));
    Ok(Value::Object(
        wanted.map(|(name, fact)| (name.to_string(), fact())).collect(),
    ))
}

fn text<E: std::fmt::Display>(result: Result<String, E>) -> Value {
    match result {
        Ok(text) => json!(text),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn number<N: Into<i64>>(result: Result<N, Errno>) -> Value {
    match result {
        Ok(number) => json!(number.into()),
        Err(errno) => json!({"error": format!("{errno:?}")}),
    }
}

fn lines(path: &str) -> Value {
    match fs::read_to_string(path) {
        Ok(text) => json!(
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        ),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn status(key: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_string())
}

fn status_number(key: &str) -> Value {
    json!(status(key).and_then(|value| value.parse::<i64>().ok()))
}

fn status_bits(key: &str) -> Vec<u32> {
    let bits = status(key)
        .and_then(|value| u64::from_str_radix(&value, 16).ok())
        .unwrap_or(u64::MAX);
    (0..64).filter(|bit| bits >> bit & 1 == 1).collect()
}

/// Names of capabilities, without `CAP_`, by number.
const CAPS: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn caps() -> Value {
    let set = |key: &str| {
        let name = |bit: u32| {
            CAPS.get(bit as usize)
                .map_or_else(|| format!("#{bit}"), |name| name.to_string())
        };
        status_bits(key).into_iter().map(name).collect::<Vec<_>>()
    };
    json!({
        "inheritable": set("CapInh"), "permitted": set("CapPrm"), "effective": set("CapEff"),
        "bounding": set("CapBnd"), "ambient": set("CapAmb")
    })
}

/// The environment as it was given, repetitions and oddities included.
fn env() -> Value {
    let block = fs::read("/proc/self/environ").unwrap_or_default();
    let entries = block.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    json!(
        entries
            .map(|entry| String::from_utf8_lossy(entry).into_owned())
            .collect::<Vec<_>>()
    )
}

fn fds() -> Value {
    let mut found = Map::new();
    // Collected first: the directory's own descriptor must not be in the list.
    let numbers: Vec<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    for number in numbers {
        let Ok(target) = fs::read_link(format!("/proc/self/fd/{number}")) else {
            continue;
        };
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags
            .and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok())
            .unwrap_or(0);
        found.insert(
            number,
            json!({"target": target.display().to_string(), "cloexec": flags & libc::O_CLOEXEC != 0}),
        );
    }
    Value::Object(found)
}

fn ids() -> Value {
    let four = |key: &str| -> Vec<i64> {
        status(key)
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect()
    };
    let mut groups = four("Groups");
    groups.sort_unstable();
    json!({"uid": four("Uid"), "gid": four("Gid"), "groups": groups})
}

fn keyring() -> Value {
    // KEYCTL_GET_KEYRING_ID (0) of the session's keyring (-3), not made when absent.
    match sys::syscall(libc::SYS_keyctl, [0, -3, 0, 0, 0, 0]) {
        Ok(id) => json!({"id": id, "description": text(sys::describe_key(id).map_err(|e| format!("{e:?}")))}),
        Err(errno) => json!({"error": format!("{errno:?}")}),
    }
}

fn mounts() -> Value {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let rows = table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let mut right = right.splitn(3, ' ');
        let list = |text: &str| text.split(',').map(String::from).collect::<Vec<_>>();
        Some(json!({
            "id": left[0], "parent": left[1], "device": left[2], "root": left[3], "at": left[4],
            "options": list(left[5]), "propagation": left[6..].to_vec(),
            "type": right.next(), "source": right.next(), "super": list(right.next().unwrap_or_default())
        }))
    });
    json!(rows.collect::<Vec<_>>())
}

fn namespaces() -> Value {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let links = kinds.map(|kind| {
        let link = fs::read_link(format!("/proc/self/ns/{kind}"));
        (
            kind.to_string(),
            text(link.map(|target| target.display().to_string())),
        )
    });
    Value::Object(links.into_iter().collect())
}

fn pids() -> Value {
    let own = unistd::getpid();
    json!({
        "pid": own.as_raw(), "ppid": unistd::getppid().as_raw(), "pgid": unistd::getpgrp().as_raw(),
        "sid": unistd::getsid(None).map_or(-1, |pid| pid.as_raw())
    })
}

fn processes() -> Value {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<i32> = entries
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    found.sort_unstable();
    json!(found)
}

fn rlimits() -> Value {
    let names = [
        ("Max cpu time", "CPU"),
        ("Max file size", "FSIZE"),
        ("Max data size", "DATA"),
        ("Max stack size", "STACK"),
        ("Max core file size", "CORE"),
        ("Max resident set", "RSS"),
        ("Max processes", "NPROC"),
        ("Max open files", "NOFILE"),
        ("Max locked memory", "MEMLOCK"),
        ("Max address space", "AS"),
        ("Max file locks", "LOCKS"),
        ("Max pending signals", "SIGPENDING"),
        ("Max msgqueue size", "MSGQUEUE"),
        ("Max nice priority", "NICE"),
        ("Max realtime priority", "RTPRIO"),
        ("Max realtime timeout", "RTTIME"),
    ];
    let table = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in table.lines() {
        if let Some((long, short)) = names.iter().find(|(long, _)| line.starts_with(long)) {
            let mut fields = line[long.len()..].split_whitespace();
            let value = |field: Option<&str>| match field {
                Some(number) => number
                    .parse::<u64>()
                    .map_or(json!(number), |number| json!(number)),
                None => Value::Null,
            };
            found.insert(
                short.to_string(),
                json!([value(fields.next()), value(fields.next())]),
            );
        }
    }
    json!(found)
}

fn tty() -> Value {
    let streams = [0, 1, 2].map(|fd| sys::window_size(fd).is_ok());
    let Ok((rows, columns)) = sys::window_size(0) else {
        return json!({"streams": streams});
    };
    let onlcr = sys::output_flags(0).map(|flags| flags & libc::ONLCR != 0);
    let name = fs::read_link("/proc/self/fd/0").map(|path| path.display().to_string());
    let foreground = sys::syscall(libc::SYS_getpgrp, [0; 6]).ok();
    json!({
        "streams": streams, "rows": rows, "columns": columns, "onlcr": onlcr.ok(), "name": text(name),
        "foreground": status_tty_group() == foreground
    })
}

/// The foreground process group of the controlling terminal.
fn status_tty_group() -> Option<i64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(5)?.parse().ok()
}
