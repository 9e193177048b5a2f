//! Usage figures, in the shape that callers know from `events`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::errno::Errno;
use serde::Serialize;

use super::{Cgroup, Place, file, stats_v1, stats_v2};
use crate::error::Result;

/// Usage figures of a cgroup. Serialized, it is the `data` of a `stats` event; numbers that are 0 are left out where
/// callers expect that.
///
/// ```
/// use runtime_core::cgroup::Stats;
/// let mut stats = Stats::default();
/// stats.pids.current = 3;
/// assert_eq!(serde_json::to_value(&stats).unwrap()["pids"], serde_json::json!({"current": 3}));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Processors and memory nodes (v1).
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Number of tasks.
    pub pids: PidsStats,
    /// Block I/O.
    pub blkio: BlkioStats,
    /// Huge pages, by their size.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// Resource director figures; none are gathered.
    pub intel_rdt: RdtStats,
    /// Always null: no interface is known by the configuration.
    pub network_interfaces: Option<()>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuStats {
    /// Time used.
    pub usage: CpuUsage,
    /// Time withheld.
    pub throttling: Throttling,
    /// Time lost waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Processor time used, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// By processor, in the kernel (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// By processor, in programs (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// Processor time withheld because of a quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which something wanted to run.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds withheld.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Processors and memory nodes of a version 1 cpuset, with its flags.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpusetStats {
    /// Processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// `cpuset.cpu_exclusive`.
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// `cpuset.mem_hardwall`.
    pub mem_hardwall: u64,
    /// `cpuset.mem_exclusive`.
    pub mem_exclusive: u64,
    /// `cpuset.memory_migrate`.
    pub memory_migrate: u64,
    /// `cpuset.memory_spread_page`.
    pub memory_spread_page: u64,
    /// `cpuset.memory_spread_slab`.
    pub memory_spread_slab: u64,
    /// `cpuset.memory_pressure`.
    pub memory_pressure: u64,
    /// `cpuset.sched_load_balance`.
    pub sched_load_balance: u64,
    /// `cpuset.sched_relax_domain_level`.
    pub sched_relax_domain_level: i64,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryStats {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    /// Kernel memory (v1).
    pub kernel: MemoryEntry,
    /// TCP buffers (v1).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Time lost waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One kind of memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// Limit; the largest number is none.
    pub limit: u64,
    /// Usage.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Largest usage so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Number of tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PidsStats {
    /// Tasks.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Limit; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block I/O, by device and operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlkioStats {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Operations waiting.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    /// Time from dispatch to completion.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Time in queues.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Operations merged into others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Time at the disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// Time lost waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One figure of one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    /// Major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read`, `Write`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The figure.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HugetlbStats {
    /// Usage.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Largest usage so far (v1).
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Resource director figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RdtStats {}

/// Time lost waiting for a resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Psi {
    /// While at least one task waited.
    pub some: PsiData,
    /// While all tasks waited.
    pub full: PsiData,
}

/// Shares of the time in percent, and the time itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PsiData {
    /// Over the last ten seconds.
    pub avg10: f64,
    /// Over the last minute.
    pub avg60: f64,
    /// Over the last five minutes.
    pub avg300: f64,
    /// Microseconds in all.
    pub total: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Cgroup {
    /// Usage figures. Controllers that the cgroup does not have count as unused.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        for place in self.present() {
            if place.is_v2() {
                stats_v2::gather(
                    place,
                    |name| self.home(name).is_some_and(Place::is_v2),
                    &mut stats,
                )?;
            } else {
                stats_v1::gather(place, &mut stats)?;
            }
        }
        Ok(stats)
    }

    /// How many processes were killed for want of memory.
    pub fn oom_kill_count(&self) -> Option<u64> {
        let place = self.home("memory")?;
        let name = if place.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        file::number_of(&file::read(&place.dir().join(name)).ok()?, "oom_kill")
    }
}

/// The content of a file; empty when the controller or the kernel does not have it.
pub(super) fn content(dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(name);
    match file::read(&path) {
        Err(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENODEV) => Ok(String::new()),
        read => read.map_err(|errno| file::failed(format!("read {name}"), &path, errno)),
    }
}

/// The number in a file; `max` is the largest one and a missing file 0.
pub(super) fn number(dir: &Path, name: &str) -> Result<u64> {
    Ok(match content(dir, name)?.trim() {
        "max" => u64::MAX,
        digits => digits.parse().unwrap_or(0),
    })
}

/// Lines of `key number`.
pub(super) fn numbers(content: &str) -> impl Iterator<Item = (&str, u64)> {
    content.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// Sizes of huge pages, as file names of the controller have them.
pub(super) fn hugepage_sizes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/kernel/mm/hugepages") else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    entries
        .filter_map(name)
        .filter_map(|name| hugepage_size(&name))
        .collect()
}

fn hugepage_size(name: &str) -> Option<String> {
    let kilobytes: u64 = name
        .strip_prefix("hugepages-")?
        .strip_suffix("kB")?
        .parse()
        .ok()?;
    Some(match kilobytes {
        size if size >= 1 << 20 => format!("{}GB", size >> 20),
        size if size >= 1 << 10 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_cgroup_has_the_keys_that_callers_expect() {
        let json = serde_json::to_value(Stats::default()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
                "cpuset": {"cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
                    "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0, "sched_load_balance": 0,
                    "sched_relax_domain_level": 0},
                "memory": {"usage": {"limit": 0, "failcnt": 0}, "swap": {"limit": 0, "failcnt": 0},
                    "kernel": {"limit": 0, "failcnt": 0}, "kernelTCP": {"limit": 0, "failcnt": 0}},
                "pids": {}, "blkio": {}, "hugetlb": {}, "intel_rdt": {}, "network_interfaces": null
            })
        );
    }

    #[test]
    fn names_of_figures() {
        let entry = BlkioEntry {
            major: 8,
            minor: 0,
            op: "Read".into(),
            value: 1,
        };
        let blkio = BlkioStats {
            io_queued_recursive: vec![entry.clone()],
            sectors_recursive: vec![entry],
            ..Default::default()
        };
        let json = serde_json::to_string(&blkio).unwrap();
        assert_eq!(
            json,
            r#"{"ioQueueRecursive":[{"major":8,"op":"Read","value":1}],"sectorsRecursive":[{"major":8,"op":"Read","value":1}]}"#
        );
        let throttling = Throttling {
            periods: 1,
            throttled_periods: 2,
            throttled_time: 3,
        };
        let json = serde_json::to_string(&throttling).unwrap();
        assert_eq!(json, r#"{"periods":1,"throttledPeriods":2,"throttledTime":3}"#);
    }

    #[test]
    fn page_sizes() {
        for (name, size) in [
            ("hugepages-2048kB", "2MB"),
            ("hugepages-1048576kB", "1GB"),
            ("hugepages-64kB", "64KB"),
        ] {
            assert_eq!(hugepage_size(name).as_deref(), Some(size));
        }
        assert_eq!(hugepage_size("hugepages-x"), None);
    }
}
