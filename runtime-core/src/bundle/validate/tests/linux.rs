use serde_json::{Value, json};

use super::{accepted, check, refused};
use crate::bundle::sysctl_path;

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
