//! Usage figures of version 2, under the names that they have in version 1.

use std::path::Path;

use super::stats::{
    BlkioEntry, BlkioStats, HugetlbStats, MemoryEntry, Psi, PsiData, Stats, content, hugepage_sizes, number,
    numbers,
};
use super::{Place, file};
use crate::error::Result;

/// A microsecond, in nanoseconds.
const MICROSECOND: u64 = 1000;

/// Adds what the cgroup knows of the controllers that are `here` and not in a hierarchy of version 1.
pub(super) fn gather(place: &Place, here: impl Fn(&str) -> bool, stats: &mut Stats) -> Result<()> {
    let dir = place.dir();
    if here("cpu") {
        // Every cgroup has this file, whatever its controllers.
        let path = dir.join("cpu.stat");
        let stat = file::read(&path).map_err(|errno| file::failed("read cpu.stat", &path, errno))?;
        cpu(&stat, stats);
        stats.cpu.psi = psi(&content(&dir, "cpu.pressure")?);
    }
    if here("memory") {
        memory(&dir, stats)?;
    }
    if here("pids") {
        stats.pids.limit = Some(number(&dir, "pids.max")?)
            .filter(|limit| *limit != u64::MAX)
            .unwrap_or(0);
        stats.pids.current = match content(&dir, "pids.current")?.trim() {
            "" => content(&dir, "cgroup.procs")?.lines().count() as u64,
            current => current.parse().unwrap_or(0),
        };
    }
    if here("io") {
        stats.blkio = io(&content(&dir, "io.stat")?);
        stats.blkio.psi = psi(&content(&dir, "io.pressure")?);
    }
    for size in if here("hugetlb") {
        hugepage_sizes()
    } else {
        Vec::new()
    } {
        let usage = content(&dir, &format!("hugetlb.{size}.current"))?;
        if let Ok(usage) = usage.trim().parse() {
            let events = content(&dir, &format!("hugetlb.{size}.events"))?;
            let failcnt = file::number_of(&events, "max").unwrap_or(0);
            stats.hugetlb.insert(
                size,
                HugetlbStats {
                    usage,
                    max: 0,
                    failcnt,
                },
            );
        }
    }
    Ok(())
}

fn memory(dir: &Path, stats: &mut Stats) -> Result<()> {
    stats.memory.raw = numbers(&content(dir, "memory.stat")?)
        .map(|(key, n)| (key.to_owned(), n))
        .collect();
    stats.memory.cache = stats.memory.raw.get("file").copied().unwrap_or(0);
    let entry = |prefix: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: number(dir, &format!("{prefix}.max"))?,
            usage: number(dir, &format!("{prefix}.current"))?,
            max: number(dir, &format!("{prefix}.peak"))?,
            failcnt: 0,
        })
    };
    stats.memory.usage = entry("memory")?;
    stats.memory.swap = with_memory(entry("memory.swap")?, &stats.memory.usage);
    stats.memory.psi = psi(&content(dir, "memory.pressure")?);
    Ok(())
}

fn cpu(stat: &str, stats: &mut Stats) {
    let figure = |key: &str| file::number_of(stat, key).unwrap_or(0);
    let usage = &mut stats.cpu.usage;
    usage.total = figure("usage_usec") * MICROSECOND;
    usage.user = figure("user_usec") * MICROSECOND;
    usage.kernel = figure("system_usec") * MICROSECOND;
    let throttling = &mut stats.cpu.throttling;
    throttling.periods = figure("nr_periods");
    throttling.throttled_periods = figure("nr_throttled");
    throttling.throttled_time = figure("throttled_usec") * MICROSECOND;
}

/// Version 1 counts memory and swap together. The largest sum so far cannot be known from the two largest parts.
fn with_memory(swap: MemoryEntry, memory: &MemoryEntry) -> MemoryEntry {
    MemoryEntry {
        limit: swap.limit.saturating_add(memory.limit),
        usage: swap.usage.saturating_add(memory.usage),
        max: 0,
        failcnt: swap.failcnt,
    }
}

/// Lines of `major:minor key=figure key=figure …`.
fn io(text: &str) -> BlkioStats {
    let mut blkio = BlkioStats::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let numbers = words.next().and_then(|device| device.split_once(':'));
        let numbers = numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let Some((major, minor)) = numbers else {
            continue;
        };
        for (key, figure) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            if let Ok(value) = figure.parse() {
                list.push(BlkioEntry {
                    major,
                    minor,
                    op: op.to_owned(),
                    value,
                });
            }
        }
    }
    blkio
}

/// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn psi(text: &str) -> Option<Psi> {
    let data = |which: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(which)?.strip_prefix(' '))?;
        let figure = |key: &str| {
            line.split(' ')
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        Some(PsiData {
            avg10: figure("avg10")?.parse().ok()?,
            avg60: figure("avg60")?.parse().ok()?,
            avg300: figure("avg300")?.parse().ok()?,
            total: figure("total")?.parse().ok()?,
        })
    };
    (!text.is_empty()).then(|| Psi {
        some: data("some").unwrap_or_default(),
        full: data("full").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_becomes_nanoseconds() {
        let mut stats = Stats::default();
        cpu(
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 1\nthrottled_usec 4\n",
            &mut stats,
        );
        assert_eq!(
            (
                stats.cpu.usage.total,
                stats.cpu.usage.user,
                stats.cpu.usage.kernel
            ),
            (5000, 3000, 2000)
        );
        assert_eq!(stats.cpu.throttling.throttled_time, 4000);
        assert_eq!(stats.cpu.throttling.periods, 7);
    }

    #[test]
    fn swap_is_counted_with_memory() {
        let entry = |limit, usage| MemoryEntry {
            limit,
            usage,
            max: 9,
            failcnt: 0,
        };
        assert_eq!(
            with_memory(entry(10, 1), &entry(100, 20)),
            MemoryEntry {
                max: 0,
                ..entry(110, 21)
            }
        );
        assert_eq!(with_memory(entry(u64::MAX, 1), &entry(100, 20)).limit, u64::MAX);
    }

    #[test]
    fn block_figures() {
        let blkio = io("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16\nx rbytes=1\n");
        let entry = |op: &str, value| BlkioEntry {
            major: 8,
            minor: 0,
            op: op.into(),
            value,
        };
        assert_eq!(
            blkio.io_service_bytes_recursive,
            [entry("Read", 1), entry("Write", 2)]
        );
        assert_eq!(blkio.io_serviced_recursive, [entry("Read", 3), entry("Write", 4)]);
    }

    #[test]
    fn pressure() {
        let psi = psi(
            "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
        );
        let psi = psi.unwrap();
        assert_eq!(
            (psi.some.avg10, psi.some.avg60, psi.some.total, psi.full.total),
            (1.5, 0.25, 77, 5)
        );
        assert_eq!(super::psi(""), None);
    }
}
