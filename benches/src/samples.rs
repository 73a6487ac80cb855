//! Arithmetic on samples, and their text.
#![forbid(unsafe_code)]

use std::fmt;

/// A median, with the smallest and the largest sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle one.
    pub median: f64,
    /// The smallest one.
    pub min: f64,
    /// The largest one.
    pub max: f64,
}

impl Summary {
    /// Of any number of samples; all not-a-number if there is none.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Summary {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
        Summary {
            median: at(sorted.len() / 2),
            min: at(0),
            max: at(sorted.len().wrapping_sub(1)),
        }
    }

    /// Of the ratios of samples taken in the same rounds.
    pub fn of_ratios(over: &[f64], under: &[f64]) -> Summary {
        Summary::of(over.iter().zip(under).map(|(a, b)| a / b))
    }
}

/// `median (min-max)`.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Summary { median, min, max } = self;
        write!(f, "{median:.digits$} ({min:.digits$}-{max:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn summary() {
        let summary = Summary::of([3.0, 1.0, 2.0]);
        assert_eq!(format!("{summary:.1}"), "2.0 (1.0-3.0)");
        assert_eq!(
            Summary::of_ratios(&[4.0, 9.0, 2.0], &[2.0, 3.0, 2.0]).median,
            2.0
        );
        assert!(Summary::of([]).median.is_nan());
    }
}
