//! Removing the cgroup's directories.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Cgroup, Place, file, path, tree};
use crate::error::{Code, Error, Result};

/// How long a wait sleeps before it looks again: not long at first, never longer than [`Pause::LONGEST`].
pub(super) struct Pause {
    next: Duration,
    end: Instant,
}

impl Pause {
    const SHORTEST: Duration = Duration::from_micros(100);
    const LONGEST: Duration = Duration::from_millis(20);

    /// Pauses until `limit` has passed from now on.
    pub(super) fn within(limit: Duration) -> Pause {
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let end = Instant::now() + limit.min(FAR);
        Pause {
            next: Pause::SHORTEST,
            end,
        }
    }

    /// The length of the next sleep; `None` when the deadline has passed.
    pub(super) fn next(&mut self) -> Option<Duration> {
        let left = self
            .end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())?;
        let this = self.next.min(left);
        self.next = (self.next * 2).min(Pause::LONGEST);
        Some(this)
    }
}

impl Cgroup {
    /// Removes it from every hierarchy, with all cgroups below it, and the empty directories above that were made for
    /// it. Waits up to `deadline` for it to be empty; zero means to try once. What does not exist is fine.
    pub fn remove(&self, deadline: Duration) -> Result<()> {
        let mut pause = Pause::within(deadline);
        let mut left: Vec<&Place> = self
            .present()
            .filter(|place| tree::rmdir(&place.dir()).is_err())
            .collect();
        while !left.is_empty() {
            let mut failure = None;
            left.retain(|place| match tree::remove(&place.dir()) {
                Ok(()) => false,
                Err(errno) => {
                    // Of several errors the one to report is one that no waiting helps.
                    let hopeless = !matches!(errno, Errno::EBUSY | Errno::ENOTEMPTY | Errno::ENOENT);
                    if hopeless || failure.is_none() {
                        failure = Some((place.dir(), errno, hopeless));
                    }
                    true
                }
            });
            let Some((dir, errno, hopeless)) = failure else {
                break;
            };
            if hopeless {
                return Err(file::failed("remove cgroup", &dir, errno));
            }
            let Some(sleep) = pause.next() else {
                let error = Error::new(Code::Timeout, "remove cgroup")
                    .operand(&dir)
                    .errno(errno as i32);
                // Who does not wait wants to know whether, not why, and soon.
                let obstacle = if deadline.is_zero() { None } else { self.obstacle() };
                return Err(match obstacle {
                    Some(obstacle) => error.hint(obstacle),
                    None => error,
                });
            };
            thread::sleep(sleep);
        }
        self.present().for_each(remove_parents);
        Ok(())
    }
}

/// Takes back what `create` has made, once: what is there later under the same name is somebody else's.
pub(super) fn undo(place: &mut Place) {
    if place.fresh && tree::rmdir(&place.dir()).is_err() {
        return;
    }
    remove_parents(place);
    (place.fresh, place.parents) = (false, 0);
}

/// Another container may have moved in, so an error ends it and is none.
fn remove_parents(place: &Place) {
    let mut at = place.path.as_str();
    for _ in 0..place.parents {
        at = path::parent(at);
        if at == "/" || tree::rmdir(&super::layout::below(&place.mount, at)).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_deadline() {
        let mut pause = Pause::within(Duration::from_secs(60));
        let lengths: Vec<Duration> = (0..10).filter_map(|_| pause.next()).collect();
        assert_eq!(lengths[0], Duration::from_micros(100));
        assert_eq!(lengths[1], Duration::from_micros(200));
        assert_eq!(lengths[9], Duration::from_millis(20));
        assert_eq!(Pause::within(Duration::ZERO).next(), None);
        assert!(Pause::within(Duration::MAX).next().is_some());
    }
}
