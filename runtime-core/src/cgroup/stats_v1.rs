//! Usage figures of version 1.

use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};

use super::stats::{
    BlkioEntry, BlkioStats, CpusetStats, HugetlbStats, MemoryEntry, Stats, content, hugepage_sizes, number,
    numbers,
};
use super::{Place, file};
use crate::error::Result;

const SECOND: u64 = 1_000_000_000;

/// Adds what the controllers of one hierarchy know.
pub(super) fn gather(place: &Place, stats: &mut Stats) -> Result<()> {
    let dir = place.dir();
    if place.has("cpuacct") {
        cpuacct(&dir, stats)?;
    }
    if place.has("cpu") {
        let stat = content(&dir, "cpu.stat")?;
        let figure = |key: &str| file::number_of(&stat, key).unwrap_or(0);
        stats.cpu.throttling.periods = figure("nr_periods");
        stats.cpu.throttling.throttled_periods = figure("nr_throttled");
        stats.cpu.throttling.throttled_time = figure("throttled_time");
    }
    if place.has("cpuset") {
        stats.cpuset = cpuset(&dir)?;
    }
    if place.has("memory") {
        stats.memory.raw = numbers(&content(&dir, "memory.stat")?)
            .map(|(key, n)| (key.to_owned(), n))
            .collect();
        stats.memory.cache = stats.memory.raw.get("cache").copied().unwrap_or(0);
        stats.memory.usage = memory(&dir, "memory")?;
        stats.memory.swap = memory(&dir, "memory.memsw")?;
        stats.memory.kernel = memory(&dir, "memory.kmem")?;
        stats.memory.kernel_tcp = memory(&dir, "memory.kmem.tcp")?;
    }
    if place.has("pids") {
        stats.pids.current = number(&dir, "pids.current")?;
        stats.pids.limit = Some(number(&dir, "pids.max")?)
            .filter(|limit| *limit != u64::MAX)
            .unwrap_or(0);
    }
    if place.has("blkio") {
        stats.blkio = blkio(&dir)?;
    }
    if place.has("hugetlb") {
        for size in hugepage_sizes() {
            let figure = |name: &str| number(&dir, &format!("hugetlb.{size}.{name}"));
            let figures = HugetlbStats {
                usage: figure("usage_in_bytes")?,
                max: figure("max_usage_in_bytes")?,
                failcnt: figure("failcnt")?,
            };
            stats.hugetlb.insert(size, figures);
        }
    }
    Ok(())
}

fn cpuacct(dir: &Path, stats: &mut Stats) -> Result<()> {
    let path = dir.join("cpuacct.usage");
    // The one file that cannot be missing: without it there is no cgroup.
    let total = file::read(&path).map_err(|errno| file::failed("read cpuacct.usage", &path, errno))?;
    let usage = &mut stats.cpu.usage;
    usage.total = total.trim().parse().unwrap_or(0);
    let words = |line: &str| {
        line.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect::<Vec<u64>>()
    };
    usage.percpu = words(&content(dir, "cpuacct.usage_percpu")?);
    let ticks = sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .map_or(100, |ticks| ticks as u64);
    let stat = content(dir, "cpuacct.stat")?;
    let time = |key: &str| file::number_of(&stat, key).unwrap_or(0) * SECOND / ticks.max(1);
    (usage.user, usage.kernel) = (time("user"), time("system"));
    for line in content(dir, "cpuacct.usage_all")?.lines().skip(1) {
        if let [_, user, kernel] = words(line)[..] {
            usage.percpu_user.push(user);
            usage.percpu_kernel.push(kernel);
        }
    }
    Ok(())
}

fn cpuset(dir: &Path) -> Result<CpusetStats> {
    let flag = |name: &str| number(dir, &format!("cpuset.{name}"));
    Ok(CpusetStats {
        cpus: list(&content(dir, "cpuset.cpus")?),
        cpu_exclusive: flag("cpu_exclusive")?,
        mems: list(&content(dir, "cpuset.mems")?),
        mem_hardwall: flag("mem_hardwall")?,
        mem_exclusive: flag("mem_exclusive")?,
        memory_migrate: flag("memory_migrate")?,
        memory_spread_page: flag("memory_spread_page")?,
        memory_spread_slab: flag("memory_spread_slab")?,
        memory_pressure: flag("memory_pressure")?,
        sched_load_balance: flag("sched_load_balance")?,
        sched_relax_domain_level: content(dir, "cpuset.sched_relax_domain_level")?
            .trim()
            .parse()
            .unwrap_or(0),
    })
}

/// `0-2,7` as numbers.
fn list(text: &str) -> Vec<u16> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some(from.parse().ok()?..=to.parse().ok()?)
    });
    ranges.flatten().collect()
}

fn memory(dir: &Path, prefix: &str) -> Result<MemoryEntry> {
    let figure = |name: &str| number(dir, &format!("{prefix}.{name}"));
    Ok(MemoryEntry {
        limit: figure("limit_in_bytes")?,
        usage: figure("usage_in_bytes")?,
        max: figure("max_usage_in_bytes")?,
        failcnt: figure("failcnt")?,
    })
}

type Field = fn(&mut BlkioStats) -> &mut Vec<BlkioEntry>;

const SERVICED: Field = |blkio| &mut blkio.io_serviced_recursive;
const SERVICE_BYTES: Field = |blkio| &mut blkio.io_service_bytes_recursive;

/// The figures of the first source that has any: the scheduler with all its figures, without them, and the limiter.
const SOURCES: [&[(&str, Field)]; 4] = [
    &[
        ("blkio.bfq.sectors_recursive", |blkio| {
            &mut blkio.sectors_recursive
        }),
        ("blkio.bfq.io_service_time_recursive", |blkio| {
            &mut blkio.io_service_time_recursive
        }),
        ("blkio.bfq.io_wait_time_recursive", |blkio| {
            &mut blkio.io_wait_time_recursive
        }),
        ("blkio.bfq.io_merged_recursive", |blkio| {
            &mut blkio.io_merged_recursive
        }),
        ("blkio.bfq.io_queued_recursive", |blkio| {
            &mut blkio.io_queued_recursive
        }),
        ("blkio.bfq.time_recursive", |blkio| &mut blkio.io_time_recursive),
        ("blkio.bfq.io_serviced_recursive", SERVICED),
        ("blkio.bfq.io_service_bytes_recursive", SERVICE_BYTES),
    ],
    &[
        ("blkio.bfq.io_serviced_recursive", SERVICED),
        ("blkio.bfq.io_service_bytes_recursive", SERVICE_BYTES),
    ],
    &[
        ("blkio.throttle.io_serviced_recursive", SERVICED),
        ("blkio.throttle.io_service_bytes_recursive", SERVICE_BYTES),
    ],
    &[
        ("blkio.throttle.io_serviced", SERVICED),
        ("blkio.throttle.io_service_bytes", SERVICE_BYTES),
    ],
];

fn blkio(dir: &Path) -> Result<BlkioStats> {
    let mut blkio = BlkioStats::default();
    for source in SOURCES {
        for (index, (name, field)) in source.iter().enumerate() {
            let entries = blkio_entries(&content(dir, name)?);
            if index == 0 && entries.is_empty() {
                break;
            }
            *field(&mut blkio) = entries;
            if index == source.len() - 1 {
                return Ok(blkio);
            }
        }
    }
    Ok(blkio)
}

/// Lines of `major:minor operation figure`, where the operation can be missing. The sum at the end is left out.
fn blkio_entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        let (op, value) = rest.split_once(' ').unwrap_or(("", rest));
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.trim().parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(list("3\n"), [3]);
        assert!(list("\n").is_empty());
        assert!(list("5-4").is_empty());
    }

    #[test]
    fn block_figures() {
        let entries = blkio_entries("8:0 Read 10\n8:0 Total 10\n8:16 77\nTotal 10\n");
        let entry = |minor, op: &str, value| BlkioEntry {
            major: 8,
            minor,
            op: op.into(),
            value,
        };
        assert_eq!(
            entries,
            [entry(0, "Read", 10), entry(0, "Total", 10), entry(16, "", 77)]
        );
        assert!(blkio_entries("Total 0\n").is_empty());
    }
}
