//! Limits as files of version 1.

use super::limits::Row;
use crate::error::{Code, Error, Result};
use crate::spec::{BlockIo, Cpu, Memory, Network, Resources, ThrottleDevice};

/// The range of `cpu.shares`, to which the kernel silently moves other values.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// What to write, in order. Numbers that are 0 are unset, as in the runtimes that callers know.
pub(super) fn rows(resources: &Resources) -> Result<Vec<Row>> {
    if !resources.unified.is_empty() {
        return Err(Error::new(Code::InvalidConfig, "set limits")
            .operand("linux.resources.unified")
            .reason("invalid configuration: cannot use unified on cgroup v1"));
    }
    let mut rows = Vec::new();
    if let Some(cpu) = &resources.cpu {
        cpuset(cpu, "cpuset.cpus", "cpuset.mems", &mut rows);
        self::cpu(cpu, &mut rows)?;
    }
    if let Some(memory) = &resources.memory {
        self::memory(memory, &mut rows)?;
    }
    rows.extend(pids(resources));
    if let Some(io) = &resources.block_io {
        block_io(io, &mut rows);
    }
    for limit in &resources.hugepage_limits {
        let size = page_size(&limit.page_size)?;
        rows.push(Row::new(
            "hugetlb",
            format!("hugetlb.{size}.limit_in_bytes"),
            limit.limit,
        ));
        rows.push(
            Row::new(
                "hugetlb",
                format!("hugetlb.{size}.rsvd.limit_in_bytes"),
                limit.limit,
            )
            .if_there(),
        );
    }
    if let Some(network) = &resources.network {
        self::network(network, &mut rows);
    }
    rows.extend(rdma(resources));
    Ok(rows)
}

/// `value`, unless it is unset.
pub(super) fn set<T: Default + PartialEq + Copy>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

pub(super) fn cpuset(cpu: &Cpu, cpus: &'static str, mems: &'static str, rows: &mut Vec<Row>) {
    for (file, list) in [(cpus, &cpu.cpus), (mems, &cpu.mems)] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            rows.push(Row::new("cpuset", file, list));
        }
    }
}

fn cpu(cpu: &Cpu, rows: &mut Vec<Row>) -> Result<()> {
    if let Some(shares) = set(cpu.shares) {
        let wrong = |which: &str, bound: &u64| {
            Err(Error::new(Code::InvalidConfig, "set limits")
                .operand("linux.resources.cpu.shares")
                .reason(format!("the {which} allowed cpu-shares is {bound}")))
        };
        if shares < *SHARES.start() {
            return wrong("minimum", SHARES.start());
        }
        if shares > *SHARES.end() {
            return wrong("maximum", SHARES.end());
        }
        rows.push(Row::new("cpu", "cpu.shares", shares).again());
    }
    if let Some(period) = set(cpu.period) {
        rows.push(Row::new("cpu", "cpu.cfs_period_us", period).again());
    }
    if let Some(burst) = cpu.burst {
        rows.push(Row::new("cpu", "cpu.cfs_burst_us", burst).again().if_there());
    }
    if let Some(quota) = set(cpu.quota) {
        rows.push(Row::new("cpu", "cpu.cfs_quota_us", quota).again());
    }
    if let Some(idle) = cpu.idle {
        rows.push(Row::new("cpu", "cpu.idle", idle));
    }
    if let Some(period) = set(cpu.realtime_period) {
        rows.push(Row::new("cpu", "cpu.rt_period_us", period).again());
    }
    if let Some(runtime) = set(cpu.realtime_runtime) {
        rows.push(Row::new("cpu", "cpu.rt_runtime_us", runtime).again());
    }
    Ok(())
}

/// The limit of memory must never be above that of memory and swap together, also not between the two writes. Each is
/// therefore tried twice, which works in both directions.
fn memory(memory: &Memory, rows: &mut Vec<Row>) -> Result<()> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
    let (limit, swap) = (set(memory.limit), set(memory.swap));
    if let Some(limit) = limit {
        rows.push(Row::new("memory", LIMIT, limit).again());
    }
    match (limit, swap) {
        (_, Some(swap)) => rows.push(Row::new("memory", WITH_SWAP, swap).again()),
        // No limit of memory means none of swap.
        (Some(-1), None) => rows.push(Row::new("memory", WITH_SWAP, -1).if_there()),
        _ => {}
    }
    if let Some(reservation) = set(memory.reservation) {
        rows.push(Row::new("memory", "memory.soft_limit_in_bytes", reservation));
    }
    if memory.disable_oom_killer == Some(true) {
        rows.push(Row::new("memory", "memory.oom_control", 1));
    }
    match memory.swappiness {
        Some(swappiness) if swappiness > 100 => {
            return Err(Error::new(Code::InvalidConfig, "set limits")
                .operand("linux.resources.memory.swappiness")
                .reason(format!(
                    "invalid value: {swappiness}, valid memory swappiness range is 0-100"
                )));
        }
        Some(swappiness) => rows.push(Row::new("memory", "memory.swappiness", swappiness)),
        None => {}
    }
    Ok(())
}

/// No task at all would be no container, so 0 means one.
pub(super) fn pids(resources: &Resources) -> Option<Row> {
    let limit = match resources.pids.as_ref()?.limit? {
        0 => "1".to_owned(),
        negative if negative < 0 => "max".to_owned(),
        limit => limit.to_string(),
    };
    Some(Row::new("pids", "pids.max", limit))
}

/// The weights' files belong to whichever scheduler the kernel has.
fn block_io(io: &BlockIo, rows: &mut Vec<Row>) {
    if let Some(weight) = set(io.weight) {
        rows.push(Row::new("blkio", "blkio.weight", weight).or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = set(io.leaf_weight) {
        rows.push(Row::new("blkio", "blkio.leaf_weight", weight));
    }
    for device in &io.weight_device {
        let at = format!("{}:{}", device.major, device.minor);
        if let Some(weight) = set(device.weight) {
            let value = format!("{at} {weight}");
            rows.push(Row::new("blkio", "blkio.weight_device", &value).or("blkio.bfq.weight_device", &value));
        }
        if let Some(weight) = set(device.leaf_weight) {
            rows.push(Row::new(
                "blkio",
                "blkio.leaf_weight_device",
                format!("{at} {weight}"),
            ));
        }
    }
    let mut throttle = |file: &'static str, devices: &[ThrottleDevice]| {
        for device in devices {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            rows.push(Row::new("blkio", file, value));
        }
    };
    throttle("blkio.throttle.read_bps_device", &io.throttle_read_bps_device);
    throttle("blkio.throttle.write_bps_device", &io.throttle_write_bps_device);
    throttle("blkio.throttle.read_iops_device", &io.throttle_read_iops_device);
    throttle("blkio.throttle.write_iops_device", &io.throttle_write_iops_device);
}

/// A page size becomes a part of a file name.
pub(super) fn page_size(size: &str) -> Result<&str> {
    if !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(size);
    }
    Err(Error::new(Code::InvalidConfig, "set limits")
        .operand("linux.resources.hugepageLimits.pageSize")
        .reason(format!("invalid value: {size:?}")))
}

fn network(network: &Network, rows: &mut Vec<Row>) {
    if let Some(class) = set(network.class_id) {
        rows.push(Row::new("net_cls", "net_cls.classid", class));
    }
    for entry in &network.priorities {
        rows.push(Row::new(
            "net_prio",
            "net_prio.ifpriomap",
            format!("{} {}", entry.name, entry.priority),
        ));
    }
}

pub(super) fn rdma(resources: &Resources) -> impl Iterator<Item = Row> {
    resources.rdma.iter().map(|(device, limits)| {
        let mut value = device.clone();
        for (key, limit) in [
            ("hca_handle", limits.hca_handles),
            ("hca_object", limits.hca_objects),
        ] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        Row::new("rdma", "rdma.max", value)
    })
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

    #[test]
    fn nothing_asked_is_nothing_written() {
        assert!(written("{}").is_empty());
        assert!(written(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#).is_empty());
        assert!(
            written(
                r#"{"memory":{"limit":0,"swap":0,"reservation":0,"disableOOMKiller":false,"kernel":1,"kernelTCP":1},
                    "cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""},"pids":{},"network":{"classID":0},
                    "blockIO":{"weight":0,"weightDevice":[{"major":8,"minor":0}]}}"#
            )
            .is_empty()
        );
    }

    #[test]
    fn cpu_and_cpuset() {
        let json = r#"{"cpu":{"shares":1024,"quota":-1,"period":50000,"burst":1000,"idle":1,"cpus":"0-1","mems":"0",
                       "realtimePeriod":1000000,"realtimeRuntime":950000}}"#;
        assert_eq!(
            written(json),
            [
                "cpuset.cpus 0-1",
                "cpuset.mems 0",
                "cpu.shares 1024",
                "cpu.cfs_period_us 50000",
                "cpu.cfs_burst_us 1000",
                "cpu.cfs_quota_us -1",
                "cpu.idle 1",
                "cpu.rt_period_us 1000000",
                "cpu.rt_runtime_us 950000",
            ]
        );
    }

    #[test]
    fn shares_out_of_range_are_refused_not_bent() {
        for (shares, text) in [
            (1, "the minimum allowed cpu-shares is 2"),
            (262_145, "the maximum allowed cpu-shares is 262144"),
        ] {
            let resources = Resources {
                cpu: Some(Cpu {
                    shares: Some(shares),
                    ..Cpu::default()
                }),
                ..Resources::default()
            };
            let error = rows(&resources).unwrap_err();
            assert_eq!(error.code(), Code::InvalidConfig);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn memory_and_its_swap() {
        assert_eq!(
            written(
                r#"{"memory":{"limit":1000,"swap":2000,"reservation":500,"swappiness":0,"disableOOMKiller":true}}"#
            ),
            [
                "memory.limit_in_bytes 1000",
                "memory.memsw.limit_in_bytes 2000",
                "memory.soft_limit_in_bytes 500",
                "memory.oom_control 1",
                "memory.swappiness 0",
            ]
        );
        let unlimited: Resources = serde_json::from_str(r#"{"memory":{"limit":-1}}"#).unwrap();
        let rows = rows(&unlimited).unwrap();
        assert!(rows[0].again && rows[0].value == "-1");
        assert_eq!(
            (&*rows[1].file, &*rows[1].value),
            ("memory.memsw.limit_in_bytes", "-1")
        );
        assert_eq!(rows[1].missing, Missing::Ignored);
        assert_eq!(
            written(r#"{"memory":{"swap":7}}"#),
            ["memory.memsw.limit_in_bytes 7"]
        );
        let bad: Resources = serde_json::from_str(r#"{"memory":{"swappiness":101}}"#).unwrap();
        assert!(super::rows(&bad).is_err());
    }

    #[test]
    fn pids_limits() {
        for (limit, value) in [("0", "1"), ("-1", "max"), ("-7", "max"), ("20", "20")] {
            assert_eq!(
                written(&format!(r#"{{"pids":{{"limit":{limit}}}}}"#)),
                [format!("pids.max {value}")]
            );
        }
    }

    #[test]
    fn block_io_network_hugetlb_rdma() {
        let json = r#"{"blockIO":{"weight":500,"leafWeight":300,
            "weightDevice":[{"major":8,"minor":16,"weight":400,"leafWeight":200}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
            "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":601}],
            "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":602}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]},
            "network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]},
            "hugepageLimits":[{"pageSize":"2MB","limit":9}],
            "rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"rxe3":{"hcaObjects":1}}}"#;
        assert_eq!(
            written(json),
            [
                "blkio.weight 500",
                "blkio.leaf_weight 300",
                "blkio.weight_device 8:16 400",
                "blkio.leaf_weight_device 8:16 200",
                "blkio.throttle.read_bps_device 8:0 600",
                "blkio.throttle.write_bps_device 8:0 601",
                "blkio.throttle.read_iops_device 8:0 602",
                "blkio.throttle.write_iops_device 8:0 0",
                "hugetlb.2MB.limit_in_bytes 9",
                "hugetlb.2MB.rsvd.limit_in_bytes 9",
                "net_cls.classid 1048577",
                "net_prio.ifpriomap eth0 500",
                "rdma.max mlx5_1 hca_handle=3 hca_object=10000",
                "rdma.max rxe3 hca_object=1",
            ]
        );
    }

    #[test]
    fn page_sizes_cannot_name_other_files() {
        for size in ["", "../x", "2MB/..", "2 MB", "2\0"] {
            assert!(page_size(size).is_err(), "{size:?}");
        }
    }

    #[test]
    fn unified_is_for_version_2() {
        let resources: Resources = serde_json::from_str(r#"{"unified":{"memory.high":"1"}}"#).unwrap();
        assert!(
            rows(&resources)
                .unwrap_err()
                .to_string()
                .contains("cannot use unified on cgroup v1")
        );
    }
}
