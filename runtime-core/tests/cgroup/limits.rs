//! Limits and device rules, and what the kernel makes of them.

use std::fs;
use std::path::Path;

use nix::sys::stat::{Mode as Permissions, SFlag, makedev, mknod};
use runtime_core::Code;
use runtime_core::cgroup::{Cgroup, Mode};
use runtime_core::spec::{Device, Resources};

use crate::fixture::*;

#[test]
fn limits_are_in_the_files_and_update_changes_them() {
    let first = r#"{"memory":{"limit":67108864,"swap":134217728,"reservation":33554432},"pids":{"limit":20},
                    "cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0","mems":"0"}}"#;
    let Some(fixture) = Fixture::created(first) else {
        return;
    };
    let memory = |limit: &str, swap: &str| {
        if is_v2("memory") {
            assert_eq!(fixture.value("memory", "memory.max"), limit);
        } else {
            assert_eq!(fixture.value("memory", "memory.limit_in_bytes"), limit);
            assert_eq!(fixture.value("memory", "memory.memsw.limit_in_bytes"), swap);
        }
    };
    let cpu = |weight: &str, shares: &str, quota: &str| {
        if is_v2("cpu") {
            assert_eq!(fixture.value("cpu", "cpu.weight"), weight);
            assert_eq!(fixture.value("cpu", "cpu.max"), format!("{quota} 100000"));
        } else {
            assert_eq!(fixture.value("cpu", "cpu.shares"), shares);
            assert_eq!(fixture.value("cpu", "cpu.cfs_quota_us"), quota);
        }
    };
    memory("67108864", "134217728");
    cpu("59", "512", "50000");
    assert_eq!(fixture.value("pids", "pids.max"), "20");
    assert_eq!(fixture.value("cpuset", "cpuset.cpus"), "0");
    let stats = fixture.cgroup.stats().unwrap();
    assert_eq!((stats.memory.usage.limit, stats.pids.limit), (67_108_864, 20));

    // Up and down past the old limits: each order of the two writes fails in one of the directions.
    for (limit, swap) in [
        (268_435_456, 536_870_912),
        (33_554_432, 41_943_040),
        (67_108_864, 67_108_864),
    ] {
        let json = format!(r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#);
        fixture.cgroup.update(&resources(&json)).unwrap();
        memory(&limit.to_string(), &swap.to_string());
    }
    // A shorter period with the old quota would exceed what the parent may have; both together do not.
    fixture
        .cgroup
        .update(&resources(
            r#"{"cpu":{"shares":1024,"quota":20000},"pids":{"limit":0}}"#,
        ))
        .unwrap();
    cpu("100", "1024", "20000");
    assert_eq!(fixture.value("pids", "pids.max"), "1");
    fixture
        .cgroup
        .update(&resources(r#"{"memory":{"limit":-1},"pids":{"limit":-1}}"#))
        .unwrap();
    assert_eq!(fixture.value("pids", "pids.max"), "max");
    let unlimited = fixture.cgroup.stats().unwrap().memory;
    assert!(
        unlimited.usage.limit > 1 << 60 && unlimited.swap.limit > 1 << 60,
        "{unlimited:?}"
    );
    fixture.remove();
}

#[test]
fn a_limit_that_cannot_be_set_is_named() {
    let Some(fixture) = Fixture::created(r#"{"cpu":{"cpus":"0"}}"#) else {
        return;
    };
    let refused = |json: &str| fixture.cgroup.update(&resources(json)).unwrap_err();

    let error = refused(r#"{"cpu":{"cpus":"100000"}}"#);
    assert_eq!(error.code(), Code::Cgroup);
    let text = error.to_string();
    assert!(
        text.contains("write cpuset.cpus") && text.contains("100000") && error.raw_os_error().is_some(),
        "{text}"
    );
    assert!(text.contains(fixture.home("cpuset").to_str().unwrap()), "{text}");

    let error = refused(r#"{"hugepageLimits":[{"pageSize":"3MB","limit":0}]}"#).to_string();
    assert!(
        error.contains("write hugetlb.3MB")
            && (error.contains("no such setting") || error.contains("not available")),
        "{error}"
    );

    if layout().mode() == Mode::V2 {
        let error = refused(r#"{"unified":{"nothing.max":"1"}}"#).to_string();
        assert!(error.contains("controller nothing not available"), "{error}");
    } else {
        let error = refused(r#"{"rdma":{"x":{"hcaHandles":1}}}"#).to_string();
        assert!(error.contains("controller rdma not available"), "{error}");
    }
    fixture.remove();
}

#[test]
fn a_memory_limit_below_the_usage_is_refused_where_it_can_be() {
    let Some(fixture) = Fixture::created(r#"{"memory":{"limit":67108864}}"#) else {
        return;
    };
    // A variable of the shell is memory that cannot be reclaimed without swap.
    let _process = fixture.run("x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo filled; sleep 1000");
    eventually("memory use", || {
        fixture.cgroup.stats().unwrap().memory.usage.usage > 20_000_000
    });
    let small = resources(r#"{"memory":{"limit":4194304,"swap":4194304,"checkBeforeUpdate":true}}"#);
    let error = fixture.cgroup.update(&small).unwrap_err();
    let text = error.to_string();
    let expected = if is_v2("memory") {
        "rejecting memory"
    } else {
        "unable to set memory limit to 4194304 (current usage: "
    };
    assert!(text.contains(expected), "{text}");
    fixture.cgroup.kill(LONG).unwrap();
    fixture.remove();
}

#[test]
fn the_oom_killer_is_counted() {
    let Some(fixture) = Fixture::created(r#"{"memory":{"limit":16777216,"swap":16777216}}"#) else {
        return;
    };
    assert_eq!(fixture.cgroup.oom_kill_count(), Some(0));
    let process = fixture.run("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived");
    let (code, text) = process.output();
    assert!(code != Some(0) || text != "survived", "{code:?} {text}");
    eventually("the count", || fixture.cgroup.oom_kill_count() > Some(0));
    fixture.remove();
}

#[test]
fn devices_are_denied_unless_allowed() {
    let Some(fixture) = Fixture::created(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#) else {
        return;
    };
    let scratch = Scratch::new("devices");
    let node = scratch.0.join("kmsg");
    mknod(
        &node,
        SFlag::S_IFCHR,
        Permissions::S_IRUSR | Permissions::S_IWUSR,
        makedev(1, 11),
    )
    .unwrap();
    fs::File::open(&node).expect("this device can be opened outside of the cgroup");
    let open = |path: &Path, how: &str| {
        format!(
            "(: {how} {}) 2>/dev/null && echo yes || echo no\n",
            path.display()
        )
    };
    let made = scratch.0.join("made");
    let script = open(&node, "<")
        + &open(Path::new("/dev/null"), "<")
        + &open(Path::new("/dev/null"), ">")
        + &format!(
            "mknod {0} c 10 229 2>/dev/null && echo yes || echo no\n",
            made.display()
        )
        + &open(&made, "<");
    assert_eq!(
        fixture.run(&script).output().1.replace('\n', " "),
        "no yes yes yes no"
    );
    fs::remove_file(&made).unwrap();

    // Limits do not touch devices.
    fixture
        .cgroup
        .update(&resources(
            r#"{"devices":[{"allow":true,"access":"rwm"}],"pids":{"limit":50}}"#,
        ))
        .unwrap();
    assert_eq!(fixture.run(&open(&node, "<")).output().1, "no");

    // Applied again, from another process's point of view, the new rules are in place of the old ones.
    let again = Cgroup::from_line(&layout(), &fixture.cgroup.to_line()).unwrap();
    let read = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
    again.apply(&resources(read), &[]).unwrap();
    assert_eq!(
        fixture
            .run(&(open(&node, "<") + &open(&node, ">")))
            .output()
            .1
            .replace('\n', " "),
        "yes no"
    );
    again
        .apply(&resources(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#), &[])
        .unwrap();
    assert_eq!(fixture.run(&open(&node, "<")).output().1, "no");
    again
        .apply(&resources(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#), &[])
        .unwrap();
    assert_eq!(fixture.run(&open(&node, "<>")).output().1, "yes");

    let null = Device {
        path: "/dev/null".into(),
        ..Device::default()
    };
    again.apply(&Resources::default(), &[null]).unwrap();
    assert_eq!(fixture.run(&open(Path::new("/dev/null"), "<")).output().1, "no");
    fixture.cgroup.kill(LONG).unwrap();
    fixture.remove();
}

#[test]
fn every_controller_is_there_on_version_2() {
    let Some(fixture) = Fixture::created("{}") else {
        return;
    };
    if layout().mode() != Mode::V2 {
        assert_eq!(fixture.dirs().len(), layout().hierarchies().len());
        return;
    }
    let host = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    assert_eq!(fixture.value("", "cgroup.controllers"), host.trim());
    fixture
        .cgroup
        .update(&resources(
            r#"{"unified":{"memory.high":"1048576","cgroup.max.depth":"3"}}"#,
        ))
        .unwrap();
    assert_eq!(fixture.value("", "memory.high"), "1048576");
    assert_eq!(fixture.value("", "cgroup.max.depth"), "3");
    fixture.cgroup.delegate(12_345).unwrap();
    use std::os::unix::fs::MetadataExt;
    let owner = |name: &str| {
        fs::metadata(fixture.cgroup.dir("").unwrap().join(name))
            .unwrap()
            .uid()
    };
    assert_eq!(
        (owner(""), owner("cgroup.procs"), owner("memory.max")),
        (12_345, 12_345, 0)
    );
    fixture.remove();
}
