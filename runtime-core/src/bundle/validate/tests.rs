use serde_json::{Value, json};

use super::{sysctl_path, validate};
use crate::bundle::spec::Spec;
use crate::error::{Code, Result};

/// A configuration with every namespace, made by this program alone.
fn base() -> Value {
    let namespaces: Vec<Value> = ["pid", "network", "mount", "ipc", "uts", "cgroup"]
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["/bin/true"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": namespaces},
    })
}

/// Puts `value` at a place like `process.rlimits[0].type`; `null` removes what is there.
fn set(config: &mut Value, place: &str, value: Value) {
    let mut at = config;
    for step in place.split('.') {
        let (name, index) = match step.split_once('[') {
            Some((name, rest)) => (name, Some(rest.trim_end_matches(']').parse::<usize>().unwrap())),
            None => (step, None),
        };
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
        if let Some(index) = index {
            if !at.is_array() {
                *at = json!([]);
            }
            let list = at.as_array_mut().unwrap();
            while list.len() <= index {
                list.push(Value::Null);
            }
            at = &mut list[index];
        }
    }
    *at = value;
}

fn check(changes: &[(&str, Value)]) -> Result<()> {
    let mut config = base();
    for (place, value) in changes {
        set(&mut config, place, value.clone());
    }
    validate(&serde_json::from_value::<Spec>(config).unwrap())
}

#[track_caller]
fn accepted(changes: &[(&str, Value)]) {
    if let Err(error) = check(changes) {
        panic!("{changes:?} is refused: {error}");
    }
}

/// The refusal must name `place` and say `reason`.
#[track_caller]
fn refused(changes: &[(&str, Value)], place: &str, reason: &str) {
    let error = match check(changes) {
        Ok(()) => panic!("{changes:?} is accepted"),
        Err(error) => error,
    };
    assert_eq!(error.code(), Code::InvalidConfig, "{error}");
    assert_eq!(error.operand_str(), Some(place), "{error}");
    let text = error.to_string();
    assert!(text.contains(reason), "{text} does not say {reason:?}");
    assert!(!text.contains('\n') && text.len() < 600, "{text}");
}

#[test]
fn the_base_is_accepted() {
    accepted(&[]);
}

#[test]
fn versions() {
    for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99", "1.0.0-rc5", ""] {
        accepted(&[("ociVersion", json!(version))]);
    }
    for version in [
        "0.5.0", "2.0.0", "1", "1.", "11.0", "v1.0.0", "1.x", "one", "-1.0",
    ] {
        refused(&[("ociVersion", json!(version))], "ociVersion", "must be 1.x");
    }
}

#[test]
fn root_and_process_are_needed() {
    refused(&[("root", Value::Null)], "root", "missing");
    refused(&[("root", json!({}))], "root.path", "missing or empty");
    refused(&[("root.path", json!(""))], "root.path", "missing or empty");
    refused(&[("root.path", json!("a\0b"))], "root.path", "NUL");
    refused(&[("process", Value::Null)], "process", "missing");
    accepted(&[("root.path", json!("/"))]);
}

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

#[test]
fn mounts() {
    let ids = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let good = json!({"destination": "/a", "type": "tmpfs"});
    for mount in [
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "relative", "type": "tmpfs"}),
        json!({"destination": "/a/../b", "type": "tmpfs"}),
        json!({"destination": "/a", "source": "/b", "options": ["rbind"]}),
        json!({"destination": "/a", "source": "b", "type": "bind"}),
        json!({"destination": "/a", "source": "b", "type": "bind", "uidMappings": ids, "gidMappings": ids}),
    ] {
        accepted(&[("mounts", json!([mount]))]);
    }
    for (mount, place, reason) in [
        (json!({"type": "tmpfs"}), "destination", "missing or empty"),
        (
            json!({"destination": "/", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": "/a/..//./", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": "/../..", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": ".", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": "/a\0", "type": "tmpfs"}),
            "destination",
            "NUL",
        ),
        (json!({"destination": "/a"}), "type", "missing"),
        (json!({"destination": "/a", "type": "x\0"}), "type", "NUL"),
        (json!({"destination": "/a", "type": "bind"}), "source", "missing"),
        (
            json!({"destination": "/a", "options": ["ro", "bind"]}),
            "source",
            "missing",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "source": "\0"}),
            "source",
            "NUL",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "options": ["ro", "x\0"]}),
            "options[1]",
            "NUL",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "uidMappings": ids, "gidMappings": ids}),
            "uidMappings",
            "bind",
        ),
        (
            json!({"destination": "/a", "type": "bind", "source": "b", "uidMappings": ids}),
            "gidMappings",
            "empty",
        ),
        (
            json!({"destination": "/a", "type": "bind", "source": "b", "gidMappings": ids}),
            "uidMappings",
            "empty",
        ),
    ] {
        refused(
            &[("mounts", json!([good, mount]))],
            &format!("mounts[1].{place}"),
            reason,
        );
    }
}

#[test]
fn namespaces() {
    let path = "linux.namespaces[6]";
    accepted(&[(path, json!({"type": "time", "path": "/proc/1/ns/time"}))]);
    refused(
        &[(path, json!({"type": "ipc"}))],
        "linux.namespaces[6].type",
        "\"ipc\" is there twice",
    );
    refused(
        &[(path, json!({"type": "ipc", "path": "/p"}))],
        "linux.namespaces[6].type",
        "twice",
    );
    refused(
        &[(path, json!({"type": "time", "path": "ns"}))],
        "linux.namespaces[6].path",
        "absolute",
    );
    refused(
        &[(path, json!({"type": "time", "path": "/n\0"}))],
        "linux.namespaces[6].path",
        "NUL",
    );
    accepted(&[("linux.namespaces", json!([]))]);
    let none = ("linux.namespaces", json!([]));
    for (field, value, place) in [
        ("hostname", json!("h"), "hostname"),
        ("domainname", json!("d"), "domainname"),
        ("linux.maskedPaths", json!(["/proc/kcore"]), "linux.maskedPaths"),
        ("linux.readonlyPaths", json!(["/proc/sys"]), "linux.readonlyPaths"),
        ("linux.netDevices", json!({"eth0": {}}), "linux.netDevices[eth0]"),
        (
            "linux.timeOffsets",
            json!({"boottime": {"secs": 1}}),
            "linux.timeOffsets[boottime]",
        ),
    ] {
        refused(
            &[none.clone(), (field, value)],
            place,
            "needs a namespace of type",
        );
    }
}

#[test]
fn names_and_paths_inside() {
    accepted(&[("hostname", json!("h".repeat(64))), ("domainname", json!("d"))]);
    accepted(&[
        ("linux.maskedPaths", json!(["/a", "/a"])),
        ("linux.readonlyPaths", json!(["/b"])),
    ]);
    accepted(&[(
        "linux.netDevices",
        json!({"eth0": {"name": "in0"}, "eth1": {}, "eth2": {"name": ""}}),
    )]);
    for (field, value, place, reason) in [
        ("hostname", json!("h".repeat(65)), "hostname", "65 bytes"),
        ("hostname", json!("h".repeat(65536)), "hostname", "65536 bytes"),
        ("domainname", json!("d\0"), "domainname", "NUL"),
        (
            "linux.maskedPaths",
            json!(["/a", "b"]),
            "linux.maskedPaths[1]",
            "absolute",
        ),
        (
            "linux.readonlyPaths",
            json!([""]),
            "linux.readonlyPaths[0]",
            "missing or empty",
        ),
        (
            "linux.netDevices",
            json!({"a/b": {}}),
            "linux.netDevices[a/b]",
            "not the name",
        ),
        (
            "linux.netDevices",
            json!({"e": {"name": ".."}}),
            "linux.netDevices[e].name",
            "not the name",
        ),
        (
            "linux.netDevices",
            json!({"e": {"name": "sixteen-letters-"}}),
            "linux.netDevices[e].name",
            "not the name",
        ),
    ] {
        refused(&[(field, value)], place, reason);
    }
}

#[test]
fn user_namespace_and_mappings() {
    let map = |inside: u32, outside: u32, size: u32| json!({"containerID": inside, "hostID": outside, "size": size});
    let new = ("linux.namespaces[6]", json!({"type": "user"}));
    let joined = (
        "linux.namespaces[6]",
        json!({"type": "user", "path": "/proc/1/ns/user"}),
    );
    let both = |list: Value| [("linux.uidMappings", list.clone()), ("linux.gidMappings", list)];
    let [uids, gids] = both(json!([map(0, 100_000, 65_536)]));
    accepted(&[new.clone(), uids.clone(), gids.clone()]);
    accepted(&[joined.clone(), uids.clone(), gids.clone()]);
    accepted(std::slice::from_ref(&joined));
    refused(
        std::slice::from_ref(&new),
        "linux.uidMappings",
        "must not be empty",
    );
    refused(
        &[new.clone(), uids.clone()],
        "linux.gidMappings",
        "must not be empty",
    );
    refused(&[uids.clone(), gids.clone()], "linux.uidMappings", "\"user\"");
    for (list, place, reason) in [
        (json!([map(0, 0, 0)]), "[0].size", "must not be 0"),
        (json!([map(0, u32::MAX, 1)]), "[0].hostID", "beyond the last id"),
        (
            json!([map(1, 0, u32::MAX)]),
            "[0].containerID",
            "beyond the last id",
        ),
        (json!([map(0, 0, 10), map(9, 100, 1)]), "[1]", "overlaps entry 0"),
        (json!([map(0, 0, 10), map(20, 5, 1)]), "[1]", "overlaps entry 0"),
    ] {
        let [uids, gids] = both(list);
        refused(
            &[new.clone(), uids, gids],
            &format!("linux.uidMappings{place}"),
            reason,
        );
    }
    let many = |count: u32| both((0..count).map(|id| map(id * 2, id * 2, 1)).collect());
    let [uids, gids] = many(340);
    accepted(&[new.clone(), uids, gids]);
    let [uids, gids] = many(341);
    refused(&[new, uids, gids], "linux.uidMappings", "341 entries");
}

#[test]
fn time_offsets() {
    let new = ("linux.namespaces[6]", json!({"type": "time"}));
    let offsets = |value| ("linux.timeOffsets", value);
    accepted(&[
        new.clone(),
        offsets(json!({"boottime": {"secs": -5, "nanosecs": 999_999_999}})),
    ]);
    let joined = ("linux.namespaces[6]", json!({"type": "time", "path": "/n"}));
    let at = "linux.timeOffsets[monotonic]";
    refused(&[joined, offsets(json!({"monotonic": {}}))], at, "joined");
    refused(
        &[new.clone(), offsets(json!({"realtime": {}}))],
        "linux.timeOffsets[realtime]",
        "must be",
    );
    let over = offsets(json!({"monotonic": {"nanosecs": 1_000_000_000}}));
    refused(&[new, over], "linux.timeOffsets[monotonic].nanosecs", "999999999");
}

#[test]
fn kernel_parameters_of_namespaces() {
    for key in [
        "kernel.shmmax",
        "kernel/shm_rmid_forced",
        "kernel.msgmni",
        "kernel.sem",
        "fs.mqueue.msg_max",
        "fs/mqueue/msg_max",
        "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.100/rp_filter",
        "net.ipv4.conf.eth0/100.rp_filter",
        "kernel.domainname",
    ] {
        accepted(&[("linux.sysctl", json!({key: "1"}))]);
        let place = format!("linux.sysctl[{key}]");
        let none = ("linux.namespaces", json!([]));
        refused(
            &[none, ("linux.sysctl", json!({key: "1"}))],
            &place,
            "needs a namespace of type",
        );
    }
}

#[test]
fn kernel_parameters_of_the_host() {
    for key in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.shmmaxx",
        "kernel.shmmax.x",
        "vm.overcommit_memory",
        "fs.file-max",
        "fs.mqueue",
        "fs.mqueuex.a",
        "user.max_user_namespaces",
        "network.a",
        "kernel",
        "",
        ".",
        "..",
        "/",
        "/net/ipv4/ip_forward",
        ".net.ipv4.ip_forward",
        "net",
        "net.",
        "net/",
        "net..ipv4",
        "net//ipv4",
        "net/../kernel/core_pattern",
        "net.//.kernel.core_pattern",
        "net/./ipv4/ip_forward",
        "net./.ipv4",
        "net/ipv4/ip_forward/",
        "net.ipv4.\0",
        "net.ipv4.a\nb",
        "Net.ipv4.ip_forward",
        " net.ipv4.ip_forward",
    ] {
        refused(
            &[("linux.sysctl", json!({key: "1"}))],
            &format!("linux.sysctl[{key}]"),
            "is",
        );
    }
    refused(
        &[("linux.sysctl", json!({"kernel.hostname": "x"}))],
        "linux.sysctl[kernel.hostname]",
        "use hostname",
    );
    let nul = json!({"net.ipv4.ip_forward": "1\0"});
    refused(
        &[("linux.sysctl", nul)],
        "linux.sysctl[net.ipv4.ip_forward]",
        "NUL",
    );
    let long = "none.".to_owned() + &"a/".repeat(100_000);
    let error = check(&[("linux.sysctl", json!({long: "1"}))]).unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn kernel_parameters_become_files() {
    for (key, path) in [
        ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
        ("net/ipv4/ip_forward", Some("net/ipv4/ip_forward")),
        (
            "net.ipv4.conf.eth0/1.forwarding",
            Some("net/ipv4/conf/eth0.1/forwarding"),
        ),
        (
            "net/ipv4/conf/eth0.1/forwarding",
            Some("net/ipv4/conf/eth0.1/forwarding"),
        ),
        ("net.ipv4/../x", None),
        ("net.//.x", None),
        ("kernel", None),
    ] {
        assert_eq!(sysctl_path(key).as_deref(), path, "{key}");
    }
}

#[test]
fn devices_and_rules() {
    let device = |kind: &str, path: &str, major: i64, minor: i64| json!([{"type": kind, "path": path, "major": major, "minor": minor}]);
    for value in [
        device("c", "/dev/a", 4095, 1_048_575),
        device("p", "/dev/p", -1, -1),
        device("u", "/u", 1, 3),
    ] {
        accepted(&[("linux.devices", value)]);
    }
    for (value, place) in [
        (device("x", "/dev/a", 1, 1), "type"),
        (device("", "/dev/a", 1, 1), "type"),
        (device("c", "dev/a", 1, 1), "path"),
        (device("c", "", 1, 1), "path"),
        (device("c", "/a\0", 1, 1), "path"),
        (device("c", "/a", -1, 1), "major"),
        (device("c", "/a", 4096, 1), "major"),
        (device("b", "/a", 1, -1), "minor"),
        (device("b", "/a", 1, i64::MAX), "minor"),
    ] {
        refused(
            &[("linux.devices", value)],
            &format!("linux.devices[0].{place}"),
            "",
        );
    }
    let rules = "linux.resources.devices";
    accepted(&[(
        rules,
        json!([{"allow": false, "access": "rwm"}, {"type": "c", "major": 1, "minor": -1}]),
    )]);
    for (value, place) in [
        (json!([{"type": "p"}]), "type"),
        (json!([{"access": "rwx"}]), "access"),
        (json!([{"major": -2}]), "major"),
        (json!([{"minor": i64::MAX}]), "minor"),
    ] {
        refused(&[(rules, value)], &format!("{rules}[0].{place}"), "");
    }
}

#[test]
fn cgroups() {
    for path in ["/a/b", "a/b", "system.slice:runc:id", "/a/..b/c..", "a"] {
        accepted(&[("linux.cgroupsPath", json!(path))]);
    }
    for path in ["/a/../b", "..", "../../x", "a/..", "a\0b", "a\nb", "/a\n/../b"] {
        refused(
            &[("linux.cgroupsPath", json!(path))],
            "linux.cgroupsPath",
            "contain",
        );
    }
    accepted(&[("linux.resources.unified", json!({"memory.high": "1"}))]);
    for key in ["", "..", "../cgroup.procs", "a/b", "a\nb"] {
        let place = format!("linux.resources.unified[{key}]");
        refused(
            &[("linux.resources.unified", json!({key: "1"}))],
            &place,
            "file's name",
        );
    }
    let pages = "linux.resources.hugepageLimits";
    accepted(&[(pages, json!([{"pageSize": "2MB", "limit": 1}]))]);
    refused(
        &[(pages, json!([{"pageSize": "../x", "limit": 1}]))],
        &format!("{pages}[0].pageSize"),
        "file's name",
    );
}

#[test]
fn hooks() {
    for point in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        let hooks = |value| [("hooks", json!({point: [value]}))];
        accepted(&hooks(
            json!({"path": "/bin/true", "args": ["true", "-x"], "env": ["A=b"], "timeout": 1}),
        ));
        for (value, place, reason) in [
            (json!({"path": "true"}), "path", "absolute"),
            (json!({}), "path", "missing or empty"),
            (json!({"path": "/a\0"}), "path", "NUL"),
            (json!({"path": "/a", "args": ["\0"]}), "args[0]", "NUL"),
            (json!({"path": "/a", "env": ["A=1", "\0"]}), "env[1]", "NUL"),
            (json!({"path": "/a", "timeout": 0}), "timeout", "greater than 0"),
            (json!({"path": "/a", "timeout": -1}), "timeout", "greater than 0"),
        ] {
            refused(&hooks(value), &format!("hooks.{point}[0].{place}"), reason);
        }
    }
}

#[test]
fn the_rest_of_linux() {
    for propagation in [
        "shared",
        "slave",
        "private",
        "unbindable",
        "rshared",
        "rslave",
        "rprivate",
        "runbindable",
    ] {
        accepted(&[("linux.rootfsPropagation", json!(propagation))]);
    }
    accepted(&[("linux.personality", json!({"domain": "LINUX32", "flags": ["X"]}))]);
    accepted(&[("linux.intelRdt", json!({"closID": "guaranteed"}))]);
    accepted(&[(
        "linux.memoryPolicy",
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
    )]);
    for (field, value, place) in [
        ("rootfsPropagation", json!("rrshared"), "rootfsPropagation"),
        ("rootfsPropagation", json!("r"), "rootfsPropagation"),
        ("mountLabel", json!("a\0"), "mountLabel"),
        ("personality", json!({"domain": "BSD"}), "personality.domain"),
        ("intelRdt", json!({"closID": "../x"}), "intelRdt.closID"),
        ("memoryPolicy", json!({"mode": "X"}), "memoryPolicy.mode"),
        (
            "memoryPolicy",
            json!({"mode": "MPOL_LOCAL", "flags": ["X"]}),
            "memoryPolicy.flags[0]",
        ),
    ] {
        refused(
            &[(&format!("linux.{field}"), value)],
            &format!("linux.{place}"),
            "",
        );
    }
    let error = check(&[("linux.seccomp", json!({"defaultAction": "SCMP_ACT_X"}))]).unwrap_err();
    assert!(error.to_string().contains("linux.seccomp"), "{error}");
}

#[test]
fn enormous_lists_are_no_burden() {
    let mounts: Vec<Value> = (0..100_000)
        .map(|n| json!({"destination": format!("/m{n}"), "type": "tmpfs"}))
        .collect();
    accepted(&[
        ("mounts", json!(mounts)),
        ("process.args", json!(vec!["a"; 100_000])),
    ]);
    let namespaces: Vec<Value> = (0..100_000).map(|_| json!({"type": "pid"})).collect();
    refused(
        &[("linux.namespaces", json!(namespaces))],
        "linux.namespaces[1].type",
        "twice",
    );
}
