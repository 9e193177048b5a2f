use serde_json::{Value, json};

use super::{accepted, refused};

#[test]
fn process() {
    let p = |field: &str| format!("process.{field}");
    for (field, value, place, reason) in [
        ("args", json!([]), "args", "must not be empty"),
        ("args", Value::Null, "args", "must not be empty"),
        ("args", json!(["a", "b\0"]), "args[1]", "NUL"),
        ("cwd", json!("tmp"), "cwd", "absolute"),
        ("cwd", json!(""), "cwd", "missing or empty"),
        ("cwd", json!("/a\0"), "cwd", "NUL"),
        ("env", json!(["A=1", "B"]), "env[1]", "NAME=value"),
        ("env", json!(["=1"]), "env[0]", "no name"),
        ("env", json!(["A=\0"]), "env[0]", "NUL"),
        ("user.uid", json!(u32::MAX), "user.uid", "not an id"),
        ("user.gid", json!(u32::MAX), "user.gid", "not an id"),
        (
            "user.additionalGids",
            json!([0, u32::MAX]),
            "user.additionalGids[1]",
            "not an id",
        ),
        ("oomScoreAdj", json!(1001), "oomScoreAdj", "-1000 to 1000"),
        ("oomScoreAdj", json!(-1001), "oomScoreAdj", "-1000 to 1000"),
        ("apparmorProfile", json!("a\0"), "apparmorProfile", "NUL"),
        ("selinuxLabel", json!("a\0"), "selinuxLabel", "NUL"),
    ] {
        refused(&[(&p(field), value)], &p(place), reason);
    }
    for (field, value) in [
        ("env", json!(["A=", "A==", "A=b=c", "A=1", "A=2"])),
        ("user.uid", json!(u32::MAX - 1)),
        ("oomScoreAdj", json!(-1000)),
        (
            "capabilities.bounding",
            json!(["CAP_KILL", "CAP_OF_THE_FUTURE", ""]),
        ),
        ("args", json!([""])),
    ] {
        accepted(&[(&p(field), value)]);
    }
}

#[test]
fn rlimits() {
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    accepted(&[(
        "process.rlimits",
        json!([limit("RLIMIT_NOFILE", 1, 1), limit("RLIMIT_CORE", 0, u64::MAX)]),
    )]);
    for (list, place, reason) in [
        (
            json!([limit("RLIMIT_X", 1, 1)]),
            "process.rlimits[0].type",
            "RLIMIT_X",
        ),
        (
            json!([limit("nofile", 1, 1)]),
            "process.rlimits[0].type",
            "nofile",
        ),
        (
            json!([
                limit("RLIMIT_CORE", 1, 1),
                limit("RLIMIT_CPU", 1, 1),
                limit("RLIMIT_CORE", 2, 2)
            ]),
            "process.rlimits[2].type",
            "twice",
        ),
        (
            json!([limit("RLIMIT_CORE", 2, 1)]),
            "process.rlimits[0].soft",
            "above the hard limit 1",
        ),
    ] {
        refused(&[("process.rlimits", list)], place, reason);
    }
}

#[test]
fn scheduling() {
    accepted(&[("process.scheduler", json!({"policy": "SCHED_BATCH", "nice": 19}))]);
    accepted(&[(
        "process.scheduler",
        json!({"policy": "SCHED_FIFO", "priority": 99}),
    )]);
    accepted(&[(
        "process.scheduler",
        json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
    )]);
    accepted(&[(
        "process.scheduler",
        json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
    )]);
    accepted(&[(
        "process.ioPriority",
        json!({"class": "IOPRIO_CLASS_IDLE", "priority": 7}),
    )]);
    for (value, place, reason) in [
        (json!({}), "policy", "unknown policy"),
        (json!({"policy": "SCHED_X"}), "policy", "SCHED_X"),
        (json!({"policy": "SCHED_OTHER", "nice": 20}), "nice", "-20 to 19"),
        (
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "priority",
            "no meaning",
        ),
        (
            json!({"policy": "SCHED_RR", "priority": 100}),
            "priority",
            "0 to 99",
        ),
        (
            json!({"policy": "SCHED_FIFO", "runtime": 1}),
            "runtime",
            "no meaning",
        ),
        (
            json!({"policy": "SCHED_OTHER", "period": 1}),
            "period",
            "no meaning",
        ),
        (
            json!({"policy": "SCHED_OTHER", "flags": ["X"]}),
            "flags[0]",
            "unknown flag",
        ),
    ] {
        refused(
            &[("process.scheduler", value)],
            &format!("process.scheduler.{place}"),
            reason,
        );
    }
    for (value, place) in [
        (json!({"class": "RT", "priority": 1}), "class"),
        (json!({"class": "IOPRIO_CLASS_RT", "priority": 8}), "priority"),
        (json!({"class": "IOPRIO_CLASS_RT", "priority": -1}), "priority"),
    ] {
        refused(
            &[("process.ioPriority", value)],
            &format!("process.ioPriority.{place}"),
            "",
        );
    }
}
