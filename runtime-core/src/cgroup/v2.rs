//! Limits as files of version 2, with the conversions of values that were defined for version 1.

use std::borrow::Cow;

use super::limits::Row;
use super::v1::{cpuset, page_size, pids, rdma, set};
use crate::error::{Code, Error, Result};
use crate::spec::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

/// The controllers that limits are for.
pub(super) const CONTROLLERS: [&str; 7] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"];

/// What a version 1 controller is here, if it still is one.
pub(super) fn counterpart(v1: &str) -> Option<&'static str> {
    let name = if v1 == "blkio" { "io" } else { v1 };
    CONTROLLERS.into_iter().find(|controller| *controller == name)
}

/// What a controller was in version 1.
pub(super) fn origin(controller: &str) -> &str {
    if controller == "io" { "blkio" } else { controller }
}

/// What to write, in order. Network classes have no counterpart and are left out, as is swappiness.
pub(super) fn rows(resources: &Resources) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    rows.extend(pids(resources));
    if let Some(memory) = &resources.memory {
        self::memory(memory, &mut rows)?;
    }
    if let Some(io) = &resources.block_io {
        self::io(io, &mut rows);
    }
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, &mut rows);
        cpuset(cpu, "cpuset.cpus", "cpuset.mems", &mut rows);
    }
    for limit in &resources.hugepage_limits {
        let size = page_size(&limit.page_size)?;
        rows.push(Row::new("hugetlb", format!("hugetlb.{size}.max"), limit.limit));
        rows.push(Row::new("hugetlb", format!("hugetlb.{size}.rsvd.max"), limit.limit).if_there());
    }
    rows.extend(rdma(resources));
    for (file, value) in &resources.unified {
        unified(file, value, &mut rows)?;
    }
    Ok(rows)
}

/// A limit, where -1 is none.
fn limit(value: i64) -> String {
    if value == -1 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn memory(memory: &Memory, rows: &mut Vec<Row>) -> Result<()> {
    if let Some(swap) = swap(memory)? {
        let row = Row::new("memory", "memory.swap.max", limit(swap));
        // Without swap accounting there is no limit, which is what these ask for, or no swap.
        rows.push(if matches!(swap, -1 | 0) {
            row.if_there()
        } else {
            row
        });
    }
    if let Some(bytes) = set(memory.limit) {
        rows.push(Row::new("memory", "memory.max", limit(bytes)));
    }
    if let Some(bytes) = set(memory.reservation) {
        rows.push(Row::new("memory", "memory.low", limit(bytes)));
    }
    Ok(())
}

/// Version 2 limits swap by itself, the configuration memory and swap together.
fn swap(memory: &Memory) -> Result<Option<i64>> {
    let refuse = |why: &str| {
        Err(Error::new(Code::InvalidConfig, "set limits")
            .operand("linux.resources.memory.swap")
            .reason(why))
    };
    match (set(memory.limit), set(memory.swap)) {
        (Some(-1), None) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (_, Some(-1)) => Ok(Some(-1)),
        (Some(-1), Some(swap)) => Ok(Some(swap)),
        (None, Some(_)) => refuse("unable to set swap limit without memory limit"),
        (Some(memory), Some(_)) if memory < 0 => refuse("invalid memory limit"),
        (Some(memory), Some(swap)) if swap < memory => refuse("memory+swap limit should be >= memory limit"),
        (Some(memory), Some(swap)) => Ok(Some(swap - memory)),
    }
}

fn io(io: &BlockIo, rows: &mut Vec<Row>) {
    if let Some(weight) = set(io.weight) {
        rows.push(Row::new("io", "io.bfq.weight", weight).or("io.weight", io_weight(weight)));
    }
    for device in &io.weight_device {
        if let Some(weight) = set(device.weight) {
            let value = |weight: u64| format!("{}:{} {weight}", device.major, device.minor);
            rows.push(
                Row::new("io", "io.bfq.weight", value(weight.into()))
                    .or("io.weight", value(io_weight(weight))),
            );
        }
    }
    let mut throttle = |key: &str, devices: &[ThrottleDevice]| {
        for device in devices {
            let rate = if device.rate == 0 {
                "max".to_owned()
            } else {
                device.rate.to_string()
            };
            rows.push(Row::new(
                "io",
                "io.max",
                format!("{}:{} {key}={rate}", device.major, device.minor),
            ));
        }
    };
    throttle("rbps", &io.throttle_read_bps_device);
    throttle("wbps", &io.throttle_write_bps_device);
    throttle("riops", &io.throttle_read_iops_device);
    throttle("wiops", &io.throttle_write_iops_device);
}

/// From 10..1000 to 1..10000, linearly.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.max(10) - 10) * 9999 / 990
}

/// From 2..262144 to 1..10000, so that both ends and the defaults (1024 and 100) meet.
///
/// The first conversion that runtimes had was linear. It made 39 of the default, so that a container that had not
/// asked for anything stood behind every process outside.
fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

fn cpu(cpu: &Cpu, rows: &mut Vec<Row>) {
    if let Some(shares) = set(cpu.shares) {
        // An idle cgroup refuses a weight, and it may stop being one just now.
        rows.push(Row::new("cpu", "cpu.weight", cpu_weight(shares)).again());
    }
    if let Some(idle) = cpu.idle {
        rows.push(Row::new("cpu", "cpu.idle", idle));
    }
    if let Some(burst) = cpu.burst {
        rows.push(Row::new("cpu", "cpu.max.burst", burst).again());
    }
    let (quota, period) = (set(cpu.quota), set(cpu.period));
    if quota.is_some() || period.is_some() {
        let quota = quota
            .filter(|quota| *quota > 0)
            .map_or("max".to_owned(), |quota| quota.to_string());
        rows.push(Row::new("cpu", "cpu.max", format!("{quota} {}", period.unwrap_or(100_000))).again());
    }
}

/// A file by its own name; each line of the value is a write, since each is a command to the kernel.
fn unified(file: &str, value: &str, rows: &mut Vec<Row>) -> Result<()> {
    let refuse = |why: &str| {
        let reason = format!("unified resource {file:?} {why}");
        Err(Error::new(Code::InvalidConfig, "set limits")
            .operand("linux.resources.unified")
            .reason(reason))
    };
    if file.contains('/') {
        return refuse("must be a file name (no slashes)");
    }
    if file.chars().any(char::is_control) || value.contains('\0') {
        return refuse("contains a control character");
    }
    let controller = match file.split_once('.') {
        Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty() => controller,
        _ => return refuse("must be in the form CONTROLLER.PARAMETER"),
    };
    let controller = if controller == "cgroup" { "" } else { controller };
    let lines = if value.is_empty() {
        vec![""]
    } else {
        value.lines().collect()
    };
    rows.extend(lines.into_iter().map(|line| {
        let mut row = Row::new("", file.to_owned(), line);
        row.controller = Cow::Owned(controller.to_owned());
        row
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::limits::Missing;
    use super::*;

    fn written(json: &str) -> Vec<String> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        rows(&resources)
            .unwrap()
            .iter()
            .map(|row| format!("{} {}", row.file, row.value))
            .collect()
    }

    fn refused(json: &str) -> String {
        let resources: Resources = serde_json::from_str(json).unwrap();
        let error = rows(&resources).unwrap_err();
        assert_eq!(error.code(), Code::InvalidConfig, "{error}");
        error.to_string()
    }

    #[test]
    fn weights_meet_at_the_ends_and_at_the_default() {
        for (shares, weight) in [
            (2, 1),
            (3, 2),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
            (999_999, 10_000),
            (1, 1),
        ] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        let mut last = 0;
        for shares in (2..262_144).step_by(97) {
            let weight = cpu_weight(shares);
            assert!(weight >= last && (1..=10_000).contains(&weight), "{shares}");
            last = weight;
        }
        for (weight, io) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000), (1, 1)] {
            assert_eq!(io_weight(weight), io, "{weight}");
        }
    }

    #[test]
    fn nothing_asked_is_nothing_written() {
        assert!(written("{}").is_empty());
        assert!(written(r#"{"memory":{"limit":0,"swappiness":50,"disableOOMKiller":true},"cpu":{"quota":0},"network":{"classID":1}}"#).is_empty());
    }

    #[test]
    fn swap_is_what_is_left_without_memory() {
        for (memory, expected) in [
            (
                r#"{"limit":1000,"swap":3000}"#,
                vec!["memory.swap.max 2000", "memory.max 1000"],
            ),
            (
                r#"{"limit":1000,"swap":1000}"#,
                vec!["memory.swap.max 0", "memory.max 1000"],
            ),
            (
                r#"{"limit":1000,"swap":-1}"#,
                vec!["memory.swap.max max", "memory.max 1000"],
            ),
            (r#"{"limit":-1}"#, vec!["memory.swap.max max", "memory.max max"]),
            (
                r#"{"limit":-1,"swap":500}"#,
                vec!["memory.swap.max 500", "memory.max max"],
            ),
            (r#"{"swap":-1}"#, vec!["memory.swap.max max"]),
            (
                r#"{"limit":1000,"reservation":-1}"#,
                vec!["memory.max 1000", "memory.low max"],
            ),
        ] {
            assert_eq!(
                written(&format!(r#"{{"memory":{memory}}}"#)),
                expected,
                "{memory}"
            );
        }
        assert!(refused(r#"{"memory":{"swap":5}}"#).contains("without memory limit"));
        assert!(refused(r#"{"memory":{"limit":6,"swap":5}}"#).contains("should be >= memory limit"));
        assert!(refused(r#"{"memory":{"limit":-2,"swap":5}}"#).contains("invalid memory limit"));
    }

    #[test]
    fn no_swap_accounting_matters_only_where_swap_is_to_be_limited() {
        let missing = |json: &str| {
            let resources: Resources = serde_json::from_str(json).unwrap();
            rows(&resources).unwrap()[0].missing.clone()
        };
        assert_eq!(missing(r#"{"memory":{"limit":5,"swap":5}}"#), Missing::Ignored);
        assert_eq!(missing(r#"{"memory":{"limit":5,"swap":-1}}"#), Missing::Ignored);
        assert_eq!(missing(r#"{"memory":{"limit":5,"swap":6}}"#), Missing::Fails);
    }

    #[test]
    fn cpu_pids_cpuset_hugetlb() {
        for (cpu, expected) in [
            (r#"{"quota":5000}"#, vec!["cpu.max 5000 100000"]),
            (r#"{"period":5000}"#, vec!["cpu.max max 5000"]),
            (r#"{"quota":-1,"period":20000}"#, vec!["cpu.max max 20000"]),
            (
                r#"{"shares":1024,"idle":0,"burst":9,"quota":10}"#,
                vec![
                    "cpu.weight 100",
                    "cpu.idle 0",
                    "cpu.max.burst 9",
                    "cpu.max 10 100000",
                ],
            ),
            (
                r#"{"cpus":"0","mems":"0-1"}"#,
                vec!["cpuset.cpus 0", "cpuset.mems 0-1"],
            ),
        ] {
            assert_eq!(written(&format!(r#"{{"cpu":{cpu}}}"#)), expected, "{cpu}");
        }
        assert_eq!(written(r#"{"pids":{"limit":-1}}"#), ["pids.max max"]);
        assert_eq!(
            written(r#"{"hugepageLimits":[{"pageSize":"1GB","limit":0}]}"#),
            ["hugetlb.1GB.max 0", "hugetlb.1GB.rsvd.max 0"]
        );
    }

    #[test]
    fn io() {
        let json = r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":1000}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#;
        assert_eq!(
            written(json),
            [
                "io.bfq.weight 500",
                "io.bfq.weight 8:0 1000",
                "io.max 8:0 rbps=600",
                "io.max 8:16 wiops=max"
            ]
        );
        let resources: Resources = serde_json::from_str(json).unwrap();
        let rows = rows(&resources).unwrap();
        assert_eq!(rows[0].missing, Missing::Instead("io.weight", "4950".into()));
        assert_eq!(rows[1].missing, Missing::Instead("io.weight", "8:0 10000".into()));
    }

    #[test]
    fn unified_comes_last_and_line_by_line() {
        let json = r#"{"pids":{"limit":5},"unified":{"io.max":"8:0 rbps=1\n8:16 rbps=2\n","memory.high":"1000","cgroup.max.depth":"3"}}"#;
        assert_eq!(
            written(json),
            [
                "pids.max 5",
                "cgroup.max.depth 3",
                "io.max 8:0 rbps=1",
                "io.max 8:16 rbps=2",
                "memory.high 1000"
            ]
        );
        for file in [
            "../x",
            "memory/high",
            "",
            "memory",
            ".high",
            "memory.",
            "mem\nory.high",
            "memory.hi\0gh",
        ] {
            let resources = Resources {
                unified: [(file.to_owned(), "1".to_owned())].into(),
                ..Resources::default()
            };
            assert_eq!(
                rows(&resources).unwrap_err().code(),
                Code::InvalidConfig,
                "{file:?}"
            );
        }
    }

    #[test]
    fn names_of_both_versions() {
        assert_eq!(counterpart("blkio"), Some("io"));
        assert_eq!(counterpart("memory"), Some("memory"));
        assert_eq!(counterpart("net_cls"), None);
        assert_eq!(origin("io"), "blkio");
        assert_eq!(origin("pids"), "pids");
    }
}
