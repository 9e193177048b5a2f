//! Medians and spreads.

/// A quantile of the samples by linear interpolation; `None` without samples.
pub fn quantile(samples: &[f64], fraction: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = fraction * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (
        sorted[position.floor() as usize],
        sorted[position.ceil() as usize],
    );
    Some(low + (high - low) * position.fract())
}

/// The middle.
pub fn median(samples: &[f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

/// How one contender compares with another, two ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the ratios within each round: what disturbs a round disturbs both.
    pub of_rounds: f64,
    /// The ratio of the two medians.
    pub of_medians: f64,
}

/// Compares samples of the same rounds; rounds that one of them lacks do not count.
pub fn ratio(left: &[Option<f64>], right: &[Option<f64>]) -> Option<Ratio> {
    let pairs: Vec<(f64, f64)> = left
        .iter()
        .zip(right)
        .filter_map(|(left, right)| Some(((*left)?, (*right)?)))
        .collect();
    let quotients: Vec<f64> = pairs
        .iter()
        .filter(|(_, right)| *right > 0.0)
        .map(|(left, right)| left / right)
        .collect();
    let (lefts, rights): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let below = median(&rights).filter(|&value| value > 0.0)?;
    Some(Ratio {
        of_rounds: median(&quotients)?,
        of_medians: median(&lefts)? / below,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[0.0, 10.0], 0.1), Some(1.0));
    }

    #[test]
    fn ratios_pair_the_rounds() {
        // The second round was disturbed, for both.
        let left = [Some(1.0), Some(100.0), Some(1.0), None];
        let right = [Some(2.0), Some(200.0), Some(4.0), Some(1.0)];
        let ratio = ratio(&left, &right).unwrap();
        assert_eq!(ratio.of_rounds, 0.5);
        assert_eq!(ratio.of_medians, 0.25);
        assert_eq!(super::ratio(&[None], &[Some(1.0)]), None);
    }
}
