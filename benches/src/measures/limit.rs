//! The smallest memory limit under which a container starts.

use std::process::Child;
use std::time::{Duration, Instant};

use super::{Bench, figures};
use crate::bundle::Bundle;
use crate::contender::Contender;
use crate::options::Options;
use crate::report::Figures;
use crate::rounds::{Schedule, alternate};
use crate::sys;

const STEP: u64 = 32 * 1024;
const MOST: u64 = 64 * 1024 * 1024;
/// A run that the kernel starves may hang; none of the successful ones takes a tenth of this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Binary search, to 32 KiB, for the least limit with which three runs in a row succeed.
pub fn memory(bench: &Bench, _: &Options) -> Vec<Figures> {
    let tracks = alternate(&bench.contenders, Schedule::tight(1), |contender| {
        least(|limit| succeeds(bench, contender, limit)).map(|limit| [limit as f64 / 1024.0])
    });
    let title = "smallest memory limit under which run succeeds";
    vec![figures("memory", title, "KiB", &bench.contenders, &tracks, 0)]
}

fn least(mut succeeds: impl FnMut(u64) -> Result<bool, String>) -> Result<u64, String> {
    let mut high = STEP;
    while !succeeds(high)? {
        high *= 2;
        if high > MOST {
            return Err("does not even start with 64 MiB".into());
        }
    }
    let mut low = if high == STEP { 0 } else { high / 2 };
    while high - low > STEP {
        let middle = (low + high) / 2 / STEP * STEP;
        if succeeds(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

fn succeeds(bench: &Bench, contender: &Contender, limit: u64) -> Result<bool, String> {
    let path = bench.directory.join("limited");
    let bundle = Bundle::write(&path, &bench.program, bench.host.mode == "v2", &[], Some(limit))?;
    for _ in 0..3 {
        if sys::interrupted() {
            return Err("interrupted".into());
        }
        let id = bench.id();
        let child = contender.spawn(&mut contender.run(&bundle, &id))?;
        if !ends_well(child)? {
            // A failed run should have cleaned up after itself, but the next one must not suffer if not.
            let _ = contender.delete(&id).status();
            bench.host.sweep(&id);
            return Ok(false);
        }
    }
    Ok(true)
}

fn ends_well(mut child: Child) -> Result<bool, String> {
    let fail = |error: std::io::Error| format!("wait: {error}");
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().map_err(fail)? {
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().and_then(|()| child.wait()).map_err(fail)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_the_least_step() {
        for threshold in [1, STEP, STEP + 1, 7 * STEP, 200 * STEP + 5, MOST] {
            let found = least(|limit| Ok(limit >= threshold)).unwrap();
            assert!(
                found >= threshold && found < threshold + STEP,
                "{threshold}: {found}"
            );
        }
        assert!(least(|_| Ok(false)).is_err());
    }
}
