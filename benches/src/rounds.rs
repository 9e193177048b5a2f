//! Alternation: in each round every contender has its turn, so that whatever disturbs the machine disturbs all.

use std::thread::sleep;
use std::time::Duration;

use crate::contender::Contender;
use crate::sys;

/// How often, and how far apart.
#[derive(Clone, Copy)]
pub struct Schedule {
    /// Rounds that count.
    pub rounds: usize,
    /// Rest before each start. A machine that was idle behaves differently from one in a loop.
    pub pause: Duration,
}

impl Schedule {
    /// One start right after the other.
    pub fn tight(rounds: usize) -> Self {
        Self {
            rounds,
            pause: Duration::ZERO,
        }
    }

    /// As on a host that starts a container now and then.
    pub fn paused(rounds: usize) -> Self {
        Self {
            rounds,
            pause: Duration::from_millis(250),
        }
    }
}

/// What one contender has delivered: `SERIES` values a round.
pub struct Track<const SERIES: usize> {
    /// One entry a round; `None` where it was not able to.
    pub samples: Vec<Option<[f64; SERIES]>>,
    /// Why it dropped out.
    pub failure: Option<String>,
}

/// Lets all contenders take turns. One that fails drops out, the others go on.
pub fn alternate<const SERIES: usize>(
    contenders: &[Contender],
    schedule: Schedule,
    mut turn: impl FnMut(&Contender) -> Result<[f64; SERIES], String>,
) -> Vec<Track<SERIES>> {
    let mut tracks: Vec<Track<SERIES>> = contenders
        .iter()
        .map(|_| Track {
            samples: Vec::new(),
            failure: None,
        })
        .collect();
    // The first round warms the caches and does not count.
    for round in 0..=schedule.rounds {
        for place in 0..contenders.len() {
            // Another one begins each time: nobody always follows the same predecessor and its remains.
            let index = (round + place) % contenders.len();
            if sys::interrupted() {
                return tracks;
            }
            if tracks[index].failure.is_some() {
                continue;
            }
            sleep(schedule.pause);
            match turn(&contenders[index]) {
                Ok(values) if round > 0 => {
                    tracks[index].samples.resize(round - 1, None);
                    tracks[index].samples.push(Some(values));
                }
                Ok(_) => {}
                Err(failure) => tracks[index].failure = Some(failure),
            }
        }
    }
    tracks
}
